"""A node's long polling, where WebSockets do not get through (rule N15)."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from shared.errors import Code, DomovoiError
from shared.tunnel.frames import Fault, FrameError, FrameReader, FrameType, decode, encode
from shared.tunnel.handshake import read_hello
from shared.tunnel.limits import MAX_MESSAGE_BYTES
from sync_server.accounts.caller import address_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from shared.tunnel.payloads import HelloPayload
    from shared.wire import Transport
    from sync_server.tunnel.hub import TunnelHub
    from sync_server.tunnel.link import Link

HELD_S = 25.0
KEY_BYTES = 16
# In the answer to HELLO, and in every request after it: whoever has it speaks for the transport.
KEY_HEADER = "Domovoi-Transport"
MEDIA_TYPE = "application/octet-stream"


class PollingCarrier:
    """Carries a session as long as it is polled; `link` gives it up when it falls silent."""

    kind: Transport = "polling"

    def __init__(self, link: Link, greeting: HelloPayload, address: str) -> None:
        self.link = link
        self.address = address
        self.session = greeting.session
        self.epoch = greeting.epoch
        self.key = secrets.token_hex(KEY_BYTES)
        self.welcome = b""
        self._news = asyncio.Event()
        self._last: bytes | None = None
        self._newest_poll = 0

    def wake(self) -> None:
        """The session may have something to send."""
        self._news.set()

    def close(self, last: bytes = b"") -> None:
        """End it, after this last message."""
        self._last = last
        self._news.set()

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it: another carries the session, and the last word was said."""
        return not self.link.carries(self) and not self._last

    async def poll(self, last_rx: int, held_s: float = HELD_S) -> bytes:
        """Return the next message; empty when there was none in time, or a newer poll came, or another transport."""
        self._newest_poll += 1
        number = self._newest_poll
        self._news.set()
        self.link.polled(self, last_rx)
        try:
            async with asyncio.timeout(held_s):
                while number == self._newest_poll and self._last is None:
                    if message := self.link.outgoing(self, MAX_MESSAGE_BYTES):
                        return message
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return b""
        last, self._last = self._last or b"", b"" if self._last is not None else None
        return last


async def up(request: Request, hub: TunnelHub) -> Response:
    """Take frames: HELLO, which begins the transport, or what its session has to say.

    Raises DomovoiError: bad_request, body_too_large, token_invalid and what logging in raises; transport_gone, whatever
    the reason: the node's next step is another transport.
    """
    body = await _body(request)
    if (carrier := _carrier(request, hub)) is None:
        if KEY_HEADER in request.headers:
            raise DomovoiError(Code.TRANSPORT_GONE)
        return await _begin(body, hub, address_of(request))
    # What was cut on its way is of use up to there; it is sent again, since nobody gets this answer.
    carrier.link.receive(carrier, FrameReader().feed(body))
    answer = carrier.link.take_ack(carrier)
    if not answer:
        raise DomovoiError(Code.TRANSPORT_GONE)
    return Response(answer, media_type=MEDIA_TYPE)


async def down(request: Request, hub: TunnelHub) -> Response:
    """Hold the request until there is something to say. Raises DomovoiError: bad_request, transport_gone."""
    carrier = _carrier(request, hub)
    try:
        last_rx = int(request.query_params.get("last_rx", ""))
    except ValueError:
        raise DomovoiError(Code.BAD_REQUEST) from None
    if carrier is None or carrier.is_over:
        raise DomovoiError(Code.TRANSPORT_GONE)
    message = await carrier.poll(max(0, last_rx))
    return Response(message, media_type=MEDIA_TYPE) if message else Response(status_code=204)


async def _begin(body: bytes, hub: TunnelHub, address: str) -> Response:
    try:
        frames = list(decode(body))
        if [frame.type for frame in frames] != [FrameType.HELLO]:
            raise FrameError(Fault.ORDER, "HELLO comes first, and alone")
        greeting = read_hello(frames[0])
    except FrameError as error:
        raise DomovoiError(Code.BAD_REQUEST, str(error)) from None
    node_id = await hub.verify(greeting.token)
    carrier = hub.poller(node_id)
    # A HELLO that is sent again because its answer got lost begins nothing anew.
    is_again = carrier is not None and (carrier.session, carrier.epoch) == (greeting.session, greeting.epoch)
    if carrier is None or not is_again:
        carrier = PollingCarrier(hub.link(node_id), greeting, address)
        if (welcome := carrier.link.greet(greeting, carrier)) is None:
            raise DomovoiError(Code.TRANSPORT_GONE)
        carrier.welcome = encode(welcome)
        hub.keep_poller(node_id, carrier)
    return Response(carrier.welcome, media_type=MEDIA_TYPE, headers={KEY_HEADER: f"{node_id.hex()}.{carrier.key}"})


def _carrier(request: Request, hub: TunnelHub) -> PollingCarrier | None:
    """Return the transport whose key the request has, None when there is none such (any more)."""
    node_id, _, key = request.headers.get(KEY_HEADER, "").partition(".")
    try:
        carrier = hub.poller(bytes.fromhex(node_id))
    except ValueError:
        return None
    is_its_own = carrier is not None and hmac.compare_digest(carrier.key.encode(), key.encode())
    return carrier if is_its_own else None


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_MESSAGE_BYTES:
                raise DomovoiError(Code.BODY_TOO_LARGE)
    except ClientDisconnect:
        pass
    return bytes(body)
