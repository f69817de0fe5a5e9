"""A newer app is built while the old one is open: it is offered, nothing reloads by itself, and no word is lost."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from deploy.command.configuration import BUILT_APP
from tests.end_to_end.test_install import wait_for_worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

SHOWN_BUILD = "document.documentElement.dataset.build"


def put_build(name: str, folder: Path) -> None:
    """Put a build of the app there, told from others by a mark on its page and, as by Vite, in the worker's list."""
    shutil.copytree(BUILT_APP, folder, dirs_exist_ok=True)
    for file, old, new in (
        ("index.html", r"<html ", f'<html data-build="{name}" '),
        ("serviceWorker.js", r'"revision":"\w+","url":"index.html"', f'"revision":"{name}","url":"index.html"'),
    ):
        text, count = re.subn(old, new, (folder / file).read_text("utf-8"))
        assert count == 1, f"{file} is not built as it was"
        (folder / file).write_text(text, "utf-8")
        (folder / f"{file}.gz").unlink()


def test_a_newer_app_waits_until_the_person_says_so(
    household: Household, open_profile: Callable[..., Profile], tmp_path: Path
) -> None:
    app = tmp_path / "app"
    put_build("first", app)
    household.environment["DOMOVOI_APP"] = str(app)
    household.start("server")
    vera = open_profile("vera")
    vera.make_first_account(household.setup_code)
    wait_for_worker(vera)
    vera.page.reload()
    vera.composer.fill("Half a thought")
    vera.page.evaluate("window.isStillThere = true")

    put_build("second", app)
    vera.page.evaluate("navigator.serviceWorker.ready.then((registration) => registration.update())")
    expect(vera.page.get_by_text("A newer Domovoi is ready")).to_be_visible()
    assert vera.page.evaluate(f"[window.isStillThere, {SHOWN_BUILD}]") == [True, "first"]
    vera.screenshot("update-ready")

    vera.press("Restart")
    expect(vera.page.locator("html[data-build=second]")).to_be_attached()
    expect(vera.composer).to_have_value("Half a thought")
    assert vera.page.evaluate("window.isStillThere") is None
    expect(vera.page.get_by_text("A newer Domovoi is ready")).to_have_count(0)
