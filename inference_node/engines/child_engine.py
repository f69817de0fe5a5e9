"""An engine as the node sees it: a child process that may crash or hang without taking the node along."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from inference_node.engines.child_tasks import ChildTask
from inference_node.engines.engine import (
    DEFAULT_OPTIONS,
    Embeddings,
    EngineEvent,
    EngineOptions,
    Finished,
    LoadedModel,
    LoadProgress,
    Prompt,
    Pulse,
    Reading,
)
from inference_node.engines.messages import LENGTH, Command, Embed, Generate, Load, Ping, Pong, Stop, pack, read_report
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator

    from inference_node.engines.messages import Task

log = logging.getLogger(__name__)

# Read at once of what an engine says on stderr, in bytes.
MOST_WORDS = 8192
# Pings are about the process itself, and so have a number that no task has.
PING = 0


class TimeLimits(Struct, frozen=True):
    """What is waited for, in seconds. Tests take less.

    A large file from a slow disk and a long batch on a slow core say nothing for a while, a stopped answer ends
    within one batch or token, and a process that is not killed for its silence is one that answers pings.
    """

    load_silence: float = 600.0
    task_silence: float = 120.0
    ping_every: float = 2.0
    ping_silence: float = 30.0
    stop: float = 10.0
    end: float = 2.0
    look_every: float = 1.0


class ChildEngine:
    """An `Engine` in a child process, which is killed when it owes a sign of life for too long."""

    def __init__(
        self,
        name: str = "llama_cpp",
        limits: TimeLimits = TimeLimits(),  # noqa: B008  # frozen
        module: str = "inference_node.engines.process",
    ) -> None:
        self.name = name
        self._module = module
        self._limits = limits
        self._process: Process | None = None
        self._tasks: dict[int, ChildTask] = {}
        self._begun = 0
        self._ponged_s = 0.0
        self._fault: str | None = None
        self._is_ending = False
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
            *(sys.executable, "-m", self._module, str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl+C in the node's terminal is for the node; this process ends with its input.
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._ponged_s = time.monotonic()
        self._reading = asyncio.create_task(self._read(process))
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
        """Return the texts' embeddings. Raises PromptTooLong, DomovoiError `unsupported`, `engine_failed`."""
        task = self.begin(Embed(texts), self._limits.task_silence)
        try:
            while isinstance(report := await task.get(), Reading):
                pass
        finally:
            # It ends between two texts; nobody has to wait for that.
            self.stop(task)
        if not isinstance(report, Embeddings):
            raise await self.out_of_place(report)
        return report

    def pulse(self) -> Pulse:
        """Return how it is: what is under way must speak, and the process itself must answer pings."""
        if self._process is None:
            return Pulse(is_alive=False)
        now_s = time.monotonic()
        heard_s = [task.heard_s for task in self._tasks.values() if not task.is_loading]
        if not self._is_loading:
            heard_s.append(self._ponged_s + self._limits.ping_every)
        return Pulse(is_alive=True, silent_s=max(0.0, now_s - min(heard_s, default=now_s)))

    async def unload(self) -> None:
        """End the process: it ends with its input, or is told to, or is killed."""
        process = self._process
        if process is None:
            return
        self._is_ending = True
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
        begun = self._tasks[self._begun] = ChildTask(self._begun, patience_s, is_loading=isinstance(task, Load))
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

    async def _read(self, process: Process) -> None:
        """Take reports until the process is gone, then end what it had under way."""
        kills = _kernel_kills()
        watching = asyncio.create_task(self._watch())
        listening = asyncio.create_task(_pass_on(self.name, process))
        try:
            await self._take_reports(process)
        except asyncio.IncompleteReadError:
            pass
        except msgspec.MsgspecError as error:
            self._kill(str(error))
        exit_code = await process.wait()
        watching.cancel()
        self._process = None
        # Its last words say why it ended. Others that it may have left the pipe to are not waited for.
        await asyncio.wait({listening}, timeout=self._limits.end)
        lacked_memory = _kernel_kills() > kills or (listening.done() and _tells_of_memory(listening.result()))
        listening.cancel()
        code = Code.OUT_OF_MEMORY if self._fault is None and lacked_memory else Code.ENGINE_FAILED
        # What is told to end and takes its time is told to by a signal, and that is no failure.
        if self._fault or (not self._is_ending and (self._tasks or exit_code)):
            fault = self._fault or "it ended"
            log.error(
                "engine failed", extra={"engine": self.name, "fault": fault, "exit_code": exit_code, "code": code}
            )
        for task in self._tasks.values():
            task.fail(DomovoiError(code))
        self._tasks.clear()

    async def _take_reports(self, process: Process) -> None:
        assert process.stdout is not None  # noqa: S101  # a pipe, as asked in `load`
        while True:
            length = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))[0]
            number, report = read_report(await process.stdout.readexactly(length))
            if isinstance(report, Pong):
                self._ponged_s = time.monotonic()
            elif (task := self._tasks.get(number)) is not None:
                task.put(report)
                if task.has_ended.is_set():
                    del self._tasks[number]

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
            if not self._is_loading and now_s - self._ponged_s > limits.ping_silence:
                self._kill("it does not answer")

    @property
    def _is_loading(self) -> bool:
        return any(task.is_loading for task in self._tasks.values())

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


async def _pass_on(name: str, process: Process) -> bytes:
    """Put into the log what an engine's native code says: errors alone, and no text of people's. Return the last of it.

    It comes in pieces of any size.
    """
    assert process.stderr is not None  # noqa: S101  # a pipe, as asked in `load`
    last = b""
    while chunk := await process.stderr.read(MOST_WORDS):
        last = (last + chunk)[-MOST_WORDS:]
        for line in chunk.decode("utf-8", "replace").splitlines():
            log.warning("engine says", extra={"engine": name, "words": line})
    return last


def _tells_of_memory(last_words: bytes) -> bool:
    """Say whether Rust or C++ gave the process up because an allocation failed deep within it."""
    return any(words in last_words for words in (b"memory allocation of ", b"bad_alloc"))


def _kernel_kills() -> int:
    """Return how many processes Linux has killed for want of memory since it started."""
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


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
        if self._task is None and self._is_stopped:
            # A fast model could have written all that fits before its process hears of the stop.
            self._is_over = True
            return Finished("stopped", 0, 0)
        try:
            if self._task is None:
                self._task = self._engine.begin(self._asked, self._patience_s)
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
