"""The PC's side of pairing, with a real server, and with somebody in between (rules P2-P5)."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inference_node.server import pairing
from inference_node.server.identity import ensure_identity
from shared.errors import Code, DomovoiError
from shared.jws import base64url, raw_public_key
from shared.pairing_wire import PairingChallenge, PairingOffer, PairingProof, PairingState
from tests.sync_server.device import PASSWORD, Device
from tests.sync_server.pairing_node import PairingNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.sync_server.running_server import RunningServer

MESSAGE_PACK = "application/msgpack"
WITHIN_S = 20.0


class Account:
    """The app's side."""

    def __init__(self, server: RunningServer) -> None:
        self.device: Device = server.first_account("Vera")
        self.begun: Any = self.device.request("POST", "/api/v1/pairing", json={"password": PASSWORD}).json()
        self.code = str(self.begun["code"])
        self._path = f"/api/v1/pairing/{self.begun['pairing_id']}"

    def check(self) -> str | None:
        check: str | None = self.device.request("GET", self._path).json()["check"]
        return check

    def confirm(self) -> None:
        response = self.device.request("POST", f"{self._path}/confirm", json={"check": self.check()})
        assert response.status_code == 200, response.text

    def refuse(self) -> None:
        self.device.request("DELETE", self._path)


@pytest.fixture
async def account(server: RunningServer) -> Account:
    return await asyncio.to_thread(Account, server)


async def pair(url: str, data: Path, code: str, show: Callable[[str], None]) -> pairing.Paired:
    async with asyncio.timeout(WITHIN_S):
        return await pairing.pair(url, ensure_identity(data, "Study PC"), code, show)


async def test_P5_both_sides_show_the_same_and_the_root_is_learnt(
    server: RunningServer, account: Account, tmp_path: Path
) -> None:
    shown: list[str] = []

    def compare(check: str) -> None:
        shown.append(check)
        assert account.check() == check
        account.confirm()

    paired = await pair(server.url, tmp_path / "pc", account.code, compare)
    assert len(shown) == 1
    assert paired.username == "Vera"
    published = await asyncio.to_thread(account.device.http.get, "/.well-known/jwks.json")
    assert base64url(paired.root) == published.json()["root"]["x"]


async def test_P5_a_server_that_is_started_again_meanwhile_costs_nothing(
    server: RunningServer, account: Account, tmp_path: Path
) -> None:
    again: list[RunningServer] = []
    tasks: list[asyncio.Future[None]] = []

    def start_again() -> None:
        again.append(server.started_again())
        account.confirm()

    def restart(_: str) -> None:
        tasks.append(asyncio.ensure_future(asyncio.to_thread(start_again)))

    try:
        paired = await pair(server.url, tmp_path / "pc", account.code, restart)
        await tasks[0]
    finally:
        for started in again:
            started.stop()
    assert paired.username == "Vera"


async def test_P5_a_refusal_is_told(server: RunningServer, account: Account, tmp_path: Path) -> None:
    with pytest.raises(pairing.PairingRefused):
        await pair(server.url, tmp_path / "pc", account.code, lambda _: account.refuse())


class Middle:
    """Somebody between a PC and its server, who knows the code as soon as the PC sends it."""

    def __init__(self, server: RunningServer, *, plays_both_sides: bool) -> None:
        self._real = httpx.Client(base_url=server.url, trust_env=False)
        self._server = server
        self._plays_both_sides = plays_both_sides
        self._root = raw_public_key(Ed25519PrivateKey.generate().public_key())
        self._own: PairingNode | None = None

    def answer(self, path: str, body: bytes) -> httpx.Response:
        """Return what the PC gets."""
        if path.endswith("jwks.json"):
            key_set = self._real.get(path).json()
            key_set["root"]["x"] = base64url(self._root)
            return httpx.Response(200, json=key_set)
        if not self._plays_both_sides:
            return self._real.post(path, content=body, headers={"content-type": MESSAGE_PACK, "accept": MESSAGE_PACK})
        if path.endswith("/offer"):
            offer = msgspec.msgpack.decode(body, type=PairingOffer)
            # Its own key in the PC's name, so that the grant would be its own.
            self._own = PairingNode(self._server, offer.code, offer.name).offered()
            return packed(PairingChallenge(os.urandom(32), 2**40, 0))
        msgspec.msgpack.decode(body, type=PairingProof)
        assert self._own is not None
        return packed(self._own.state())

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Listen, and yield where."""
        middle = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._pass()

            def do_POST(self) -> None:
                self._pass()

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                answer = middle.answer(self.path, body)
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers["content-type"])
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}"
        finally:
            listener.shutdown()
            thread.join()
            listener.server_close()
            self._real.close()


def packed(body: PairingChallenge | PairingState) -> httpx.Response:
    return httpx.Response(200, content=msgspec.msgpack.encode(body), headers={"content-type": MESSAGE_PACK})


async def test_P3_another_root_in_between_spoils_the_proof(
    server: RunningServer, account: Account, tmp_path: Path
) -> None:
    with Middle(server, plays_both_sides=False).listening() as url, pytest.raises(DomovoiError) as refused:
        await pair(url, tmp_path / "pc", account.code, lambda _: account.confirm())
    assert refused.value.code is Code.PAIRING_PROOF_WRONG
    assert account.check() is None, "nothing is shown that could be confirmed"


async def test_P4_somebody_who_plays_both_sides_shows_other_digits(
    server: RunningServer, account: Account, tmp_path: Path
) -> None:
    seen: list[tuple[str, str | None]] = []

    def compare(check: str) -> None:
        seen.append((check, account.check()))
        account.refuse()

    with Middle(server, plays_both_sides=True).listening() as url, pytest.raises(pairing.PairingRefused):
        await pair(url, tmp_path / "pc", account.code, compare)
    [(at_the_pc, in_the_app)] = seen
    assert in_the_app is not None
    assert at_the_pc != in_the_app
