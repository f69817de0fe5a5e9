"""An engine as the node sees it: a child process that may crash or hang without taking the node along."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from inference_node.child_tasks import ChildTask
from inference_node.engine import (
    DEFAULT_OPTIONS,
    Embeddings,
    EngineEvent,
    EngineOptions,
    Finished,
    LoadedModel,
    LoadProgress,
    Prompt,
)
from inference_node.engine_messages import LENGTH, Command, Embed, Generate, Load, Ping, Pong, Stop, pack, read_report
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from asyncio import StreamReader
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from inference_node.engine_messages import Task

log = logging.getLogger(__name__)

# Pings are about the process itself, and so have a number that no task has.
PING = 0


class TimeLimits(Struct, frozen=True):
    """What is waited for, in seconds. Tests take less.

    A large file from a slow disk and a long batch on a slow core say nothing for a while, a stopped answer ends
    within one batch or token, and a process that is not killed for its silence is one that answers pings.
    """

    load_silence: float = 600.0
    task_silence: float = 120.0
    ping_every: float = 5.0
    ping_silence: float = 60.0
    stop: float = 10.0
    end: float = 2.0
    look_every: float = 1.0


class ChildEngine:
    """An `Engine` in a child process, which is killed when it owes a sign of life for too long."""

    def __init__(self, name: str = "llama_cpp", limits: TimeLimits = TimeLimits()) -> None:  # noqa: B008  # frozen
        self.name = name
        self._limits = limits
        self._process: Process | None = None
        self._tasks: dict[int, ChildTask] = {}
        self._begun = 0
        self._ponged_s = 0.0
        self._fault = "it ended"
        self._reading: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int | None:
        """The id of the process, for tests and people who look for it."""
        return self._process.pid if self._process else None

    async def load(
        self,
        model: Path,
        options: EngineOptions = DEFAULT_OPTIONS,
    ) -> AsyncGenerator[LoadProgress | LoadedModel, None]:
        """Start the process and load a GGUF file.

        Raises DomovoiError `model_damaged`, `unsupported`, `out_of_memory`, `engine_failed`.
        """
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inference_node.engine_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl+C in the node's terminal is for the node; this process ends with its input.
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert process.stdout is not None  # noqa: S101  # a pipe, as asked above
        self._ponged_s = time.monotonic()
        self._reading = asyncio.create_task(self._read(process, process.stdout))
        task = self.begin(Load(self.name, str(model), options), self._limits.load_silence)
        while True:
            match await task.get():
                case LoadProgress() as progress:
                    yield progress
                case LoadedModel() as loaded:
                    yield loaded
                    return
                case report:
                    raise await self.out_of_place(report)

    def generate(self, prompt: Prompt) -> ChildGeneration:
        """Return the answer, which is made as it is iterated."""
        return ChildGeneration(self, Generate(prompt), self._limits.task_silence)

    async def embed(self, texts: list[str]) -> Embeddings:
        """Return the texts' embeddings. Raises DomovoiError `unsupported`, `engine_failed`."""
        report = await self.begin(Embed(texts), self._limits.task_silence).get()
        if not isinstance(report, Embeddings):
            raise await self.out_of_place(report)
        return report

    async def unload(self) -> None:
        """End the process: it ends with its input, or is told to, or is killed."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        for make_end in (process.terminate, process.kill):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._limits.end)
                break
            with contextlib.suppress(ProcessLookupError):
                make_end()
        if self._reading is not None:
            await self._reading

    def begin(self, task: Task, patience_s: float) -> ChildTask:
        """Give the process a task, which may be silent for so long. Raises DomovoiError `engine_failed`."""
        if self._process is None:
            raise DomovoiError(Code.ENGINE_FAILED)
        self._begun += 1
        begun = self._tasks[self._begun] = ChildTask(self._begun, patience_s)
        self._send(begun.number, task)
        return begun

    def stop(self, task: ChildTask) -> None:
        """Tell the process to end a task."""
        if not task.has_ended.is_set():
            self._send(task.number, Stop())

    async def end(self, task: ChildTask) -> None:
        """Stop a task and wait until it is over; a process that goes on with it is of no use."""
        self.stop(task)
        try:
            await asyncio.wait_for(task.has_ended.wait(), self._limits.stop)
        except TimeoutError:
            self._kill("it did not stop")
            await task.has_ended.wait()

    def _send(self, number: int, command: Command) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            # A process that takes nothing shows by its silence; until then what it should take waits in memory.
            self._process.stdin.write(pack(number, command))

    async def _read(self, process: Process, reports: StreamReader) -> None:
        """Take reports until the process is gone, then end what it had under way."""
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                length = LENGTH.unpack(await reports.readexactly(LENGTH.size))[0]
                number, report = read_report(await reports.readexactly(length))
                if isinstance(report, Pong):
                    self._ponged_s = time.monotonic()
                elif (task := self._tasks.get(number)) is not None:
                    task.put(report)
                    if task.has_ended.is_set():
                        del self._tasks[number]
        except asyncio.IncompleteReadError:
            pass
        except msgspec.MsgspecError as error:
            self._kill(str(error))
        exit_code = await process.wait()
        watching.cancel()
        self._process = None
        if self._tasks or exit_code:
            log.error("the engine process failed: %s (exit code %s)", self._fault, exit_code)
        for task in self._tasks.values():
            task.fail(DomovoiError(Code.ENGINE_FAILED))
        self._tasks.clear()

    async def _watch(self) -> None:
        """Kill the process when a task has been silent for too long, or when it does not even answer a ping."""
        limits = self._limits
        pinged_s = time.monotonic()
        while True:
            await asyncio.sleep(limits.look_every)
            now_s = time.monotonic()
            if now_s - pinged_s >= limits.ping_every:
                pinged_s = now_s
                self._send(PING, Ping())
            for task in self._tasks.values():
                if now_s - task.heard_s > task.patience_s:
                    self._kill(f"no sign of life for {task.patience_s:g} s")
            # Loading keeps some engines from answering.
            is_loading = any(task.patience_s == limits.load_silence for task in self._tasks.values())
            if not is_loading and now_s - self._ponged_s > limits.ping_silence:
                self._kill("it does not answer")

    def _kill(self, fault: str) -> None:
        self._fault = fault
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def out_of_place(self, report: object) -> DomovoiError:
        """End a process that says what it was not asked; return what to raise."""
        self._kill(f"a report out of place: {type(report).__name__}")
        await self.unload()
        return DomovoiError(Code.ENGINE_FAILED)


class ChildGeneration:
    """A `Generation` in an engine process."""

    def __init__(self, engine: ChildEngine, task: Generate, patience_s: float) -> None:
        self._engine = engine
        self._asked = task
        self._patience_s = patience_s
        self._task: ChildTask | None = None
        self._is_stopped = False
        self._is_over = False

    def __aiter__(self) -> ChildGeneration:
        """Return itself."""
        return self

    async def __anext__(self) -> EngineEvent:
        """Return the next event. Raises PromptTooLong and DomovoiError."""
        if self._is_over:
            raise StopAsyncIteration
        try:
            if self._task is None:
                self._task = self._engine.begin(self._asked, self._patience_s)
                if self._is_stopped:
                    self._engine.stop(self._task)
            event = await self._task.get()
        except DomovoiError:
            self._is_over = True
            raise
        self._is_over = isinstance(event, Finished)
        if not isinstance(event, EngineEvent):
            raise await self._engine.out_of_place(event)
        return event

    def stop(self) -> None:
        """Ask for the end."""
        self._is_stopped = True
        if self._task is not None:
            self._engine.stop(self._task)

    async def aclose(self) -> None:
        """Leave it. When this returns its slot is free."""
        self._is_over = True
        if self._task is not None:
            await self._engine.end(self._task)
