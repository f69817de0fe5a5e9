"""A process that says a line when it is ready, and is killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from tests.structure.tracked import ROOT

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

READY_WITHIN_S = 120.0
LOG_TAIL = 4000
LOOK_EVERY_S = 0.002


class Part:
    """One program, in one process after the other; what each says on stderr goes to `log`."""

    def __init__(self, command: tuple[str, ...], log: Path, environment: dict[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._environment = os.environ | (environment or {})
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The process that runs now."""
        assert self._process is not None
        return self._process

    async def start(self) -> str:
        """Start it and return the line with which it says that it is ready."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=self._environment,
                start_new_session=True,
                # A line of the phone holds a whole answer.
                limit=16 * 1024 * 1024,
            )
        async with asyncio.timeout(READY_WITHIN_S):
            line = await self.read_line()
        assert line, f"{self._command[-1]} ended with {await self._process.wait()}:\n{self.tail()}"
        return line

    async def read_line(self) -> str:
        """Return the next line that it says, or nothing when it has ended."""
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()

    def write_line(self, line: str) -> None:
        """Tell it something."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def kill(self) -> None:
        """SIGKILL, with what it has started: no goodbye, no flush."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    def log(self) -> str:
        """Return what it has said."""
        return self._log.read_text("utf-8", errors="replace")

    def tail(self) -> str:
        """Return the end of that."""
        return self.log()[-LOG_TAIL:]


class Nursed:
    """A part whose processes come from a nursery: killed, and there again, at any moment."""

    def __init__(self, command: tuple[str, ...], log: Path, environment: dict[str, str] | None = None) -> None:
        self._nursery = Part(command, log, environment)
        self.process_id = 0

    async def start(self) -> None:
        """Start the first one."""
        await self._nursery.start()
        await self.start_next()

    async def start_next(self) -> None:
        """Start a process, and wait until it answers."""
        self._nursery.write_line("")
        async with asyncio.timeout(READY_WITHIN_S):
            self.process_id = int(await self._nursery.read_line())
            line = await self._nursery.read_line()
        assert line.startswith("http"), f"{line!r} instead of its address:\n{self.tail()}"

    async def kill(self) -> None:
        """SIGKILL it, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGKILL)
            while True:
                os.kill(self.process_id, 0)
                await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """End it for good, with the nursery."""
        await self._nursery.kill()

    def log(self) -> str:
        """Return what all its processes have said."""
        return self._nursery.log()

    def tail(self) -> str:
        """Return the end of that."""
        return self._nursery.tail()
