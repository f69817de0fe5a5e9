"""Installable, offline from a deep link, and behind the deployed nginx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests import nginx
from tests.end_to_end.household import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household


CALLS_THROUGH_WORKER = """performance.getEntriesByType('resource')
  .filter(({ name, workerFinalSourceType: source }) => name.includes('/api/') && source !== 'network')
  .map(({ name }) => name)"""


def wait_for_worker(profile: Profile) -> None:
    profile.page.evaluate("navigator.serviceWorker.ready.then(() => true)")


def test_the_app_is_installable_and_opens_offline_at_a_deep_link(
    household: Household, open_profile: Callable[..., Profile]
) -> None:
    household.start("server", "node")
    vera = open_profile("vera")
    vera.make_first_account(household.setup_code)
    vera.write("Hello")
    text = vera.expect_answer().inner_text()
    wait_for_worker(vera)
    inspector = vera.context.new_cdp_session(vera.page)
    errors = inspector.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # A headless profile counts as private browsing, which says nothing of the app.
    assert [error for error in errors if error["errorId"] != "in-incognito"] == []

    # The worker serves the page, and calls go past it.
    with vera.page.expect_response("**/api/v1/nodes"):
        vera.page.reload()
    assert vera.page.evaluate("performance.getEntriesByType('navigation')[0].workerStart") > 0
    assert vera.page.evaluate(CALLS_THROUGH_WORKER) == []

    address = vera.page.url
    household.kill("server")
    household.kill("node")
    vera.close()
    vera.page.goto(address)
    expect(vera.expect_answer()).to_have_text(text)
    vera.screenshot("offline-deep-link")


@pytest.mark.skipif(nginx.nginx_path() is None, reason="no nginx on this machine: install nginx-light to run this test")
def test_everything_works_behind_the_deployed_nginx(
    household: Household, open_profile: Callable[..., Profile], tmp_path: Path
) -> None:
    proxy = nginx.prepare(tmp_path / "nginx", port=free_port(), plain_port=free_port(), server_port=household.port)
    household.environment["DOMOVOI_PUBLIC_URL"] = proxy.url
    proxy.start()
    try:
        household.start("server", "node")
        # The browser is elsewhere: the node's own address leads nowhere, and answers come by relay.
        away = f"--host-resolver-rules=MAP localhost:{household.node_port} 127.0.0.1:{free_port()}"
        vera = open_profile("vera", url=proxy.url, arguments=[away, "--ignore-certificate-errors"])
        vera.make_first_account(household.setup_code)
        vera.write("Hello")
        assert vera.expect_answer().inner_text().strip()
        expect(vera.page.get_by_text("Relay").first).to_be_visible()
    finally:
        proxy.stop()
