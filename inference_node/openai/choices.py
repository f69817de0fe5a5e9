"""The answers to one request of a program, made at once as far as there are places.

They take turns with people's answers: a program is one more owner in the queue, and each of its choices one more
place there. What comes waits in memory, so that a program that reads slowly keeps neither its turn nor the engine.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from inference_node import metrics
from inference_node.engines.engine import Finished, PromptTooLong, Reading
from inference_node.openai.tool_prompts import with_tools_told
from inference_node.runs.pace import Pace
from inference_node.runs.prompting import for_template, with_defaults
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from typing import TypeVar

    from inference_node.engines.engine import EngineEvent, Prompt
    from inference_node.loading.keeper import Keeper
    from inference_node.loading.ready import Ready
    from inference_node.runs.turns import Ticket, Turns

    _T = TypeVar("_T")


class ChoiceEvent(NamedTuple):
    """An event of one of the choices, by its place among them."""

    choice: int
    event: EngineEvent


class Desk:
    """Where programs get the engine."""

    def __init__(self, keeper: Keeper, turns: Turns) -> None:
        self._keeper = keeper
        self._turns = turns
        # Tasks are held here until they have given back what they have, however their request ended.
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, owner: str, model: str | None, prompts: list[Prompt]) -> Choices:
        """Join the queue with as many tickets as there are prompts. Raises DomovoiError `engine_busy`."""
        tickets = self._take(owner, model, len(prompts))
        choices = Choices(self, model)
        for index, (prompt, ticket) in enumerate(zip(prompts, tickets, strict=True)):
            task = asyncio.create_task(choices.make(index, prompt, ticket))
            choices.tasks.append(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return choices

    async def once(self, owner: str, model: str | None, work: Callable[[Ready], Awaitable[_T]]) -> _T:
        """Do one thing with an engine when it is the owner's turn. Raises what the work raises, and `engine_busy`."""
        (ticket,) = self._take(owner, model, 1)
        return await self.work(ticket, model, work, lambda: True)

    async def work(
        self,
        ticket: Ticket,
        model: str | None,
        work: Callable[[Ready], Awaitable[_T]],
        may_begin_anew: Callable[[], bool],
    ) -> _T:
        """Do the work when it is the ticket's turn; ticket and engine are given back however it ends.

        When the engine fails it is done anew, once, with the one that takes its place, if `may_begin_anew` agrees.

        The engine is taken after the turn, never before: whoever has an engine and waits for a turn keeps the ones
        before it from changing the model, and so from ending theirs.
        """
        try:
            await ticket.wait()
            is_first = True
            while True:
                ready = await self._keeper.acquire(model)
                try:
                    result = await work(ready)
                    self._keeper.worked(ready)
                    return result
                except DomovoiError as error:
                    may_another = self._keeper.failed(ready, error)
                    if not may_another or not is_first or not may_begin_anew():
                        raise
                    is_first = False
                finally:
                    self._keeper.release(ready)
        finally:
            ticket.release()

    def _take(self, owner: str, model: str | None, count: int) -> list[Ticket]:
        tickets: list[Ticket] = []
        try:
            while len(tickets) < count:
                tickets.append(self._turns.take(owner, self._keeper.key(model)))
        except DomovoiError:
            for ticket in tickets:
                ticket.release()
            raise
        return tickets


class Choices:
    """What one request asked for, as it is made. Leave it with `leave`."""

    def __init__(self, desk: Desk, model: str | None) -> None:
        self._desk = desk
        self._asked_model = model
        self._events: asyncio.Queue[ChoiceEvent | Exception] = asyncio.Queue()
        self.tasks: list[asyncio.Task[None]] = []
        # The file's stem of the model that answers, once one does.
        self.model = model or ""

    async def events(self) -> AsyncGenerator[ChoiceEvent, None]:
        """Yield the events of all choices as they come, `Finished` once for each. Raises what the engine raises."""
        left = len(self.tasks)
        try:
            while left:
                item = await self._events.get()
                if isinstance(item, Exception):
                    raise item
                left -= isinstance(item.event, Finished)
                yield item
        finally:
            self.leave()

    def leave(self) -> None:
        """End what is still being made."""
        for task in self.tasks:
            task.cancel()

    async def make(self, index: int, prompt: Prompt, ticket: Ticket) -> None:
        """Make one of the choices."""

        has_said = False

        async def generate(ready: Ready) -> None:
            nonlocal has_said
            self.model = ready.model.path.stem
            asked = for_template(with_tools_told(prompt, ready.model.header), ready.model.header)
            asked = structs.replace(asked, sampling=with_defaults(prompt.sampling, ready.model.sampling))
            metrics.runs_started.inc()
            async with aclosing(ready.engine.generate(asked)) as events:
                pace = Pace(ready)
                try:
                    async for event in events:
                        pace.note(event)
                        has_said = has_said or not isinstance(event, Reading)
                        self._events.put_nowait(ChoiceEvent(index, event))
                except PromptTooLong as error:
                    # Nothing is left out in silence: programs keep count of their context themselves.
                    detail = f"It takes {error.tokens} tokens of {ready.context}. Shorten it."
                    raise DomovoiError(Code.CONTEXT_TOO_LONG, detail) from error

        try:
            # What was seen is never replayed.
            await self._desk.work(ticket, self._asked_model, generate, lambda: not has_said)
        except Exception as error:
            # Raised where the events are read, which is the request.
            self._events.put_nowait(error)
