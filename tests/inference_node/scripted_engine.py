"""An engine that says what a test tells it to. For tests alone: the product has no such thing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inference_node.engine import EngineEvent, Finished, LoadedModel, Piece, Prompt, PromptTooLong, Reading
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


class Script:
    """What the engines of one node do; every engine that the node makes follows the same script.

    A token is a word. Without `held`, an engine answers at once with `answer`; with it, only what `say` gives.
    """

    def __init__(self, *, context: int = 100, answer: str = "Yes, indeed.") -> None:
        self.context = context
        self.answer = answer
        self.held = False
        self.prompts: list[Prompt] = []
        self.loads: list[Path] = []
        self.load_failures: list[DomovoiError] = []
        self.generating = asyncio.Event()
        self.busy = 0
        self.most_busy = 0
        self._lines: asyncio.Queue[str | DomovoiError | None] = asyncio.Queue()

    def make_engine(self) -> ScriptedEngine:
        """Return an engine that follows this script."""
        return ScriptedEngine(self)

    def say(self, *texts: str) -> None:
        """Have the running or next generation say this."""
        for text in texts:
            self._lines.put_nowait(text)

    def finish(self) -> None:
        """Have the running generation end."""
        self._lines.put_nowait(None)

    def crash(self) -> None:
        """Have the running generation fail."""
        self._lines.put_nowait(DomovoiError(Code.ENGINE_FAILED))

    async def next_line(self) -> str | None:
        line = await self._lines.get()
        if isinstance(line, DomovoiError):
            raise line
        return line


class ScriptedEngine:
    """One engine over the script."""

    name = "scripted"

    def __init__(self, script: Script) -> None:
        self._script = script
        self._stop = asyncio.Event()
        self.is_loaded = False

    async def load(self, model: Path) -> LoadedModel:
        self._script.loads.append(model)
        if self._script.load_failures:
            raise self._script.load_failures.pop(0)
        if model.read_bytes()[:4] != b"GGUF":  # noqa: ASYNC240  # four bytes
            raise DomovoiError(Code.MODEL_DAMAGED)
        self.is_loaded = True
        return LoadedModel(self._script.context)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[EngineEvent, None]:
        script = self._script
        if not self.is_loaded:
            raise DomovoiError(Code.ENGINE_FAILED)
        tokens = sum(len(message.content.split()) + 1 for message in prompt.messages)
        if tokens > script.context - prompt.room:
            raise PromptTooLong(tokens)
        script.prompts.append(prompt)
        script.busy += 1
        script.most_busy = max(script.most_busy, script.busy)
        script.generating.set()
        self._stop.clear()
        try:
            yield Reading(tokens, tokens)
            async for event in self._speak(prompt, tokens):
                yield event
        finally:
            script.busy -= 1
            script.generating.clear()

    async def stop(self) -> None:
        self._stop.set()

    async def unload(self) -> None:
        self.is_loaded = False

    async def _speak(self, prompt: Prompt, tokens: int) -> AsyncGenerator[EngineEvent, None]:
        most = min(prompt.sampling.max_tokens or self._script.context, self._script.context - tokens)
        said = 0
        lines = self._held_lines() if self._script.held else self._own_lines()
        async for line in lines:
            if line is None or line in prompt.stop:
                yield Finished("stopped" if self._stop.is_set() else "end", tokens, said)
                return
            said += 1
            yield Piece(line)
            if said >= most:
                break
        yield Finished("length" if said >= most else "end", tokens, said)

    async def _own_lines(self) -> AsyncGenerator[str | None, None]:
        words = self._script.answer.split(" ")
        for n, word in enumerate(words):
            await asyncio.sleep(0)
            if self._stop.is_set():
                yield None
            yield word if n == len(words) - 1 else f"{word} "

    async def _held_lines(self) -> AsyncGenerator[str | None, None]:
        while True:
            line = asyncio.ensure_future(self._script.next_line())
            stop = asyncio.ensure_future(self._stop.wait())
            try:
                await asyncio.wait({line, stop}, return_when=asyncio.FIRST_COMPLETED)
                yield line.result() if line.done() else None
            finally:
                line.cancel()
                stop.cancel()
