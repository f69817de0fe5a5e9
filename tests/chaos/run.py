"""One run: a phone asks, what the story says goes wrong, and in the end everything that must hold is looked at."""

from __future__ import annotations

import asyncio
import time
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from shared import values
from shared.change import MessageField
from tests.chaos.engine import going, standing
from tests.chaos.faults import ENDING, Fault, strike
from tests.chaos.oracle import Facts, violations
from tests.chaos.script import NONCE_CHARACTERS, spoken
from tests.chaos.story import BEFORE_ASKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.chaos.house import House
    from tests.chaos.phone import Sent, View
    from tests.chaos.story import Story, Strike

LOOK_EVERY_S = 0.005
# A network in which nothing gets through is healed after so long: what is waited for can't come.
PATIENCE_S = 1.5
# Far more than anything takes in a good network, however busy the machine is.
ENDS_WITHIN_S = 90.0
SEEN_WITHIN_S = 60.0


class Violation(Exception):
    """A rule was broken, or the run never ended."""


class Outcome(NamedTuple):
    """How a run went: its answer's final state, the routes by which its text came, what had been struck; its story."""

    state: str
    routes: tuple[str, ...]
    struck: tuple[Fault, ...]
    seconds: float
    told: str


async def play(house: House, story: Story) -> Outcome:
    """Run one story. Raises Violation."""
    return await _Run(house, story).play()


class _Run:
    def __init__(self, house: House, story: Story) -> None:
        self._house = house
        self._story = story
        self._started = time.monotonic()
        self._told: list[str] = []
        self._sent: Sent | None = None
        # Since the question was asked.
        self._struck: list[Fault] = []
        self._silent_kills = 0
        self._is_over = False
        self._ended_s = 0.0

    async def play(self) -> Outcome:
        house, story = self._house, self._story
        house.phone.troubles.clear()
        try:
            await house.settle(story.first)
            await self._strike_all(one for one in story.strikes if one.at == BEFORE_ASKING)
            sent = self._sent = await house.phone.ask(story.script.text)
            self._tell("asked")
            later = [one for one in story.strikes if one.at != BEFORE_ASKING]
            for at, strikes in groupby(later, key=lambda one: one.at):
                await self._until_standing(at)
                await self._strike_all(strikes)
                # Who is to be stopped, stands until it hears of that.
                if Fault.STOP not in self._struck:
                    going(house.marks, story.script.name, at).touch()
            house.heal()
            self._tell("healed")
            view, stored = await self._until_ended(sent)
        except (TimeoutError, AssertionError) as error:
            raise Violation(f"{story}\n{self._timeline()}\n{error!r}") from error
        facts = Facts(
            *(view, stored, house.generations(story.script.name), self._struck, self._silent_kills),
            *(house.phone.troubles, house.is_real),
        )
        if found := violations(story, facts):
            raise Violation("\n".join([str(story), self._timeline(), f"{facts.generations}", *found]))
        struck = tuple(one.fault for one in story.strikes)
        return Outcome(
            view.state or "", tuple(house.phone.routes), struck, time.monotonic() - self._started, self._timeline()
        )

    async def _strike_all(self, strikes: Iterable[Strike]) -> None:
        for one in strikes:
            if one.is_seen and one.at > 0 and not self._is_over:
                await self._until_seen(one.at)
            if self._sent is not None:
                self._struck.append(one.fault)
            self._silent_kills += one.fault is Fault.ENGINE_KILLED and one.at == 0
            self._is_over |= self._sent is not None and one.fault in ENDING
            await strike(one.fault, self._house, one.amount, self._sent)
            self._tell(str(one))

    async def _until_standing(self, at: int) -> None:
        """Wait until the engine stands there, or will never come there."""
        mark = standing(self._house.marks, self._story.script.name, at)
        if self._is_over:
            return
        if not await _until(mark.exists, PATIENCE_S):
            self._house.heal()
            self._tell("healed, as nothing gets through")
            if not await _until(mark.exists, ENDS_WITHIN_S):
                raise TimeoutError(f"the engine never came to word {at}: {await self._look()}")

    async def _until_seen(self, words: int) -> None:
        script, phone = self._story.script, self._house.phone
        # Of a real model's answer nobody knows how long it is.
        characters = 1 if self._house.is_real else _utf16(spoken(script, "0" * NONCE_CHARACTERS, words))

        def has_seen() -> bool:
            return any(seen.characters >= characters for seen in phone.seen.values())

        if await phone.until_news(has_seen, PATIENCE_S):
            return
        self._house.heal()
        self._tell("healed, as the phone sees nothing")
        if not await phone.until_news(has_seen, SEEN_WITHIN_S):
            raise TimeoutError(f"the phone does not follow its answer: {await self._look()}")

    async def _until_ended(self, sent: Sent) -> tuple[View, dict[int, bytes]]:
        answer = bytes.fromhex(sent.answer)
        deadline = time.monotonic() + ENDS_WITHIN_S
        while True:
            view = await self._house.phone.look(sent)
            if view.is_final and not self._ended_s:
                self._ended_s = time.monotonic() - self._started
                self._tell("the phone has its end")
            if view.is_final and not view.unacknowledged:
                stored = await asyncio.to_thread(self._house.stored, answer)
                state = values.decode(stored.get(MessageField.STATE, b""), values.State)
                if state is not None and state.state in values.FINAL_STATES:
                    return view, stored
            if time.monotonic() > deadline:
                raise TimeoutError(f"it never ended: {await self._look()}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> object:
        return None if self._sent is None else await self._house.phone.look(self._sent)

    def _tell(self, what: str) -> None:
        seen = max((one.event for one in self._house.phone.seen.values()), default=0)
        self._told.append(f"{time.monotonic() - self._started:7.3f} s, event {seen:3}: {what}")

    def _timeline(self) -> str:
        self._tell("now")
        return "\n".join(["", *self._told, f"routes: {self._house.phone.routes}"])


async def _until(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True


def _utf16(text: str) -> int:
    """Return how long the app finds it."""
    return len(text.encode("utf-16-le")) // 2
