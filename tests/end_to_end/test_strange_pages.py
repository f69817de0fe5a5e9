"""Pages of strangers, in a real browser: by another origin, from no origin, and under a name rebound to this machine.

They may send what a browser lets any page send. Nothing comes of it, and nothing can be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.end_to_end.browser import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

EVIL = "evil.test"
PAGE = "<!doctype html><title>Evil</title><iframe sandbox='allow-scripts' srcdoc='<title>null</title>'></iframe>"
LOGIN = {"username": "Vera", "password": PASSWORD, "device_name": "Evil"}
# Method, path and body; whoever has no token is to be refused before anybody asks for one.
Calls = list[tuple[str, str, Any]]
SERVER: Calls = [
    ("GET", "/api/v1/devices", None),
    ("GET", "/api/v1/events", None),
    ("POST", "/api/v1/auth/login", LOGIN),
    ("POST", "/api/v1/auth/refresh", None),
    ("DELETE", "/api/v1/devices/0000000000000000", None),
]
NODE: Calls = [
    ("GET", "/v1/status", None),
    ("GET", "/v1/models", None),
    ("GET", "/metrics", None),
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}),
    ("POST", "/v1/library/remove", {"model": "model.gguf"}),
    ("POST", "/v1/renewal/challenge", None),
]
# What a page makes of a call: `blocked` by the browser, the status that it could read, or `opaque`: sent and unread.
CALL = """async ([url, method, body, mode]) => {
  const headers = body === null || mode === 'no-cors' ? {} : { 'Content-Type': 'application/json' }
  const init = { method, mode, headers, credentials: 'include', signal: AbortSignal.timeout(20000) }
  try {
    const response = await fetch(url, body === null ? init : { ...init, body: JSON.stringify(body) })
    return response.type === 'opaque' ? 'opaque' : `${response.status} ${(await response.json()).code}`
  } catch (error) {
    return error.name === 'TypeError' ? 'blocked' : error.name
  }
}"""
OPEN_TUNNEL = """(url) => new Promise((resolve) => {
  const socket = new WebSocket(url)
  socket.onopen = () => resolve('open')
  socket.onclose = () => resolve('closed')
})"""


def strange_page(profile: Profile, url: str) -> Any:
    """Show the strangers' page at an address, whoever listens there."""
    page = profile.page
    page.route(url, lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(url)
    page.unroute(url)
    return page


def models_in(household: Household) -> set[str]:
    return {path.name for path in (household.data / "models").iterdir()}


@pytest.fixture
def stranger(household: Household, open_profile: Callable[..., Profile]) -> Profile:
    """A browser in which a stranger's name leads to this machine, and whose owner is logged in here."""
    household.start("server", "node")
    # Newer Chromiums ask before a page calls this machine at all. Ours must hold where none does.
    without = "--disable-features=LocalNetworkAccessChecks"
    profile = open_profile("stranger", arguments=[f"--host-resolver-rules=MAP {EVIL} 127.0.0.1", without])
    profile.make_first_account(household.setup_code)
    return profile


def test_no_strange_page_gets_anything(household: Household, stranger: Profile) -> None:
    models = models_in(household)
    places = [(household.url, SERVER), (household.node_url, NODE)]
    page = strange_page(stranger, f"http://{EVIL}:9/")
    for frame in (page.main_frame, page.frames[1]):
        said = {
            (url + path, method, mode): frame.evaluate(CALL, [url + path, method, body, mode])
            for url, calls in places
            for method, path, body in calls
            for mode in ("cors", "no-cors")
            # A page can send no other methods without being asked about.
            if mode == "cors" or method in {"GET", "POST"}
        }
        read = {call: verdict for call, verdict in said.items() if verdict not in {"blocked", "opaque"}}
        assert read == {}
        assert frame.evaluate(OPEN_TUNNEL, f"{household.url.replace('http', 'ws')}/tunnel") == "closed"
    # A name that was rebound: to the browser this is the page's own origin, and what it says can be read.
    for url, calls in places:
        own = f"http://{EVIL}:{url.rpartition(':')[2]}"
        page = strange_page(stranger, f"{own}/")
        verdicts = {path: page.evaluate(CALL, [own + path, method, body, "cors"]) for method, path, body in calls}
        assert set(verdicts.values()) == {"403 forbidden_origin"}, verdicts
    page = strange_page(stranger, f"http://{EVIL}:{household.port}/")
    assert page.evaluate(OPEN_TUNNEL, f"ws://{EVIL}:{household.port}/tunnel") == "closed"
    # What they wrote into the console is not the app's. Nothing has come of any of it.
    stranger.problems.clear()
    stranger.goto("/settings")
    expect(stranger.page.locator("[data-device]")).to_have_count(2)
    assert models_in(household) == models
