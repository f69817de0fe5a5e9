"""The node's side of an engine in a process of its own: starts it, talks to it, and ends it when it hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import TYPE_CHECKING

import msgspec

from inference_node.engine import EngineEvent, Finished, Prompt
from inference_node.engine_messages import (
    HEAD,
    MAX_MESSAGE_BYTES,
    Command,
    Failed,
    Generate,
    Load,
    Loaded,
    Loading,
    Report,
    Said,
    Stop,
    frame,
    report_decoder,
)
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

log = logging.getLogger(__name__)

CONTEXT_TOKENS = 4096
# No sign of life for this long, at work, means that the engine hangs. Reading one batch of a prompt is the
# longest silence there is.
STALL_S = 60.0
LOAD_S = 600.0
# A stop that is not obeyed within this time is enforced.
STOP_S = 0.8


class ChildEngine:
    """An `Engine` in a child process."""

    def __init__(self, name: str = "llama_cpp", context_tokens: int = CONTEXT_TOKENS, stall_s: float = STALL_S) -> None:
        self.name = name
        self._context_tokens = context_tokens
        self._stall_s = stall_s
        self._child: asyncio.subprocess.Process | None = None
        self._is_loaded = False
        self._number = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._died = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether a model is loaded and the process runs."""
        return self._is_loaded and self._child is not None and self._child.returncode is None

    @property
    def process_id(self) -> int | None:
        """The child's process id, None when there is none."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def load(self, model: Path) -> AsyncIterator[float]:
        """See `Engine.load`. A fresh process each time: nothing of the last model or of its troubles stays."""
        await self.unload()
        self._child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inference_node.engine_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            self._send(Load(str(model), self._context_tokens))
            while True:
                match await self._receive(LOAD_S):
                    case Loading(progress):
                        yield progress
                    case Loaded():
                        self._is_loaded = True
                        self._watcher = asyncio.create_task(self._watch(self._child))
                        return
                    case Failed(_, code, detail):
                        raise DomovoiError(Code(code), detail)
        finally:
            if not self._is_loaded:
                await self.unload()

    async def generate(self, prompt: Prompt) -> AsyncIterator[EngineEvent]:
        """See `Engine.generate`."""
        if not self.is_alive:
            raise DomovoiError(Code.ENGINE_FAILED)
        self._number += 1
        self._idle.clear()
        is_over = False
        try:
            self._send(Generate(self._number, prompt))
            while not is_over:
                report = await self._receive(self._stall_s)
                if isinstance(report, Failed) and report.number == self._number:
                    is_over = True
                    raise DomovoiError(Code(report.code), report.detail)
                if isinstance(report, Said) and report.number == self._number:
                    is_over = isinstance(report.event, Finished)
                    yield report.event
        finally:
            self._idle.set()
            if not is_over:
                # The reader left or the engine broke: whatever it still does, nobody will read it.
                await self._kill()

    async def stop(self) -> None:
        """See `Engine.stop`. An engine that does not obey is killed; the next run loads it again."""
        if self._idle.is_set() or not self.is_alive:
            return
        self._send(Stop(self._number))
        try:
            async with asyncio.timeout(STOP_S):
                await self._idle.wait()
        except TimeoutError:
            log.warning("the engine did not stop within %s s and is killed", STOP_S)
            await self._kill()

    async def unload(self) -> None:
        """See `Engine.unload`."""
        child, self._child = self._child, None
        self._is_loaded = False
        self._died.clear()
        await _end(child)

    async def wait_for_death(self) -> None:
        """See `Engine.wait_for_death`."""
        await self._died.wait()

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        await child.wait()
        if child is self._child:
            self._is_loaded = False
            self._died.set()

    def _send(self, command: Command) -> None:
        if self._child is None or self._child.stdin is None:
            raise DomovoiError(Code.ENGINE_FAILED)
        self._child.stdin.write(frame(command))

    async def _receive(self, within_s: float) -> Report:
        """Return the next report. Raises DomovoiError engine_failed when the process dies or falls silent."""
        if self._child is None or self._child.stdout is None:
            raise DomovoiError(Code.ENGINE_FAILED)
        try:
            async with asyncio.timeout(within_s):
                (length,) = HEAD.unpack(await self._child.stdout.readexactly(HEAD.size))
                if length > MAX_MESSAGE_BYTES:
                    raise DomovoiError(Code.ENGINE_FAILED)
                report: Report = report_decoder.decode(await self._child.stdout.readexactly(length))
                return report
        except TimeoutError as error:
            log.error("the engine said nothing for %s s and is killed", within_s)
            raise DomovoiError(Code.ENGINE_FAILED) from error
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError) as error:
            raise DomovoiError(Code.ENGINE_FAILED) from error

    async def _kill(self) -> None:
        self._is_loaded = False
        await _end(self._child)


async def _end(child: asyncio.subprocess.Process | None) -> None:
    if child is None or child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    await child.wait()
