"""The `llama_cpp` engine as the node sees it: a child process that may crash without taking the node along."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from inference_node.engine import EngineEvent, Finished, LoadedModel, Prompt, PromptTooLong
from inference_node.engine_messages import (
    LENGTH,
    Command,
    Failed,
    Generate,
    Load,
    Loaded,
    Report,
    Stop,
    TooLong,
    pack,
    read_report,
)
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator
    from pathlib import Path

log = logging.getLogger(__name__)

# A process that does not end with its input is killed after this, seconds.
END_WITHIN_S = 2.0
# Freeing the engine takes one batch of the prompt or one token; past this it hangs.
STOP_WITHIN_S = 10.0
# A large file from a slow disk takes minutes, and says nothing meanwhile.
LOAD_WITHIN_S = 600.0


class ChildEngine:
    """An `Engine` in a child process. Tasks are numbered, so that a late stop never ends the next task.

    A task without any report for `stall_s` seconds counts as hung: the process is killed.
    """

    name = "llama_cpp"

    def __init__(self, *, stall_s: float = 120.0) -> None:
        self._stall_s = stall_s
        self._process: Process | None = None
        self._task = asyncio.Lock()
        self._sent = 0
        self._is_generating = False

    @property
    def process_id(self) -> int | None:
        """The id of the process, for tests and people who look for it."""
        return self._process.pid if self._process else None

    async def load(self, model: Path) -> LoadedModel:
        """Start the process and load a GGUF file. Raises DomovoiError `model_damaged`, `engine_failed`."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inference_node.engine_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl+C in the node's terminal is for the node; this process ends with its input.
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        async with self._task:
            await self._send(Load(str(model)))
            match await self._receive(LOAD_WITHIN_S):
                case Loaded(loaded):
                    return loaded
                case Failed(code, detail):
                    raise DomovoiError(code, detail)
                case _:
                    raise await self._failed("a report out of place")

    async def generate(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        """Yield the answer's events; closing the generator early waits until the engine is free."""
        async with self._task:
            self._is_generating = True
            try:
                await self._send(Generate(prompt))
                while self._is_generating:
                    report = await self._receive()
                    match report:
                        case Failed(code, detail):
                            self._is_generating = False
                            raise DomovoiError(code, detail)
                        case TooLong(tokens):
                            self._is_generating = False
                            raise PromptTooLong(tokens)
                        case Finished():
                            self._is_generating = False
                        case Loaded():
                            raise await self._failed("a report out of place")
                    yield report
            finally:
                await self._finish()

    async def stop(self) -> None:
        """End the generation that runs, if one does."""
        if self._is_generating:
            await self._send(Stop(self._sent))

    async def unload(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _finish(self) -> None:
        """Leave the engine free, whether the generation ended, failed, or was left in the middle."""
        if not self._is_generating or self._process is None:
            return
        with contextlib.suppress(DomovoiError):
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await self.stop()
                    while not isinstance(await self._receive(), Finished | Failed | TooLong):
                        pass
            except TimeoutError:
                raise await self._failed("it did not stop") from None
        self._is_generating = False

    async def _send(self, command: Command) -> None:
        if self._process is None or self._process.stdin is None:
            raise DomovoiError(Code.ENGINE_FAILED)
        if not isinstance(command, Stop):
            self._sent += 1
        try:
            self._process.stdin.write(pack(command))
            await self._process.stdin.drain()
        except ConnectionError:
            raise await self._failed("its input is closed") from None

    async def _receive(self, within_s: float | None = None) -> Report:
        if self._process is None or self._process.stdout is None:
            raise DomovoiError(Code.ENGINE_FAILED)
        within_s = within_s or self._stall_s
        try:
            async with asyncio.timeout(within_s):
                length = LENGTH.unpack(await self._process.stdout.readexactly(LENGTH.size))[0]
                return read_report(await self._process.stdout.readexactly(length))
        except asyncio.IncompleteReadError:
            raise await self._failed("it ended") from None
        except TimeoutError:
            raise await self._failed(f"no sign of life for {within_s:g} s") from None
        except msgspec.MsgspecError as error:
            raise await self._failed(str(error)) from error

    async def _failed(self, reason: str) -> DomovoiError:
        """Make sure that the process is gone, and return what to raise."""
        self._is_generating = False
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            log.error("the engine process failed: %s (exit code %s)", reason, await process.wait())
        return DomovoiError(Code.ENGINE_FAILED)
