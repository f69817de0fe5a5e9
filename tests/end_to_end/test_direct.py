"""The way straight to the PC, in a real browser: a page from elsewhere that calls an address at home (rules D).

The page has a certificate and a name, nginx stands before the server, and Chromium takes it for public. The PC's
address is one that this machine is given for the test.
"""

from __future__ import annotations

import http.server
import re
import threading
from typing import TYPE_CHECKING

import psutil
import pytest
from playwright.sync_api import expect

from tests import nginx
from tests.end_to_end.household import free_port, wait_until
from tests.end_to_end.whereabouts import SETTLES_WITHIN_MS, expect_status, permit, ways
from tests.inference_node.network.home import Home, can_give_addresses
from tests.inference_node.network.test_network import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

pytestmark = [
    pytest.mark.skipif(not can_give_addresses(), reason="NOT ROOT: the way straight to the PC was not tried"),
    pytest.mark.skipif(nginx.nginx_path() is None, reason="no nginx on this machine"),
]
NAME = "home.example"
NAME_OF_PC = "pc.home.example"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    made = Home(monkeypatch)
    yield made
    made.close()


@pytest.fixture
def door(household: Household, tmp_path: Path) -> Iterator[nginx.Nginx]:
    """The household behind a name and a certificate; its PC may answer on the network at home."""
    door = nginx.prepare(tmp_path / "nginx", port=free_port(), plain_port=free_port(), server_port=household.port)
    household.environment |= {
        "DOMOVOI_PUBLIC_URL": f"https://{NAME}:{door.port}",
        "DOMOVOI_LOCAL_NETWORK": "on",
    }
    door.start()
    yield door
    door.stop()


@pytest.fixture
def open_from_elsewhere(door: nginx.Nginx, open_profile: Callable[..., Profile]) -> Iterator[Callable[..., Profile]]:
    opened: list[Profile] = []

    def open_one(name: str, nowhere: str = "nowhere.example", **options: object) -> Profile:
        arguments = (
            f"--host-resolver-rules=MAP {NAME} 127.0.0.1, MAP {nowhere} ~NOTFOUND",
            f"--ip-address-space-overrides=127.0.0.1:{door.port}=public",
            "--ignore-certificate-errors",
        )
        opened.append(open_profile(name, url=f"https://{NAME}:{door.port}", arguments=arguments, **options))
        return opened[-1]

    yield open_one
    for profile in opened:
        profile.close()
        # What was permitted ends a moment before the page does, and Chromium writes into its console what it forbids.
        profile.problems[:] = [problem for problem in profile.problems if "Permission was denied" not in problem]


def arrive(profile: Profile, household: Household) -> Profile:
    """Make the first account with the local network permitted, and wait for the straight way."""
    profile.goto()
    permit(profile, "granted")
    profile.make_first_account(household.setup_code)
    expect_status(profile, r"^.*Direct · \d+ ms")
    return profile


def is_called_at(household: Household, address: str) -> bool:
    """Say whether the node has a connection open at one of its addresses."""
    connections = psutil.Process(household.processes["node"].pid).net_connections("tcp")
    return any(one.laddr.ip == address and one.status == psutil.CONN_ESTABLISHED for one in connections)


def test_D5_answers_come_straight_from_home_and_go_on_without_the_server(
    household: Household, home: Home, door: nginx.Nginx, open_from_elsewhere: Callable[..., Profile]
) -> None:
    address = home.add(1)
    household.start("server", "node")
    profile = arrive(open_from_elsewhere("phone"), household)
    assert ways(profile)[f"{address}:{household.node_port}"] == "open"
    profile.write("Say hello.")
    profile.expect_answer()
    expect(profile.answers.last).to_contain_text("Direct")
    # The VPS is gone, and the app is opened anew.
    door.stop()
    household.kill("server")
    profile.close()
    profile.goto("/new")
    permit(profile, "granted")
    expect_status(profile, "Server doesn.t answer")
    profile.write("Say goodbye.")
    profile.expect_answer()
    expect(profile.answers.last).to_contain_text("Direct")


def test_D5_a_refusal_leaves_the_relay_and_says_what_to_do(
    household: Household, home: Home, open_from_elsewhere: Callable[..., Profile]
) -> None:
    home.add(1)
    household.start("server", "node")
    profile = open_from_elsewhere("phone")
    profile.goto()
    permit(profile, "denied")
    profile.make_first_account(household.setup_code)
    expect_status(profile, r"Relay · \d+ ms")
    profile.write("Say hello.")
    profile.expect_answer()
    status = profile.page.locator("button.here, header.bar .who").first
    status.click()
    sheet = profile.page.get_by_role("dialog")
    expect(sheet.get_by_text("Local access blocked — how to allow")).to_be_visible()
    # The person allows it after all, in the browser's settings: nothing has to be reloaded.
    permit(profile, "granted")
    expect(sheet.get_by_role("heading", name=re.compile("Direct"))).to_be_visible(timeout=SETTLES_WITHIN_MS)


def test_D1_the_pc_moves_to_another_address(
    household: Household, home: Home, open_from_elsewhere: Callable[..., Profile]
) -> None:
    first = home.add(1)
    household.start("server", "node")
    profile = arrive(open_from_elsewhere("phone"), household)
    second = home.add(2)
    home.remove(first)
    old, new = (f"{address}:{household.node_port}" for address in (first, second))
    wait_until(lambda: new in (found := ways(profile)) and old not in found, "the new address")
    expect_status(profile, "Direct")
    profile.write("Say hello.")
    profile.expect_answer()


def test_D6_an_answer_goes_on_by_the_relay_when_the_way_home_closes(
    household: Household, home: Home, open_from_elsewhere: Callable[..., Profile]
) -> None:
    address = home.add(1)
    # As the app keeps it.
    choice = household.data / "node" / "local-network"
    choice.parent.mkdir(parents=True)
    choice.write_text("on")
    del household.environment["DOMOVOI_LOCAL_NETWORK"]
    household.start("server", "node")
    profile = arrive(open_from_elsewhere("phone", longest_answer=200), household)
    beside = profile.context.new_page()
    beside.goto(f"{profile.url}/house")
    switch = beside.get_by_label("Answer on the home network")
    expect(switch).to_be_checked()
    with household.slow_engine():
        profile.write("Write a long story about a house by the sea, with many details.")
        profile.expect_words()
        assert is_called_at(household, address)
        switch.click()
        wait_until(lambda: not is_called_at(household, address), "the way's end")
    # The app itself reports an answer that was streamed otherwise than the PC has written it.
    profile.expect_answer()
    expect(profile.answers.last).to_contain_text("Relay")


def test_D5_a_name_that_a_router_lets_lead_nowhere_is_told(
    household: Household, home: Home, open_from_elsewhere: Callable[..., Profile], tmp_path: Path
) -> None:
    address, tls_port = home.add(1), free_port()
    chain, key = write_certificate(tmp_path, NAME_OF_PC)
    household.environment |= {
        "DOMOVOI_NODE_TLS_PORT": str(tls_port),
        "DOMOVOI_NODE_TLS_CERT": str(chain),
        "DOMOVOI_NODE_TLS_KEY": str(key),
    }
    household.start("server", "node")
    # As behind a router that drops answers which lead home: the name is not found, and the address answers.
    profile = arrive(open_from_elsewhere("phone", nowhere=NAME_OF_PC), household)
    told = {f"{address}:{household.node_port}": "open", f"{NAME_OF_PC}:{tls_port}": "nameless"}
    wait_until(lambda: told.items() <= ways(profile).items(), "the name that leads nowhere")


class Impostor:
    """Answers at the PC's address as best it can, and keeps what it was sent."""

    def __init__(self, address: str, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        impostor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                impostor.heard.append((self.path, str(self.headers).encode() + body))
                self.send_response(200)
                self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
                self.send_header("Access-Control-Allow-Headers", "content-type, accept")
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                if self.command != "OPTIONS":
                    self.wfile.write(b'{"engine_state": "ready"}')

            do_GET = do_POST = do_OPTIONS = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((address, port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_D5_a_stranger_at_the_pcs_address_learns_nothing(
    household: Household, home: Home, open_from_elsewhere: Callable[..., Profile]
) -> None:
    address = home.add(1)
    household.start("server", "node")
    profile = arrive(open_from_elsewhere("phone"), household)
    household.kill("node")
    impostor = Impostor(address, household.node_port)
    try:
        expect_status(profile, r"PC cut off since \d\d:\d\d")
        assert ways(profile)[f"{address}:{household.node_port}"] == "stranger"
        profile.write("The secret is 4711.")
        expect(profile.answers.last).to_have_attribute("data-state", "queued")
        assert impostor.heard
        assert not any(b"4711" in said or b"Bearer" in said or b"Cookie" in said for _, said in impostor.heard)
    finally:
        impostor.close()
    household.start("node")
    profile.expect_answer()
    # What was sealed for the PC's last key, it refused when it was back; the app asked for the new one by itself.
    profile.problems[:] = [problem for problem in profile.problems if "status of 400" not in problem]
