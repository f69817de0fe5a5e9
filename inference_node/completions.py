"""Generations for other programs on this PC: in the queue like everybody's, but not in any log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.errors import DomovoiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from inference_node.engine import EngineEvent, Prompt
    from inference_node.engine_keeper import EngineKeeper
    from inference_node.models import Model
    from inference_node.turns import Turn, Turns

# All programs are one owner in the queue; no account has this id.
_PROGRAMS = b"programs"


class Completions:
    """Starts completions. Raises DomovoiError model_missing, engine_busy."""

    def __init__(self, keeper: EngineKeeper, turns: Turns) -> None:
        self._keeper = keeper
        self._turns = turns
        self._tasks: set[asyncio.Task[None]] = set()

    def resolve(self, model: str | None) -> Model:
        """Return the model of that name, None for the default. Raises DomovoiError model_missing."""
        return self._keeper.resolve(model)

    async def events(self, model: Model, prompt: Prompt) -> AsyncGenerator[EngineEvent]:
        """Yield what the engine says. A reader that leaves stops the engine; a slow one does not hold it up."""
        turn = self._turns.ask(_PROGRAMS)
        arrived: asyncio.Queue[EngineEvent | DomovoiError | None] = asyncio.Queue()
        has_left = asyncio.Event()

        async def pump() -> None:
            try:
                if await turn.is_granted():
                    await self._keeper.prepare(model)
                    if not has_left.is_set():
                        async for event in self._keeper.generate(prompt):
                            arrived.put_nowait(event)
            except DomovoiError as error:
                arrived.put_nowait(error)
            finally:
                self._turns.leave(turn)
                arrived.put_nowait(None)

        task = asyncio.create_task(pump())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while (event := await arrived.get()) is not None:
                if isinstance(event, DomovoiError):
                    raise event
                yield event
        finally:
            has_left.set()
            if not task.done():
                await self._stop(turn)

    async def _stop(self, turn: Turn) -> None:
        if self._turns.is_current(turn):
            await self._keeper.stop()
        else:
            self._turns.leave(turn)

    async def close(self) -> None:
        """End what is going on."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
