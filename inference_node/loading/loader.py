"""How a model gets loaded: the best way that fits, proved by a token; a step lower on its ladder when that fails."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from inference_node import metrics
from inference_node.engines import probe
from inference_node.engines.engine import DEFAULT_OPTIONS, EngineOptions, LoadedModel, LoadProgress
from inference_node.loading import ways
from inference_node.loading.board import Board
from inference_node.loading.ladder import Ladder
from inference_node.loading.ready import SUSPECT_S, Ready
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from inference_node.engines.engine import Engine
    from inference_node.models.models import ModelFile

log = logging.getLogger(__name__)

# A request waits for this many starts before it is told that there is no engine.
MOST_STARTS = 3
# What an engine fails with; it is made anew after any of them.
FATAL = frozenset({Code.ENGINE_FAILED, Code.OUT_OF_MEMORY})


class LoadLimits(Struct, frozen=True):
    """Times in seconds, and the best way to load.

    After the n-th failure in a row the next start waits `first_pause`·2ⁿ, `longest_pause` at most. `suspect` is how
    long an engine may be silent before it is reported, `probe` how long its first token may take. What is missing is
    looked for again every `look_again`, and engines are looked at every `look_every`. With fewer bytes free than
    `low_memory`, models that nobody uses are unloaded, all but one.
    """

    options: EngineOptions = DEFAULT_OPTIONS
    first_pause: float = 0.25
    longest_pause: float = 30.0
    suspect: float = SUSPECT_S
    probe: float = probe.WITHIN_S
    look_again: float = 2.0
    look_every: float = 1.0
    low_memory: int = 256 * 1024**2


class Loader:
    """Starts engines, and remembers how far each model had to step down. `engines` are names, the best first."""

    def __init__(
        self,
        make_engine: Callable[[str], Engine],
        engines: Sequence[str],
        *,
        limits: LoadLimits = LoadLimits(),  # noqa: B008  # frozen
        memory_free: Callable[[], int] = ways.memory_free,
    ) -> None:
        self.make_engine = make_engine
        self.engines = engines
        self.board = Board()
        self.limits = limits
        self.memory_free = memory_free
        self._ladders: dict[Path, Ladder] = {}
        # Made, and not known to be gone: whoever was to end them may be cancelled meanwhile.
        self._made: set[Engine] = set()

    def ladder(self, model: ModelFile) -> Ladder:
        """Return the model's ladder, at the step where it stands."""
        ladder = self._ladders.get(model.path)
        if ladder is None:
            ladder = self._ladders[model.path] = Ladder(model.name, self.engines, self.limits.options)
        return ladder

    def forget(self, model: ModelFile) -> bool:
        """Have the model loaded the best way next time; return whether it had stepped down."""
        ladder = self._ladders.pop(model.path, None)
        return ladder is not None and bool(ladder.steps)

    def note_failure(self, model: ModelFile, error: DomovoiError) -> bool:
        """Take note that the model's engine failed; return whether there is a step down that may help."""
        ladder = self.ladder(model)
        log.warning("engine failed", extra={"engine": ladder.engine, "code": error.code, "detail": error.detail})
        if error.code in FATAL:
            metrics.engine_failures.labels(ladder.engine, error.code).inc()
        step = ladder.failed(error)
        if step is not None:
            self.board.step(step)
        return step is not None

    async def load(self, model: ModelFile, make_room: Callable[[int], Awaitable[None]]) -> Ready:
        """Return the model's engine, proved to work. `make_room` is asked to have so many bytes free.

        Raises DomovoiError `model_damaged`, `unsupported`, `out_of_memory`, `engine_unavailable`.
        """
        crashes = 0
        while True:
            try:
                return await self._start(model, self.ladder(model), make_room)
            except DomovoiError as error:
                if self.note_failure(model, error):
                    continue
                if error.code != Code.ENGINE_FAILED:
                    raise
                crashes += 1
                if crashes >= MOST_STARTS:
                    raise DomovoiError(Code.ENGINE_UNAVAILABLE) from error

    async def unload(self, engine: Engine) -> None:
        """End an engine."""
        await engine.unload()
        self._made.discard(engine)

    async def close(self) -> None:
        """End all engines, also those whose end was cut short."""
        await asyncio.gather(*(self.unload(engine) for engine in self._made), return_exceptions=True)

    async def _start(self, model: ModelFile, ladder: Ladder, make_room: Callable[[int], Awaitable[None]]) -> Ready:
        limits = self.limits
        # Others may stay in memory for as long as this model fits with a single slot.
        await make_room(ways.room_for_one(model.header, ladder.options))
        if ladder.failures:
            await asyncio.sleep(min(limits.first_pause * 2**ladder.failures, limits.longest_pause))
        begun_s = time.monotonic()
        free = self.memory_free()
        for step in ladder.fitted(ways.fitting(model.header, free, ladder.options)):
            self.board.step(step)
        engine = self.make_engine(ladder.engine)
        self._made.add(engine)
        try:
            loaded = await self._loaded(engine, model, structs.replace(ladder.options, memory=free))
            await probe.probe(engine, loaded, limits.probe)
        except BaseException:
            await self.unload(engine)
            raise
        seconds = time.monotonic() - begun_s
        metrics.load_seconds.labels(engine.name).observe(seconds)
        facts = {"context": loaded.context, "slots": loaded.slots, "seconds": round(seconds, 1)}
        log.info("model ready", extra={"model": model.name, "engine": engine.name, **facts})
        if model.header.remark:
            log.warning("model remark", extra={"model": model.name, "detail": model.header.remark})
        return Ready(engine, model, loaded, suspect_s=limits.suspect)

    async def _loaded(self, engine: Engine, model: ModelFile, options: EngineOptions) -> LoadedModel:
        self.board.progress(model, engine.name, 0, model.size)
        async with aclosing(engine.load(model.path, options)) as events:
            async for event in events:
                match event:
                    case LoadProgress(done, total):
                        self.board.progress(model, engine.name, done, total)
                    case LoadedModel():
                        return event
        raise DomovoiError(Code.ENGINE_FAILED)
