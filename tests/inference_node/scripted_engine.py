"""An engine that says what a test tells it to. It exists for tests alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inference_node.engine import Begun, EngineEvent, Finished, Piece, Prompt
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONTEXT_CHARACTERS = 4000


class ScriptedEngine:
    """Says `pieces`; while `gate` is closed it waits before the second. Dies there when told to."""

    name = "scripted"

    def __init__(self, pieces: list[str] | None = None) -> None:
        self.pieces = pieces if pieces is not None else ["Hel", "lo ", "🐈!"]
        self.gate = asyncio.Event()
        self.gate.set()
        self.has_paused = asyncio.Event()
        self.prompts: list[Prompt] = []
        self.loads: list[Path] = []
        self.dies = False
        self.load_gate = asyncio.Event()
        self.load_gate.set()
        self.is_alive = False
        self._stopped = asyncio.Event()
        self._died = asyncio.Event()
        self._is_generating = False

    async def load(self, model: Path) -> AsyncIterator[float]:
        self.is_alive = False
        try:
            content = await asyncio.to_thread(model.read_bytes)
        except OSError as error:
            raise DomovoiError(Code.MODEL_MISSING) from error
        if not content.startswith(b"GGUF"):
            raise DomovoiError(Code.MODEL_DAMAGED)
        yield 0.0
        await self.load_gate.wait()
        self.loads.append(model)
        self._died.clear()
        self.is_alive = True
        yield 1.0

    async def generate(self, prompt: Prompt) -> AsyncIterator[EngineEvent]:
        if not self.is_alive:
            raise DomovoiError(Code.ENGINE_FAILED)
        if len(prompt.messages[-1].text) > CONTEXT_CHARACTERS:
            raise DomovoiError(Code.CONTEXT_TOO_LONG)
        assert not self._is_generating, "one generation at a time"
        self._is_generating = True
        self._stopped.clear()
        self.prompts.append(prompt)
        try:
            yield Begun(len(prompt.messages), 0)
            said = 0
            for piece in self.pieces[: prompt.sampling.max_tokens]:
                if said == 1:
                    await self._pass_gate()
                if self._stopped.is_set():
                    break
                yield Piece(piece)
                said += 1
            is_cut = said == prompt.sampling.max_tokens
            reason = "stopped" if self._stopped.is_set() else "length" if is_cut else "end"
            yield Finished(reason, said)  # type: ignore[arg-type]
        finally:
            self._is_generating = False

    async def _pass_gate(self) -> None:
        self.has_paused.set()
        waits = [asyncio.ensure_future(event.wait()) for event in (self.gate, self._stopped)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self.dies and not self._stopped.is_set():
            self.is_alive = False
            self._died.set()
            raise DomovoiError(Code.ENGINE_FAILED)

    async def stop(self) -> None:
        self._stopped.set()

    async def unload(self) -> None:
        self.is_alive = False

    async def wait_for_death(self) -> None:
        await self._died.wait()
