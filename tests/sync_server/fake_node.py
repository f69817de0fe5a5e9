"""A node as tests play it: it introduces itself, logs in, and speaks the tunnel's frames."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from shared import identifiers, jws, tokens
from shared.node_status import NodeStatus
from shared.tunnel import frames
from shared.tunnel.credit import ReceiveCredit, SendCredit
from shared.tunnel.frames import Frame, FrameType
from shared.tunnel.limits import SESSION_CREDIT_BYTES
from shared.tunnel.payloads import HelloPayload, OpenRequest, OpenResponse, ResetPayload, WelcomePayload, WindowPayload

if TYPE_CHECKING:
    from pathlib import Path

WITHIN_S = 20.0


class Identity:
    """A node's key and what follows from it."""

    def __init__(self, name: str = "Desk PC") -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.public = jws.raw_public_key(self.key.public_key())
        self.node_id = identifiers.node_id(self.public).hex()

    def enrol(self, data: Path) -> None:
        """Introduce the node through the server's data folder."""
        folder = data / "enrolment"
        folder.mkdir(exist_ok=True)
        enrolment = {"node_id": self.node_id, "name": self.name, "public_key": jws.base64url(self.public)}
        (folder / f"{self.node_id}.json").write_text(json.dumps(enrolment))

    def assertion(self, **changes: object) -> str:
        """Return a login signed by the node."""
        now_s = int(time.time())
        claims = {
            "iss": self.node_id,
            "aud": tokens.NODE_LOGIN_AUDIENCE,
            "jti": os.urandom(8).hex(),
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + 60,
        }
        return tokens.sign(msgspec.convert({**claims, **changes}, tokens.NodeClaims), self.key, tokens.NODE_TYPE)


class NodeCall:
    """One relayed call, from the node's side."""

    def __init__(self, node: FakeNode, number: int, request: OpenRequest) -> None:
        self.request = request
        self.number = number
        self.is_reset = asyncio.Event()
        self.sent = 0
        self._node = node
        self._may_send = SendCredit()
        self._granted = asyncio.Event()
        self._owed = ReceiveCredit()
        self._body: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def body(self) -> bytes:
        """Return the request's body."""
        body = b""
        while (data := await self._body.get()) is not None:
            body += data
            if credit := self._owed.consumed(len(data)):
                await self._node.send(FrameType.WINDOW, self.number, WindowPayload(credit))
        return body

    async def respond(self, status: int, content_type: str, **headers: str) -> None:
        """Send the head of the response."""
        named = [("content-type", content_type), *((name.replace("_", "-"), text) for name, text in headers.items())]
        await self._node.send(FrameType.OPEN, self.number, OpenResponse(status, named))

    async def write(self, data: bytes) -> None:
        """Send a piece of the body, waiting for credit. `sent` counts."""
        while data:
            taken = self._may_send.take(len(data))
            if taken == 0:
                self._granted.clear()
                await self._granted.wait()
                continue
            await self._node.send(FrameType.DATA, self.number, data[:taken])
            self.sent += taken
            data = data[taken:]

    async def end(self) -> None:
        """End the response."""
        await self._node.send(FrameType.END, self.number)

    async def reset(self, code: str) -> None:
        """Give up on the call."""
        await self._node.send(FrameType.RESET, self.number, ResetPayload(code))

    def on_frame(self, frame: Frame) -> None:
        """Take a frame from the server."""
        match frame.type:
            case FrameType.DATA:
                self._owed.received(len(frame.payload))
                self._body.put_nowait(frame.payload)
            case FrameType.END:
                self._body.put_nowait(None)
            case FrameType.WINDOW:
                self._may_send.grant(msgspec.msgpack.decode(frame.payload, type=WindowPayload).credit)
                self._granted.set()
            case FrameType.RESET:
                self.is_reset.set()
                self._body.put_nowait(None)
            case _:
                raise AssertionError(frame)


Handler = Callable[[NodeCall], Coroutine[None, None, None]]


class FakeNode:
    """A connected node. `others` holds the frames that belong to no call."""

    def __init__(self, websocket: ClientConnection, handler: Handler, welcome: WelcomePayload) -> None:
        self.websocket = websocket
        self.welcome = welcome
        self.others: asyncio.Queue[Frame] = asyncio.Queue()
        self.calls: dict[int, NodeCall] = {}
        self._handler = handler
        self._sent = self._received = self._statuses = 0
        self._owed = ReceiveCredit(SESSION_CREDIT_BYTES)

    async def send(self, kind: FrameType, stream: int = 0, payload: msgspec.Struct | bytes = b"") -> None:
        """Send one frame."""
        data = payload if isinstance(payload, bytes) else msgspec.msgpack.encode(payload)
        await self.send_frame(Frame(kind, stream, data))

    async def send_frame(self, frame: Frame) -> None:
        """Send a frame with the number and acknowledgement that are due."""
        number = 0
        if frame.type.is_sequenced:
            number = self._sent = self._sent + 1
        elif frame.type is FrameType.STATUS:
            number = self._statuses = self._statuses + 1
        await self.websocket.send(frames.encode(replace(frame, seq=number, ack=self._received)))

    async def leave(self) -> None:
        """End the session, and the connection."""
        await self.send(FrameType.GOAWAY, payload=ResetPayload("closed"))
        await self.websocket.close()

    async def status(self, model: str) -> None:
        """Say how the node is."""
        await self.send(FrameType.STATUS, payload=NodeStatus(name="Desk PC", engine_state="ready", model=model))

    async def send_and_wait_for_pong(self) -> None:
        """Return when the server has dealt with everything sent so far."""
        await self.send(FrameType.PING)
        await self.next_frame(FrameType.PONG)

    async def next_frame(self, kind: FrameType) -> Frame:
        """Return the next frame of that kind."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                frame = await self.others.get()
                if frame.type is kind:
                    return frame

    async def read(self, tasks: asyncio.TaskGroup) -> None:
        """Take frames until the server closes."""
        with suppress(ConnectionClosedError):
            async for message in self.websocket:
                assert isinstance(message, bytes)
                for frame in frames.decode(message):
                    self._received += frame.type.is_sequenced
                    self._on_frame(frame, tasks)
                    await self._grant(frame)

    async def _answer(self, call: NodeCall) -> None:
        # What it still had to say when the node left is nobody's loss.
        with suppress(ConnectionClosedOK):
            await self._handler(call)

    async def _grant(self, frame: Frame) -> None:
        """Give the session's credit back as soon as it is used; that of a stream waits for its reader."""
        if frame.type is FrameType.DATA:
            self._owed.received(len(frame.payload))
            if credit := self._owed.consumed(len(frame.payload)):
                await self.send(FrameType.WINDOW, 0, WindowPayload(credit))

    def _on_frame(self, frame: Frame, tasks: asyncio.TaskGroup) -> None:
        if frame.type is FrameType.OPEN:
            call = NodeCall(self, frame.stream, msgspec.msgpack.decode(frame.payload, type=OpenRequest))
            self.calls[frame.stream] = call
            tasks.create_task(self._answer(call))
        elif frame.stream:
            self.calls[frame.stream].on_frame(frame)
        else:
            self.others.put_nowait(frame)


async def refuse(_: NodeCall) -> None:
    """Handle no calls."""


_sessions = itertools.count(1)


async def say_hello(websocket: ClientConnection, token: str) -> None:
    """Send HELLO."""
    hello = HelloPayload(f"{next(_sessions):032x}", 1, 0, [], token)
    await websocket.send(frames.encode(Frame(FrameType.HELLO, payload=msgspec.msgpack.encode(hello))))


@asynccontextmanager
async def connected(
    url: str, identity: Identity, handler: Handler = refuse, *, address: str = "127.0.0.1"
) -> AsyncIterator[FakeNode]:
    """Connect as the node, seen by a proxy at that address; the node is gone when the context ends."""
    seen = {"X-Forwarded-For": address}
    async with asyncio.TaskGroup() as tasks, connect(url, proxy=None, additional_headers=seen) as websocket:
        await say_hello(websocket, identity.assertion())
        async with asyncio.timeout(WITHIN_S):
            message = await websocket.recv()
        assert isinstance(message, bytes)
        [welcome] = frames.decode(message)
        assert welcome.type is FrameType.WELCOME, welcome
        node = FakeNode(websocket, handler, msgspec.msgpack.decode(welcome.payload, type=WelcomePayload))
        reader = tasks.create_task(node.read(tasks))
        try:
            yield node
        finally:
            with suppress(ConnectionClosed):
                await node.leave()
            await reader
