"""/v1/sealed and /v1/keys: all that LAN and relay see of the node's API (rules H1-H6)."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import Route

from inference_node.endpoints.answers import STREAM_HEADERS
from inference_node.endpoints.content import body_of, problem, respond
from shared.errors import Code, DomovoiError
from shared.limits import MAX_OPEN_CALLS, MAX_SEALED_BYTES, SEALED_BODY_WITHIN_S, SECRET_BYTES
from shared.sealed_wire import SealedCall, SealedReply
from shared.sealing import SEALED, CannotOpen, ReplySealer, ephemeral_key, open_call

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from inference_node.server.call_epochs import CallEpochs
    from inference_node.server.sealing_keys import SealingKeyRing

EVENT_STREAM = "text/event-stream"


class SealedCalls:
    """Opens calls, has `application` answer them, and seals what it says. Tokens are its business."""

    def __init__(self, application: ASGIApp, node_id: str, keys: SealingKeyRing, epochs: CallEpochs) -> None:
        self._application = application
        self._node_id = node_id
        self._keys = keys
        self._epochs = epochs
        self._open = 0

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/keys", self.publish, methods=["GET"]),
            Route("/v1/sealed", self, methods=["POST"]),
        ]

    async def publish(self, request: Request) -> Response:
        """Tell anybody the key to seal with."""
        return respond(request, self._keys.published(self._epochs.current))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a sealed call.

        Raises DomovoiError `cannot_open`, which is all that strangers learn, `engine_busy`, and what reading raises.
        """
        if self._open >= MAX_OPEN_CALLS:
            raise DomovoiError(Code.ENGINE_BUSY)
        self._open += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._open -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        sealed = await _read(Request(scope, receive))
        try:
            call = open_call(self._keys.private_keys(), self._node_id, sealed)
        except CannotOpen as error:
            raise DomovoiError(Code.CANNOT_OPEN) from error
        reply = _Reply(ReplySealer(call, sealed, secrets.token_bytes(SECRET_BYTES)), send)
        inner = _scope_of(call, scope)
        try:
            self._epochs.admit(call.node_epoch, ephemeral_key(sealed))
        except DomovoiError as error:
            if error.code is not Code.STALE_EPOCH:
                raise
            await problem(error)(inner, receive, reply.send)
            return
        await self._application(inner, _receive_of(call, receive), reply.send)


class _Reply:
    """What the application says, sealed: one chunk, or an event stream with a chunk for each piece of the inner one."""

    def __init__(self, sealer: ReplySealer, send: Send) -> None:
        self._sealer = sealer
        self._send = send
        self._head = SealedReply(200)
        self._is_stream = False
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Take what an ASGI application sends."""
        if message["type"] == "http.response.start":
            content_type = Headers(raw=message["headers"]).get("content-type", "")
            self._head = SealedReply(message["status"], content_type)
            self._is_stream = content_type.startswith(EVENT_STREAM)
            if self._is_stream:
                await self._start(EVENT_STREAM, STREAM_HEADERS)
                await self._event(msgspec.msgpack.encode(self._head), more=True)
        elif message["type"] == "http.response.body":
            await self._take(message.get("body", b""), more=message.get("more_body", False))

    async def _take(self, body: bytes, *, more: bool) -> None:
        if self._is_stream:
            await self._event(body, more=more)
            return
        self._body += body
        if not more:
            whole = msgspec.structs.replace(self._head, body=bytes(self._body))
            await self._start(SEALED, {"Cache-Control": "no-store"})
            await self._bytes(self._sealer.seal(msgspec.msgpack.encode(whole), is_final=True), more=False)

    async def _event(self, chunk: bytes, *, more: bool) -> None:
        await self._bytes(b"data: " + b64encode(self._sealer.seal(chunk, is_final=not more)) + b"\n\n", more=more)

    async def _start(self, content_type: str, headers: dict[str, str]) -> None:
        everything = {"Content-Type": content_type, **headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in everything.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _bytes(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def _read(request: Request) -> bytes:
    if request.headers.get("content-type") != SEALED:
        raise DomovoiError(Code.UNSUPPORTED_MEDIA_TYPE, f"Send {SEALED}.")
    try:
        async with asyncio.timeout(SEALED_BODY_WITHIN_S):
            return await body_of(request, MAX_SEALED_BYTES)
    except TimeoutError as error:
        raise DomovoiError(Code.BAD_REQUEST, "The body came too slowly.") from error


def _scope_of(call: SealedCall, outer: Scope) -> Scope:
    raw_path, _, query = call.path.partition("?")
    headers = {
        "content-type": call.media_type,
        "accept": f"{call.media_type}, {EVENT_STREAM}",
        "content-length": str(len(call.body)),
    }
    if call.token:
        headers["authorization"] = f"Bearer {call.token}"
    if call.last_event:
        headers["last-event-id"] = call.last_event
    return {
        "type": "http",
        "asgi": outer["asgi"],
        "http_version": "1.1",
        "method": call.method,
        "scheme": "https",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()],
        "client": None,
        "server": None,
    }


def _receive_of(call: SealedCall, receive: Receive) -> Receive:
    """Return what brings the call's body, and then that its caller has gone."""
    body: list[bytes] = [call.body]

    async def next_message() -> Message:
        if body:
            return {"type": "http.request", "body": body.pop(), "more_body": False}
        return await receive()

    return next_message
