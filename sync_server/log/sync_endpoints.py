"""HTTP of the log: push, pull and the event stream."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError

from shared.errors import Code, DomovoiError
from shared.limits import (
    DEFAULT_BOOTSTRAP_CELLS,
    DEFAULT_PULL_CHANGES,
    EVENT_STREAM_PING_S,
    MAX_BOOTSTRAP_CELLS,
    MAX_PULL_CHANGES,
    MAX_PUSH_BYTES,
    MAX_SEQUENCE,
)
from shared.wire import DevicesNews, Hello, LeaseRequest, LogNews, Nodes, Push
from sync_server.accounts.authentication import authenticated, bearer
from sync_server.accounts.caller import address_of
from sync_server.content import answer, compressed_answer, path_id, query_number, read_struct
from sync_server.log.bootstrap import bootstrap, bootstrap_packed
from sync_server.log.digests import digest_of
from sync_server.log.leases import lease_answer
from sync_server.log.news import Mailbox, News
from sync_server.log.pull import hello, pull
from sync_server.log.purges import acknowledge
from sync_server.log.push import push
from sync_server.services import services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from sync_server.accounts.caller import Caller


log = logging.getLogger(__name__)
# Its debug lines carry every event, and events carry what people wrote.
logging.getLogger("sse_starlette.sse").setLevel(logging.WARNING)

# A reader that takes nothing for this long is gone.
SEND_TIMEOUT_S = 30


async def push_changes(request: Request) -> Response:
    """Take a device's changes into the log. The push itself asks whether the device may still call."""
    services = services_of(request)
    caller = bearer(request)
    batch = await read_struct(request, Push, MAX_PUSH_BYTES)
    outcome = await push(services.database, caller.account_id, caller.device_id, batch)
    if outcome.news is not None:
        services.metrics.changes.inc(outcome.news.head - outcome.news.prev_head)
        services.hub.publish(caller.account_id, outcome.news, caller.device_id)
        # Who wrote it sees it already; who waits for the news comes first.
        await asyncio.sleep(0)
    return answer(request, outcome.pushed)


async def pull_changes(request: Request) -> Response:
    """Read the log from a cursor."""
    caller = await authenticated(request)
    since = query_number(request, "since", 0, 0, MAX_SEQUENCE)
    limit = query_number(request, "limit", DEFAULT_PULL_CHANGES, 1, MAX_PULL_CHANGES)
    epoch = query_number(request, "epoch", None, 0, 2**32 - 1)
    if since and epoch is None:
        # A cursor of an unnamed history could be counted as having seen this one's tombstones.
        raise DomovoiError(Code.BAD_REQUEST, "A pull that goes on names its epoch.")
    database = services_of(request).database
    page = await pull(database, caller.account_id, since or 0, limit or DEFAULT_PULL_CHANGES, epoch)
    if since:
        await acknowledge(database, caller.account_id, caller.device_id, since)
    return await compressed_answer(request, page)


async def bootstrap_account(request: Request) -> Response:
    """Read the account's state, newest conversations first, for a device that has none of it."""
    caller, after, limit = await _page_asked(request)
    read = bootstrap_packed if query_number(request, "packed", 0, 0, 1) else bootstrap
    return await compressed_answer(request, await read(services_of(request).database, caller.account_id, after, limit))


async def bootstrap_scope(request: Request) -> Response:
    """Read the state of one conversation, ahead of the rest."""
    caller, after, limit = await _page_asked(request)
    scope = path_id(request, "scope")
    page = await bootstrap(services_of(request).database, caller.account_id, after, limit, scope)
    return await compressed_answer(request, page)


async def _page_asked(request: Request) -> tuple[Caller, str | None, int]:
    caller = await authenticated(request)
    limit = query_number(request, "limit", DEFAULT_BOOTSTRAP_CELLS, 1, MAX_BOOTSTRAP_CELLS)
    return caller, request.query_params.get("after"), limit or DEFAULT_BOOTSTRAP_CELLS


async def digest(request: Request) -> Response:
    """Say what the account's cells fold to, for a device that wants to know whether it has them all."""
    caller = await authenticated(request)
    return answer(request, await digest_of(services_of(request).database, caller.account_id))


async def lease(request: Request) -> Response:
    """Claim, renew or release the right to run an answer."""
    caller = await authenticated(request)
    wish = await read_struct(request, LeaseRequest)
    return answer(request, await lease_answer(services_of(request).database, caller.account_id, caller.device_id, wish))


async def events(request: Request) -> EventStream:
    """Stream news: `hello` first, then `presence`, then what happens."""
    return EventStream(request)


class EventStream:
    """The response: it listens before it reads where the log stands, so that nothing falls in between."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._services = services_of(request)
        self._address = address_of(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises DomovoiError database_unavailable, and what authentication raises, before the stream has begun."""
        services, mailbox = self._services, Mailbox()
        with ExitStack() as held:
            async with services.hub.greeting:
                caller = await authenticated(self._request)
                held.enter_context(services.hub.listening(caller.account_id, mailbox.put, caller.device_id))
                held.enter_context(services.streams.holding(caller, mailbox.close))
                greeting = await hello(services.database, caller.account_id)
                mailbox.put(await services.tunnels.nodes(caller.account_id, self._address))
            stream = EventSourceResponse(
                self._events(replace(greeting, address=self._address), mailbox),
                ping=EVENT_STREAM_PING_S,
                send_timeout=SEND_TIMEOUT_S,
                headers={"cache-control": "no-store, no-transform", "x-accel-buffering": "no"},
            )
            try:
                await stream(scope, receive, send)
            except SendTimeoutError:
                log.info("an event stream was not read for %s s and is closed", SEND_TIMEOUT_S)

    async def _events(self, greeting: Hello, mailbox: Mailbox) -> AsyncIterator[ServerSentEvent]:
        yield _event("hello", greeting)
        while (news := await mailbox.take()) is not None:
            for item in news:
                match item:
                    case LogNews():
                        yield _event("log", item)
                    case DevicesNews():
                        yield _event("devices", item)
                    case Nodes():
                        yield _event("presence", self._services.tunnels.as_seen_from(item, self._address))


def _event(name: str, body: Hello | News) -> ServerSentEvent:
    return ServerSentEvent(msgspec.json.encode(body).decode(), event=name, sep="\n")
