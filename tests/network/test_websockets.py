"""A network that is against WebSockets, between a PC and its server (rules N14, N15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.end_to_end.whereabouts import expect_status
from tests.network.app_log import same_answer
from tests.network.proxied import proxy_on
from tests.tunnel.fault_proxy import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.network.machines import Browser, Machine
    from tests.network.town import Town
    from tests.nginx import Nginx
    from tests.tunnel.fault_proxy import FaultProxy

SERVER, PROXY = 8460, 8462
# Real networks let them live for half a minute, or for 64 KiB; here, as long as HELLO and the first STATUS take.
AGAINST: dict[str, dict[str, Any]] = {
    "refused": {"mode": Mode.WEBSOCKETS_REFUSED},
    "swallowed": {"mode": Mode.WEBSOCKETS_SWALLOWED},
    "cut after a time": {"most_s": 1.0},
    "cut after some bytes": {"most_bytes": 1024},
}


@pytest.fixture(scope="module")
def proxy(town: Town, vps: Machine, door: Nginx) -> Iterator[FaultProxy]:
    """What stands between nginx and the server.

    It knows WebSockets by the first request of a connection, so nginx begins a connection for each.
    """
    assert "server" in vps.processes
    configuration = door.folder / "domovoi.conf"
    deployed = configuration.read_text("utf-8")
    proxied = deployed.replace(f"127.0.0.1:{SERVER}", f"127.0.0.1:{PROXY}").replace("keepalive 32;", "")
    with proxy_on(town.vps, PROXY, SERVER) as made:
        for text in (proxied, deployed):
            door.stop()
            configuration.write_text(text, "utf-8")
            with town.vps.inside():
                door.start()
            if text is proxied:
                yield made


@pytest.mark.parametrize("fault", AGAINST)
def test_N14_answers_come_by_long_polling(
    fault: str, town: Town, proxy: FaultProxy, pc: Machine, phone: Browser
) -> None:
    # A node that begins anew knows nothing of the network.
    pc.stop("node")
    for name, value in AGAINST[fault].items():
        setattr(proxy, name, value)
    try:
        with town.phone_out_of_the_house():
            pc.start("node")
            expect_status(phone, r"Relay \(compatibility\) · \d+ ms")
            phone.write("What is the sea?")
            phone.expect_answer()
            expect(phone.answers.last).to_contain_text("Relay")
            same_answer(phone, pc)
            assert pc.runs_started() == 1
    finally:
        proxy.heal()
