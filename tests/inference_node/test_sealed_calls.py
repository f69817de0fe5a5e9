"""Sealed calls at the node's own door, and the keys and epochs behind it (rules H3-H6)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from inference_node.endpoints import sealed as sealed_endpoint
from inference_node.endpoints.sealed import SealedCalls
from inference_node.server.call_epochs import CallEpochs
from inference_node.server.identity import ensure_identity
from inference_node.server.sealing_keys import SealingKeyRing
from shared.errors import Code, DomovoiError
from shared.limits import CALL_EPOCH_S, MAX_CALLS_AN_EPOCH, MAX_SEALED_BYTES
from shared.sealed_wire import SealedCall, SealedReply
from shared.sealing import SEALED, ReplyOpener, open_call, seal_call, verify_sealing_key

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

DAY_S = 86_400


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self, now_s: float = 1_700_000_000) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class House:
    """A node's door over an application that says what it was asked, without a network between."""

    def __init__(self, data: Path) -> None:
        self.identity = ensure_identity(data, "Test PC")
        self.clock, self.monotonic = Clock(), Clock(0)
        self.keys = SealingKeyRing(self.identity, self.clock)
        self.epochs = CallEpochs(self.monotonic)
        self.asked = 0
        self.door = SealedCalls(self.answer, self.identity.node_id, self.keys, self.epochs)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope["path"].encode() + b" " + body})

    def seal(self, epoch: int | None = None) -> tuple[bytes, ReplyOpener]:
        call = SealedCall(
            "POST", "/v1/x", os.urandom(32), self.epochs.current if epoch is None else epoch, "token", b"hello"
        )
        key = verify_sealing_key(self.keys.published(0), self.identity.node_id, self.clock())
        request = seal_call(key, self.identity.node_id, call)
        return request, ReplyOpener(call, request)

    async def post(self, request: bytes, content_type: str = SEALED) -> httpx.Response:
        """Return the answer, or the refusal as the door raises it."""
        sent: list[bytes] = []
        body = [{"type": "http.request", "body": request, "more_body": False}]

        async def receive() -> dict[str, object]:
            return body.pop() if body else {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.body":
                sent.append(message["body"])  # type: ignore[arg-type]

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/sealed",
            "asgi": {},
            "headers": [(b"content-type", content_type.encode())],
        }
        await self.door(scope, receive, send)  # type: ignore[arg-type]
        return httpx.Response(200, content=b"".join(sent))

    async def refusal(self, request: bytes, content_type: str = SEALED) -> Code:
        with pytest.raises(DomovoiError) as refused:
            await self.post(request, content_type)
        return refused.value.code


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def reply_of(response: httpx.Response, opener: ReplyOpener) -> SealedReply:
    reply = msgspec.msgpack.decode(opener.open(response.content), type=SealedReply)
    assert opener.is_complete
    return reply


async def test_H1_a_call_is_answered_inside(house: House) -> None:
    request, opener = house.seal()
    assert reply_of(await house.post(request), opener) == SealedReply(200, "text/plain", b"/v1/x hello")


async def test_H4_a_replay_is_refused_in_this_epoch_the_next_and_ever_after(house: House) -> None:
    request, _ = house.seal()
    await house.post(request)
    for _ in range(2):
        assert await house.refusal(request) is Code.CANNOT_OPEN
        house.monotonic.now_s += CALL_EPOCH_S
    for _ in range(3):
        # What was forgotten is of an epoch that is over: its answer says so, to whoever sealed it alone.
        assert await house.post(request)
        house.monotonic.now_s += CALL_EPOCH_S
    assert house.asked == 1


async def test_H4_a_call_of_another_epoch_is_told_the_current_one(house: House) -> None:
    current = house.epochs.current
    for epoch in (current - 2, current + 1, 0):
        request, opener = house.seal(epoch)
        reply = reply_of(await house.post(request), opener)
        problem = msgspec.json.decode(reply.body)
        assert (reply.status, problem["code"], problem["epoch"]) == (409, Code.STALE_EPOCH, current)
    assert house.asked == 0
    request, _ = house.seal(current - 1)
    await house.post(request)
    assert house.asked == 1


async def test_H4_a_node_that_restarts_takes_nothing_of_before(house: House) -> None:
    request, opener = house.seal()
    house.epochs = CallEpochs(house.monotonic)
    house.door = SealedCalls(house.answer, house.identity.node_id, house.keys, house.epochs)
    assert reply_of(await house.post(request), opener).status == 409
    assert house.asked == 0


def test_H4_a_flood_ends_an_epoch_early_and_locks_nobody_out() -> None:
    epochs = CallEpochs(Clock(0))
    first = epochs.current
    for number in range(MAX_CALLS_AN_EPOCH):
        epochs.admit(first, number.to_bytes(32))
    assert epochs.current == first + 1
    epochs.admit(first, b"\xff" * 32)
    for number in (0, MAX_CALLS_AN_EPOCH - 1):
        with pytest.raises(DomovoiError, match="cannot_open"):
            epochs.admit(first, number.to_bytes(32))


async def test_H6_strangers_learn_one_thing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    request, _ = house.seal()
    for wrong in (b"", bytes(80), request[:-1], request + b"x", os.urandom(200)):
        assert await house.refusal(wrong) is Code.CANNOT_OPEN
    assert await house.refusal(request, "application/json") is Code.UNSUPPORTED_MEDIA_TYPE
    assert await house.refusal(bytes(MAX_SEALED_BYTES + 1)) is Code.BODY_TOO_LARGE
    monkeypatch.setattr(sealed_endpoint, "MAX_OPEN_CALLS", 0)
    assert await house.refusal(request) is Code.ENGINE_BUSY
    assert house.asked == 0


def test_H3_a_key_lives_for_two_days_and_a_new_one_comes_each_day(house: House) -> None:
    name, keys, clock = house.identity.node_id, house.keys, house.clock
    request, _ = house.seal()
    [first] = keys.private_keys()
    clock.now_s += DAY_S
    assert verify_sealing_key(keys.published(0), name, clock()) != first.public_key()
    assert len(keys.private_keys()) == 2
    assert open_call(keys.private_keys(), name, request).path == "/v1/x"
    clock.now_s += DAY_S - 1
    assert first in keys.private_keys()
    clock.now_s += 1
    assert first not in keys.private_keys()
    with pytest.raises(ValueError, match="another key"):
        open_call(keys.private_keys(), name, request)


def test_H3_a_clock_that_was_set_back_makes_a_new_key(house: House) -> None:
    [first] = house.keys.private_keys()
    house.clock.now_s -= DAY_S
    assert house.keys.private_keys() != [first]
    assert verify_sealing_key(house.keys.published(0), house.identity.node_id, house.clock())


def test_H3_nothing_of_a_sealing_key_is_on_the_disk(house: House, tmp_path: Path) -> None:
    raw = [key.private_bytes_raw() for key in house.keys.private_keys()]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(key in content for key in raw for content in files)
