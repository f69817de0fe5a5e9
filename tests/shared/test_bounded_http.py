"""How patient the HTTP protocol is, in a time of the test's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from shared.bounded_http import BoundedHttp
from shared.limits import BODY_BYTES_EACH, BODY_WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Clock:
    """A loop's timers, which go off when the test says so."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []
        self._loop = asyncio.get_running_loop()

    def call_later(self, delay: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(0, call, (), self._loop)
        self.timers.append((delay, call, handle))
        return handle

    def create_task(self, work: Any, **_: Any) -> asyncio.Future[None]:
        """The application has nothing to do here."""
        work.close()
        return self._loop.create_future()

    def wait(self) -> float:
        """Let the last timer go off, and return how long it has waited."""
        delay, call, handle = self.timers[-1]
        assert not handle.cancelled()
        call()
        return delay


class Transport(asyncio.Transport):
    """Takes no notice of what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write(self, data: Any) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass


class Connection:
    """One connection to an application that never answers."""

    def __init__(self) -> None:
        configuration = uvicorn.Config(_deaf, log_config=None)
        configuration.load()
        self.clock = Clock()
        self.transport = Transport()
        loop: Any = self.clock
        self.protocol = BoundedHttp(configuration, ServerState(), {}, loop)
        self.protocol.connection_made(self.transport)


async def _deaf(_scope: Any, _receive: Any, _send: Any) -> None:
    pass


@pytest.fixture
async def connection() -> Connection:
    return Connection()


async def test_W3_a_body_that_trickles_is_given_up(connection: Connection) -> None:
    connection.protocol.data_received(HEAD + b"x" * BODY_BYTES_EACH)
    assert connection.clock.wait() == BODY_WITHIN_S
    connection.protocol.data_received(b"x" * (BODY_BYTES_EACH - 1))
    assert not connection.transport.is_closed
    assert connection.clock.wait() == BODY_WITHIN_S
    assert connection.transport.is_closed


async def test_W3_a_body_that_goes_on_arriving_is_waited_for(connection: Connection) -> None:
    connection.protocol.data_received(HEAD)
    for _ in range(5):
        connection.protocol.data_received(b"x" * BODY_BYTES_EACH)
        connection.clock.wait()
    assert not connection.transport.is_closed


async def test_W3_who_waits_for_us_is_not_slow(connection: Connection) -> None:
    connection.protocol.data_received(HEAD)
    connection.protocol.flow.pause_reading()
    connection.clock.wait()
    assert not connection.transport.is_closed
    connection.protocol.flow.resume_reading()
    connection.clock.wait()
    assert connection.transport.is_closed


async def test_W3_a_websocket_on_a_connection_that_was_used_before_may_be_silent(connection: Connection) -> None:
    connection.protocol.data_received(GET)
    connection.protocol.cycle.response_complete = True
    connection.protocol.data_received(WEBSOCKET)
    assert all(handle.cancelled() for _, _, handle in connection.clock.timers)
    assert not connection.transport.is_closed
