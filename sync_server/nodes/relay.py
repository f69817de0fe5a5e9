"""Calls to a node's remote application through its tunnel: streamed both ways, cancelled when the caller goes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.limits import MAX_SEALED_BYTES, NODE_ID_BYTES
from shared.tunnel.payloads import OpenRequest, OpenResponse
from sync_server.accounts.authentication import authenticated
from sync_server.nodes.nodes import nodes_of
from sync_server.services import Services, services_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from shared.wire import Departure
    from sync_server.accounts.caller import Caller
    from sync_server.tunnel.call import Call

# All of a node's remote application (rule H6).
_PATHS = {"/healthz", "/v1/keys", "/v1/sealed"}
# What is asked is inside the seal; outside of it a node needs nothing else.
_FORWARDED = {"accept", "content-length", "content-type"}
# A node speaks for itself under the server's own origin, so it may not set cookies or policies there. How long its
# answer is shows by its end: a length that is wrong would be a fault of ours.
_RETURNED = {"cache-control", "content-type", "retry-after", "x-accel-buffering"}

# Why a node does not answer, by how it went (rule T8).
_AWAY: dict[Departure | None, str] = {
    "stopped": "Domovoi was closed on the PC at {}, by hand or because the PC was shut down. Start it there.",
    "silent": "Nothing was heard of the PC since {}: it sleeps, or has no power or no network. Wake it.",
    "lost": "The PC's connection broke at {} and it has not come back. See whether it and Domovoi on it still run.",
    None: "The PC has been asleep, off or without a network since {}. Wake it or start Domovoi on it.",
}


class _CallerGone(Exception):
    """The one who asked has closed the connection."""


async def relay(request: Request) -> RelayedCall:
    """Forward a call to `/relay/{node_id}/…`.

    Raises DomovoiError node_unknown, node_unreachable, not_found, body_too_large, and what authentication raises.
    """
    services = services_of(request)
    caller = await authenticated(request)
    try:
        node_id = from_hex(request.path_params["node_id"], NODE_ID_BYTES)
    except ValueError as error:
        raise DomovoiError(Code.NODE_UNKNOWN) from error
    path = "/" + request.path_params["path"]
    # None of them can be spelt in two ways.
    is_plain = request.scope["raw_path"].decode("latin-1") == request.scope["path"]
    if not is_plain or path not in _PATHS:
        raise DomovoiError(Code.NOT_FOUND)
    if int(request.headers.get("content-length", "0")) > MAX_SEALED_BYTES:
        raise DomovoiError(Code.BODY_TOO_LARGE)
    stream = await _open(services, caller, node_id, _forwarded(request, path))
    return RelayedCall(services, caller, node_id, stream)


class RelayedCall:
    """The response: an ASGI application that pumps a node's stream."""

    def __init__(self, services: Services, caller: Caller, node_id: bytes, stream: Call) -> None:
        self._services = services
        self._caller = caller
        self._node_id = node_id
        self._stream = stream
        self._has_started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises DomovoiError before the head of the response; after it, a broken call is a broken connection."""
        response = asyncio.create_task(self._respond(send))
        request = asyncio.create_task(self._upload(receive))
        try:
            with self._services.streams.holding(self._caller, partial(_cancel, response), self._node_id):
                await asyncio.wait({response, request}, return_when=asyncio.FIRST_COMPLETED)
                await (response if response.done() else request)
        except _CallerGone:
            pass
        except asyncio.CancelledError:
            if not response.cancelled():
                raise
            if not self._has_started:
                raise DomovoiError(Code.NODE_UNREACHABLE) from None
        finally:
            self._stream.abandon()
            for pump in (response, request):
                pump.cancel()
            await asyncio.gather(response, request, return_exceptions=True)

    async def _upload(self, receive: Receive) -> None:
        """Send the request's body, then wait for the caller to leave."""
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _CallerGone
            body = message.get("body", b"")
            size += len(body)
            if size > MAX_SEALED_BYTES:
                raise DomovoiError(Code.BODY_TOO_LARGE)
            await self._stream.send(body)
            if not message.get("more_body", False):
                self._stream.end()
                break
        await _gone(receive)

    async def _respond(self, send: Send) -> None:
        head = await self._stream.head()
        self._has_started = True
        await send(_start(head))
        try:
            async for chunk in self._stream.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except DomovoiError:
            # An event stream that ends is resumed by its reader; anything else must not look complete.
            if not _is_event_stream(head):
                return
        await send({"type": "http.response.body", "body": b""})


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _CallerGone


async def _open(services: Services, caller: Caller, node_id: bytes, request: OpenRequest) -> Call:
    rows = await nodes_of(services.database, caller.account_id)
    row = next((row for row in rows if row["node_id"] == node_id), None)
    if row is None:
        raise DomovoiError(Code.NODE_UNKNOWN)
    link = services.tunnels.find(node_id)
    if link is None:
        since = datetime.fromtimestamp(row["last_seen_ms"] / 1000, UTC)
        why = _AWAY[row["departure"]].format(f"{since:%H:%M} UTC on {since:%Y-%m-%d}")
        raise DomovoiError(Code.NODE_UNREACHABLE, f"{why} What was asked stays queued.")
    return link.open(request)


def _forwarded(request: Request, path: str) -> OpenRequest:
    headers = [(name, value) for name, value in request.headers.items() if name in _FORWARDED]
    return OpenRequest(request.method, path, "", headers)


def _start(head: OpenResponse) -> Message:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers if name in _RETURNED]
    return {"type": "http.response.start", "status": head.status, "headers": headers}


def _is_event_stream(head: OpenResponse) -> bool:
    return dict(head.headers).get("content-type", "").startswith("text/event-stream")
