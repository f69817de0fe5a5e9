"""Keeps the engine loaded: at start, after a death with growing pauses, and with the model that is asked for."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Literal

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from inference_node.engine import Engine, EngineEvent, Prompt
    from inference_node.models import Model, ModelStore

log = logging.getLogger(__name__)

EngineState = Literal["starting", "loading", "ready", "failed"]

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
# A missing or damaged model may be mended by its owner at any time.
LOOK_AGAIN_S = 5.0


class EngineKeeper:
    """One engine and the model in it. `state` and `code` are those of `NodeStatus`."""

    def __init__(self, engine: Engine, store: ModelStore, preferred: str | None, on_change: Callable[[], None]) -> None:
        self.state: EngineState = "starting"
        self.code: Code | None = None
        self.model: Model | None = None
        self._engine = engine
        self._store = store
        self._preferred = preferred
        self._on_change = on_change
        self._loading = asyncio.Lock()
        self._deaths = 0
        self._not_before = 0.0
        # A load that failed has left the engine empty, which is not a death.
        self._is_down = asyncio.Event()

    @property
    def engine_name(self) -> str:
        """The engine's code."""
        return self._engine.name

    def resolve(self, name: str | None) -> Model:
        """Return the model of that name, None for the node's default. Raises DomovoiError model_missing."""
        return self._store.find(name, self._preferred)

    async def prepare(self, model: Model) -> None:
        """Have that model loaded. Raises DomovoiError as `Engine.load` does."""
        async with self._loading:
            if self._engine.is_alive and self.model == model:
                return
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            try:
                # Before the loaded model is given up for one that can't be loaded.
                await asyncio.to_thread(self._store.check, model)
                self._note("loading")
                async for _ in self._engine.load(model.path):
                    pass
            except DomovoiError as error:
                if error.code is Code.ENGINE_FAILED:
                    self._note_death()
                if not self._engine.is_alive:
                    self._note("failed", error.code)
                    self._is_down.set()
                raise
            self.model = model
            self._is_down.clear()
            self._note("ready")

    async def generate(self, prompt: Prompt) -> AsyncIterator[EngineEvent]:
        """Yield what `Engine.generate` yields. The turn at the engine must be the caller's."""
        try:
            async for event in self._engine.generate(prompt):
                yield event
        except DomovoiError as error:
            if error.code is Code.ENGINE_FAILED:
                self._note_death()
            raise
        self._deaths = 0

    async def stop(self) -> None:
        """End the generation that runs."""
        await self._engine.stop()

    async def keep(self) -> None:
        """Keep the engine ready until cancelled; then unload it."""
        try:
            while True:
                try:
                    await self.prepare(self.model or self.resolve(None))
                except DomovoiError as error:
                    await self._pause_after(error)
                    continue
                await self._until_down()
                log.warning("the engine is down; starting it again")
                self._note("starting")
        finally:
            await self._engine.unload()

    async def _until_down(self) -> None:
        waits = [asyncio.ensure_future(wait) for wait in (self._engine.wait_for_death(), self._is_down.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _pause_after(self, error: DomovoiError) -> None:
        is_news = self.state != "failed" or self.code is not error.code
        if is_news or error.code is Code.ENGINE_FAILED:
            log.error("the engine is not ready: %s", error)
        self._note("failed", error.code)
        if error.code is not Code.ENGINE_FAILED:
            self.model = None
            await asyncio.sleep(LOOK_AGAIN_S)

    def _note_death(self) -> None:
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._deaths)
        self._deaths = min(self._deaths + 1, 10)
        self._not_before = time.monotonic() + pause

    def _note(self, state: EngineState, code: Code | None = None) -> None:
        if (state, code) != (self.state, self.code):
            self.state, self.code = state, code
            self._on_change()
