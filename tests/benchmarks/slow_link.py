"""A network link with a round trip, in a process of its own: a TCP proxy that holds back what passes, both ways.

    with slow_link(port) as link:  # 127.0.0.1:link.port leads to 127.0.0.1:port
        link.delay(60)

The kernel's netem would do the same; it is not in every kernel, and this needs no rights.
`python -m tests.benchmarks.slow_link HOST PORT` prints its port, then obeys one command a line and answers each with
the time at which it was done, in ns of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.tunnel.fault_proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = "tests.benchmarks.slow_link"


class SlowProxy(FaultProxy):
    """As with packets, a connection costs a round trip, and its first request is on its way like everything else."""

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3 * self.latency_s)
        await super()._carry(reader, writer)


class SlowLink:
    """The proxy's process, as a benchmark holds it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = self._answer()

    def delay(self, round_trip_ms: float) -> None:
        """Have a round trip take so long from now on."""
        self._tell(f"delay {round_trip_ms / 2000}")

    def refuse_websockets(self) -> None:
        """Refuse what asks for a WebSocket from now on, and cut what there is."""
        self._tell("refuse")
        self.cut()

    def cut(self) -> int:
        """Reset every connection, and return when."""
        return self._tell("cut")

    def freeze(self) -> int:
        """Let nothing more through on the connections that there are, and return since when."""
        return self._tell("freeze")

    def _tell(self, command: str) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def slow_link(port: int, host: str = "127.0.0.1") -> Iterator[SlowLink]:
    """Start a link to a TCP port, without delay at first; it is gone when the context ends."""
    command = (sys.executable, "-m", MODULE, host, str(port))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield SlowLink(process)
        finally:
            process.kill()


async def _obey(host: str, port: int) -> None:
    proxy = SlowProxy(port, target_host=host)
    await proxy.start()
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    _say(proxy.port)
    while line := (await commands.readline()).decode().split():
        match line:
            case ["delay", one_way_s]:
                proxy.latency_s = float(one_way_s)
            case ["refuse"]:
                proxy.mode = Mode.WEBSOCKETS_REFUSED
            case ["cut"]:
                proxy.cut()
            case ["freeze"]:
                proxy.freeze()
        _say(time.monotonic_ns())


def _say(number: int) -> None:
    print(number, flush=True)  # noqa: T201  # the benchmark reads it


if __name__ == "__main__":
    asyncio.run(_obey(sys.argv[1], int(sys.argv[2])))
