"""Keeps models loaded and engines alive: loads what is asked for, makes room, and starts again what failed."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from inference_node.engines import probe
from inference_node.loading.loader import FATAL
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from inference_node.loading.loader import Loader
    from inference_node.loading.ready import Ready
    from inference_node.models.models import ModelFile, ModelStore
    from shared.node_status import ModelStatus, StepDown

log = logging.getLogger(__name__)

# A clock that jumps so far ahead means that the machine slept, seconds.
SLEPT_S = 10.0


class EngineState(NamedTuple):
    """`state` is one of starting, loading, ready, resting (nothing is loaded until asked for), failed with `code`."""

    state: str
    model: str | None = None
    code: str | None = None
    engine: str | None = None


class _Bringing:
    """A model on its way into memory, whether or not anybody goes on waiting for it."""

    def __init__(self, task: asyncio.Task[Ready]) -> None:
        self.task = task
        self.waiters = 0


class Keeper:
    """Owns the engines, one for each loaded model. `resize` is called with a model's path and its slots."""

    def __init__(
        self,
        store: ModelStore,
        loader: Loader,
        model: str | None,
        resize: Callable[[str, int], None] = lambda model, slots: None,
    ) -> None:
        self.store = store
        self._loader = loader
        self._board = loader.board
        self._model = model
        self._resize = resize
        # Held by who changes what is loaded; first come, first served.
        self._lock = asyncio.Lock()
        self._ready: dict[Path, Ready] = {}
        self._bringing: dict[Path, _Bringing] = {}
        # Engines that failed, and models told to go. The latter wait for the lock: who has it must not wait for them.
        self._retiring: set[asyncio.Task[None]] = set()
        self._unloading: set[asyncio.Task[None]] = set()
        # Names of models to load whether or not somebody waits; None is the default.
        self._wanted: set[str | None] = {None}
        self._news = asyncio.Event()
        self._news.set()
        self._missing: Code | None = None
        # What the folder of models offered when it was looked at last.
        self._offered = [model.name for model in store.list()]
        self._told = EngineState("starting")

    # What others see.

    @property
    def state(self) -> EngineState:
        """How the node's engine is, in one word: that of the model used last, if any is loaded."""
        if self._ready:
            newest = max(self._ready.values(), key=lambda ready: ready.used_s)
            is_stalled = any(ready.is_stalled for ready in self._ready.values())
            state, code = ("failed", Code.ENGINE_FAILED) if is_stalled else ("ready", None)
            return EngineState(state, newest.model.name, code, newest.engine.name)
        if self._board.models:
            # What is being loaded says more than what could not be.
            shown = max(self._board.models.values(), key=lambda status: status.state != "failed")
            state = "failed" if shown.state == "failed" else "loading"
            return EngineState(state, shown.name, shown.code, shown.engine)
        if self._missing:
            return EngineState("failed", code=self._missing)
        return EngineState("starting" if self._wanted else "resting")

    @property
    def steps(self) -> list[StepDown]:
        """The latest steps down."""
        return self._board.steps

    def statuses(self) -> list[ModelStatus]:
        """Return every model that is loaded, on its way, or failed."""
        return [*(ready.status() for ready in self._ready.values()), *self._board.models.values()]

    def holds(self, path: Path) -> bool:
        """Return whether that file is in memory or on its way there."""
        return path in self._ready or path in self._bringing

    def key(self, name: str | None) -> str:
        """Return what to queue under: the model's path, or the name where there is no such model."""
        try:
            return str(self._find(name).path)
        except DomovoiError:
            return name or ""

    # Using a model.

    async def acquire(self, name: str | None) -> Ready:
        """Return an engine that has the model of that name, or the default one, loaded. Give it back with `release`.

        Raises DomovoiError `model_missing`, `model_damaged`, `unsupported`, `out_of_memory`, `engine_unavailable`.
        """
        try:
            model = self._find(name)
        except DomovoiError as error:
            self._missing = error.code
            self._tell()
            raise
        self._missing = None
        ready = self._ready.get(model.path)
        if ready is not None and not ready.is_leaving:
            return ready.take()
        bringing = self._bring(model)
        bringing.waiters += 1
        try:
            # Those who wait are users from the moment it is there, so that nobody unloads it before they come.
            return await asyncio.shield(bringing.task)
        except asyncio.CancelledError:
            bringing.waiters -= 1
            if bringing.task.done() and not bringing.task.cancelled() and bringing.task.exception() is None:
                self.release(bringing.task.result())
            raise

    def release(self, ready: Ready) -> None:
        """End the use of an engine."""
        ready.give_back()

    def worked(self, ready: Ready) -> None:
        """Take note that an answer came to its end: earlier failures are forgiven."""
        self._loader.ladder(ready.model).worked()

    def failed(self, ready: Ready, error: DomovoiError) -> bool:
        """Take note of what an answer failed with; return whether it may begin anew, with another engine."""
        can_another = error.code == Code.UNSUPPORTED and self._loader.ladder(ready.model).has_next_engine
        if error.code not in FATAL and not can_another:
            return False
        self.lost(ready, error)
        return True

    def lost(self, ready: Ready, error: DomovoiError) -> None:
        """Take note that the engine failed while it was used; another one is started, a step lower if need be."""
        if ready.is_lost:
            return
        ready.is_lost = True
        if self._ready.get(ready.model.path) is not ready:
            # Retired before it failed: what takes its place has nothing to do with that.
            return
        del self._ready[ready.model.path]
        self._loader.note_failure(ready.model, error)
        self._retire(ready)
        if not ready.is_leaving:
            self._wanted.add(self._name_of(ready.model))
            self._news.set()
        self._tell()

    # Loading and unloading by hand.

    def load(self, name: str | None) -> None:
        """Begin to load a model, the best way anew if it had to step down. Raises DomovoiError `model_missing`."""
        model = self._find(name)
        if self._loader.forget(model) and (ready := self._ready.pop(model.path, None)) is not None:
            self._retire(ready)
        if model.path not in self._ready:
            self._bring(model)

    def unload(self, name: str | None) -> None:
        """Have a model unloaded when its last answer is made. Raises DomovoiError `model_missing`."""
        model = self._find(name)
        self._wanted -= {name, model.path.name, self._name_of(model)}
        _keep(self._unloading, self._unload_by_hand(model), f"unload {model.name}")

    async def _unload_by_hand(self, model: ModelFile) -> None:
        async with self._lock:
            self._board.remove(model.path)
            self._loader.forget(model)
            if (ready := self._ready.get(model.path)) is not None:
                await self._unload(ready, "as asked")
        self._tell()

    async def close(self) -> None:
        """End all engines."""
        await _cancel(*(bringing.task for bringing in self._bringing.values()), *self._unloading, *self._retiring)
        self._ready.clear()
        await self._loader.close()

    # In the background.

    async def run(self) -> None:
        """Load the default model, load again what is lost, and look at the engines. Ends with its task."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._load_wanted())
            group.create_task(self._watch())

    async def _load_wanted(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            for name in list(self._wanted):
                with suppress(DomovoiError):
                    self.release(await self.acquire(name))
                    self._wanted.discard(name)
            if self._wanted:
                await asyncio.sleep(self._loader.limits.look_again)
                self._news.set()

    async def _watch(self) -> None:
        """See deaths that nobody was there to notice, silence, waking from sleep, and want of memory."""
        offset_s = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(self._loader.limits.look_every)
            before_s, offset_s = offset_s, time.time() - time.monotonic()
            await self.look(is_awake_again=offset_s - before_s > SLEPT_S)

    async def look(self, *, is_awake_again: bool = False) -> None:
        """Look at all engines once."""
        for ready in list(self._ready.values()):
            if not ready.engine.pulse().is_alive:
                self.lost(ready, DomovoiError(Code.ENGINE_FAILED, "The engine ended."))
        if is_awake_again:
            # Drivers and mapped files may be gone.
            await asyncio.gather(*(self._probe(ready) for ready in list(self._ready.values())))
        if self._loader.memory_free() < self._loader.limits.low_memory:
            await self._unload_idle()
        self._watch_folder()
        self._tell()

    def _watch_folder(self) -> None:
        """Tell of models that were put into the folder or taken out of it, though nobody asks."""
        offered = [model.name for model in self.store.list()]
        if offered != self._offered:
            self._offered = offered
            log.info("models changed", extra={"models": offered})
            self._board.on_change()

    async def _probe(self, ready: Ready) -> None:
        ready.take()
        try:
            await probe.probe(ready.engine, ready.loaded, self._loader.limits.probe)
        except DomovoiError as error:
            self.lost(ready, error)
        finally:
            self.release(ready)

    async def _unload_idle(self) -> None:
        """Unload the model that was used longest ago, if nobody uses it and it is not the only one."""
        idle = [ready for ready in self._ready.values() if not ready.users]
        if len(self._ready) > 1 and idle and not self._lock.locked():
            async with self._lock:
                await self._unload(min(idle, key=lambda ready: ready.used_s), "low memory")

    # How models come and go.

    def _find(self, name: str | None) -> ModelFile:
        return self.store.find(name) if name else self.store.find_configured(self._model)

    def _name_of(self, model: ModelFile) -> str | None:
        """The default model may lie outside the folder, and is known by no name."""
        with suppress(DomovoiError):
            if self._find(None).path == model.path:
                return None
        return model.path.name

    def _bring(self, model: ModelFile) -> _Bringing:
        """Return the model's way into memory, begun now or before."""
        bringing = self._bringing.get(model.path)
        if bringing is None:
            task = asyncio.create_task(self._brought(model), name=f"load {model.name}")
            # Whoever waits is told what went wrong; when nobody does, the board tells.
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            bringing = self._bringing[model.path] = _Bringing(task)
            self._board.wait(model)
        return bringing

    async def _brought(self, model: ModelFile) -> Ready:
        try:
            async with self._lock:
                ready = await self._loader.load(model, self._make_room)
                self._ready[model.path] = ready.take(self._bringing[model.path].waiters)
            self._resize(str(model.path), ready.loaded.slots)
        except DomovoiError as error:
            self._board.fail(model, self._loader.ladder(model).engine, error)
            raise
        else:
            self._board.remove(model.path)
            return ready
        finally:
            del self._bringing[model.path]
            self._tell()

    async def _make_room(self, wanted: int) -> None:
        """Unload what was used longest ago until so many bytes are free, or nothing is loaded."""
        await asyncio.gather(*self._retiring, return_exceptions=True)
        while self._ready and wanted > self._loader.memory_free():
            oldest = min(self._ready.values(), key=lambda ready: (ready.users > 0, ready.used_s))
            await self._unload(oldest, "room for another")

    async def _unload(self, ready: Ready, reason: str) -> None:
        """Wait for the last user, and unload. Only who holds the lock may."""
        ready.is_leaving = True
        try:
            await ready.idle.wait()
        finally:
            ready.is_leaving = False
        if self._ready.get(ready.model.path) is ready:
            del self._ready[ready.model.path]
            log.info("model unloaded", extra={"model": ready.model.name, "reason": reason})
            await self._loader.unload(ready.engine)

    def _retire(self, ready: Ready) -> None:
        """Unload an engine that gets no new users, when the last of those it has is gone."""

        async def unload() -> None:
            try:
                await ready.idle.wait()
            finally:
                await self._loader.unload(ready.engine)

        _keep(self._retiring, unload(), f"retire {ready.model.name}")

    def _tell(self) -> None:
        if (state := self.state) != self._told:
            log.info("engine %s", state.state, extra={"model": state.model, "code": state.code})
            self._told = state
            self._board.on_change()


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None], name: str) -> None:
    task = asyncio.create_task(work, name=name)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _cancel(*tasks: asyncio.Task[Ready] | asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
