"""Keeps an engine loaded and alive: starts it, starts it again after it failed, and changes its model when asked."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from inference_node.engine import LoadedModel
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.engine import Engine
    from inference_node.models import ModelFile, ModelStore
    from inference_node.turns import Turns

log = logging.getLogger(__name__)

# After the n-th failure in a row the next start waits 0.25·2ⁿ s, 30 s at most.
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
# A request waits for this many starts before it is told that there is no engine.
MOST_STARTS = 3
# How often a missing or damaged model is looked for again.
LOOK_AGAIN_S = 2.0


class Ready:
    """A loaded engine, and how many use it."""

    def __init__(self, engine: Engine, model: ModelFile, loaded: LoadedModel) -> None:
        self.engine = engine
        self.model = model
        self.loaded = loaded
        self.users = 0
        self.is_lost = False
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def context(self) -> int:
        """How many tokens prompt and answer may have together."""
        return self.loaded.context


class EngineState(NamedTuple):
    """`state` is one of starting, loading, ready, failed; `code` says why it failed."""

    state: str
    model: str | None = None
    code: Code | None = None


class Keeper:
    """Owns the engine. Another model is loaded when nobody uses the one before it."""

    def __init__(
        self,
        store: ModelStore,
        make_engine: Callable[[], Engine],
        model: str | None,
        turns: Turns,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._make_engine = make_engine
        self._model = model
        self._turns = turns
        self._on_change = on_change
        self._lock = asyncio.Lock()
        self._ready: Ready | None = None
        self._unloading: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._needed = asyncio.Event()
        self._needed.set()
        self.state = EngineState("starting")

    @property
    def store(self) -> ModelStore:
        """The models that can be asked for."""
        return self._store

    async def run(self) -> None:
        """Load the default model, and load again whenever the engine is lost. Ends with its task."""
        while True:
            await self._needed.wait()
            try:
                self.release(await self.acquire(None))
            except DomovoiError:
                await asyncio.sleep(LOOK_AGAIN_S)

    async def acquire(self, name: str | None) -> Ready:
        """Return an engine that has the model of that name, or the default one, loaded. Give it back with `release`.

        Raises DomovoiError `model_missing`, `model_damaged`, `engine_unavailable`.
        """
        async with self._lock:
            for _ in range(MOST_STARTS):
                try:
                    ready = await self._load(name)
                except DomovoiError as error:
                    if error.code != Code.ENGINE_FAILED:
                        raise
                else:
                    ready.users += 1
                    ready.idle.clear()
                    return ready
            raise DomovoiError(Code.ENGINE_UNAVAILABLE)

    def release(self, ready: Ready) -> None:
        """End the use of an engine."""
        ready.users -= 1
        if ready.users == 0:
            ready.idle.set()
            if ready.is_lost:
                self._unload_later(ready)

    def lost(self, ready: Ready) -> None:
        """Take note that the engine failed while it was used; another one is started."""
        ready.is_lost = True
        if self._ready is ready:
            self._failures += 1
            self._ready = None
            self._change(EngineState("starting", code=Code.ENGINE_FAILED))
            self._needed.set()

    def worked(self) -> None:
        """Take note that an answer came to its end: earlier failures are forgiven."""
        self._failures = 0

    async def close(self) -> None:
        """End the engine."""
        async with self._lock:
            await asyncio.gather(*self._unloading)
            await self._unload()

    async def _load(self, name: str | None) -> Ready:
        try:
            model = self._store.find(name) if name else self._store.find_configured(self._model)
        except DomovoiError as error:
            self._fail_unless_ready(error.code)
            raise
        if self._ready is not None and self._ready.model.path == model.path:
            return self._ready
        if self._ready is not None:
            await self._ready.idle.wait()
        await self._unload()
        if self._failures:
            await asyncio.sleep(min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S))
        self._change(EngineState("loading", model.name))
        engine = self._make_engine()
        try:
            loaded = await self._loaded(engine, model)
        except BaseException as error:
            await engine.unload()
            if isinstance(error, DomovoiError):
                self._failures += error.code == Code.ENGINE_FAILED
                self._change(EngineState("failed", model.name, error.code))
            raise
        self._needed.clear()
        self._ready = Ready(engine, model, loaded)
        self._turns.resize(loaded.slots)
        self._change(EngineState("ready", model.name))
        return self._ready

    async def _loaded(self, engine: Engine, model: ModelFile) -> LoadedModel:
        async with aclosing(engine.load(model.path)) as events:
            async for event in events:
                if isinstance(event, LoadedModel):
                    return event
        raise DomovoiError(Code.ENGINE_FAILED)

    def _unload_later(self, ready: Ready) -> None:
        task = asyncio.create_task(ready.engine.unload())
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def _unload(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            await ready.engine.unload()

    def _fail_unless_ready(self, code: Code) -> None:
        """A request for a model that is not there leaves a working engine as it is."""
        if self._ready is None:
            self._change(EngineState("failed", code=code))

    def _change(self, state: EngineState) -> None:
        if state != self.state:
            self.state = state
            log.info("engine %s%s", state.state, f": {state.code}" if state.code else "")
            self._on_change()
