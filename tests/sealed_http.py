"""An app's side of sealed calls under httpx: with one of these transports a client calls a node as if in the clear.

    Client(transport=SealedTransport(client, base, node_id, headers), base_url=INSIDE)

`base` is the address before `/v1/…` on any route, `headers` go outside of the seal: the relay's own authorisation.
"""

from __future__ import annotations

import os
import time
from base64 import b64decode
from typing import TYPE_CHECKING, NamedTuple

import httpx
import msgspec

from shared.sealed_wire import SealedCall, SealedReply, SealingKeys
from shared.sealing import SEALED, ReplyOpener, seal_call, verify_sealing_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

INSIDE = "http://node"


class Sealed(NamedTuple):
    """A call as it travels, and what opens its reply."""

    request: bytes
    opener: ReplyOpener


def sealed(keys: SealingKeys, node_id: str, request: httpx.Request) -> Sealed:
    """Seal a request whose body was read."""
    _, _, token = request.headers.get("authorization", "").partition(" ")
    kinds = request.headers.get("content-type", "") + request.headers.get("accept", "")
    call = SealedCall(
        request.method,  # type: ignore[arg-type]  # tests call with those that there are
        request.url.raw_path.decode(),
        os.urandom(32),
        keys.epoch,
        token=token,
        body=request.content,
        media_type="application/msgpack" if "msgpack" in kinds else "application/json",
        last_event=request.headers.get("last-event-id", ""),
    )
    message = seal_call(verify_sealing_key(keys, node_id, time.time()), node_id, call)
    return Sealed(message, ReplyOpener(call, message))


class _Events:
    """Turns the bytes of a sealed event stream into those of the inner one."""

    def __init__(self, opener: ReplyOpener) -> None:
        self._opener = opener
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            assert event.startswith(b"data: "), event
            yield self._opener.open(b64decode(event.removeprefix(b"data: "), validate=True))

    def end(self) -> None:
        if not self._opener.is_complete:
            raise httpx.RemoteProtocolError("the reply was cut")


class SealedTransport(httpx.BaseTransport):
    """For clients that block."""

    def __init__(self, client: httpx.Client, base: str, node_id: str, headers: dict[str, str] | None = None) -> None:
        self._client, self._base, self._node_id, self._headers = client, base, node_id, headers or {}
        self._keys: SealingKeys | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Seal, call, and open."""
        request.read()
        if self._keys is None:
            published = self._client.get(f"{self._base}/v1/keys", headers=self._headers)
            if published.status_code != 200:
                return published
            self._keys = msgspec.json.decode(published.content, type=SealingKeys)
        call = sealed(self._keys, self._node_id, request)
        outer = self._client.build_request(
            "POST",
            f"{self._base}/v1/sealed",
            headers={**self._headers, "content-type": SEALED},
            content=call.request,
        )
        response = self._client.send(outer, stream=True)
        if response.status_code != 200 or not response.headers["content-type"].startswith("text/event-stream"):
            return _opened(response, response.read(), call.opener)
        chunks = self._chunks(response, _Events(call.opener))
        head = msgspec.msgpack.decode(next(chunks), type=SealedReply)
        return httpx.Response(head.status, headers={"content-type": head.content_type}, stream=_Stream(chunks))

    @staticmethod
    def _chunks(response: httpx.Response, events: _Events) -> Iterator[bytes]:
        try:
            for data in response.iter_bytes():
                yield from events.feed(data)
            events.end()
        finally:
            response.close()


class AsyncSealedTransport(httpx.AsyncBaseTransport):
    """For clients that await."""

    def __init__(
        self, client: httpx.AsyncClient, base: str, node_id: str, headers: dict[str, str] | None = None
    ) -> None:
        self._client, self._base, self._node_id, self._headers = client, base, node_id, headers or {}
        self._keys: SealingKeys | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Seal, call, and open."""
        await request.aread()
        if self._keys is None:
            published = await self._client.get(f"{self._base}/v1/keys", headers=self._headers)
            if published.status_code != 200:
                return published
            self._keys = msgspec.json.decode(published.content, type=SealingKeys)
        call = sealed(self._keys, self._node_id, request)
        outer = self._client.build_request(
            "POST",
            f"{self._base}/v1/sealed",
            headers={**self._headers, "content-type": SEALED},
            content=call.request,
        )
        response = await self._client.send(outer, stream=True)
        if response.status_code != 200 or not response.headers["content-type"].startswith("text/event-stream"):
            return _opened(response, await response.aread(), call.opener)
        chunks = self._chunks(response, _Events(call.opener))
        head = msgspec.msgpack.decode(await anext(chunks), type=SealedReply)
        return httpx.Response(head.status, headers={"content-type": head.content_type}, stream=_AsyncStream(chunks))

    @staticmethod
    async def _chunks(response: httpx.Response, events: _Events) -> AsyncIterator[bytes]:
        try:
            async for data in response.aiter_bytes():
                for chunk in events.feed(data):
                    yield chunk
            events.end()
        finally:
            await response.aclose()


class _Stream(httpx.SyncByteStream):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self._chunks.close()  # type: ignore[attr-defined]  # a generator


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        await self._chunks.aclose()  # type: ignore[attr-defined]  # a generator


def _opened(response: httpx.Response, content: bytes, opener: ReplyOpener) -> httpx.Response:
    """Return what was inside; an outer refusal as it is."""
    if response.status_code != 200:
        return httpx.Response(response.status_code, headers=response.headers, content=content)
    reply = msgspec.msgpack.decode(opener.open(content), type=SealedReply)
    assert opener.is_complete
    headers = {"content-type": reply.content_type} if reply.content_type else {}
    return httpx.Response(reply.status, headers=headers, content=reply.body)
