"""What must hold when a run is over, whatever has happened in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shared import values
from shared.change import MessageField
from shared.errors import Code
from tests.chaos.faults import Fault
from tests.chaos.script import NONCE_CHARACTERS, words_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.house import Generation
    from tests.chaos.phone import View
    from tests.chaos.story import Story

CODES = {str(code) for code in Code}


class Facts(NamedTuple):
    """What was found out about a run. `struck` are the faults since it was asked; `stored` are the server's cells.

    `silent_kills` is how many engines were killed before they had said a word of this answer. What a real one says,
    nobody but server and phone can tell.
    """

    view: View
    stored: dict[int, bytes]
    generations: Sequence[Generation]
    struck: Sequence[Fault]
    silent_kills: int
    troubles: Sequence[str]
    is_real: bool


def violations(story: Story, facts: Facts) -> list[str]:
    """Return every rule that was broken, in words."""
    found = [*_ending(facts), *_text(story, facts), *_generations(facts), *_log(facts)]
    return found + [f"the phone's console says: {trouble}" for trouble in facts.troubles]


def _ending(facts: Facts) -> list[str]:
    """Q5: done, or stopped if somebody pressed that; if something was killed that it needs, it may say so instead."""
    state, code = facts.view.state, facts.view.code
    struck = set(facts.struck)
    is_killed = bool(struck & {Fault.NODE_KILLED, Fault.ENGINE_KILLED})
    allowed: dict[str | None, set[str | None]] = {}
    if Fault.STOP in struck:
        allowed["stopped"] = {None}
    # While it stands still, a real engine thinks on, and may have come to its end.
    if Fault.STOP not in struck or is_killed or facts.is_real:
        allowed["done"] = {None}
    if Fault.NODE_KILLED in struck:
        allowed["interrupted"] = {Code.NODE_RESTARTED}
    if Fault.ENGINE_KILLED in struck:
        allowed.setdefault("interrupted", set()).add(Code.ENGINE_FAILED)
        allowed["failed"] = {Code.ENGINE_FAILED}
    if code is not None and code not in CODES:
        return [f"{code} is no code of the closed set"]
    return [] if code in allowed.get(state, set()) else [f"it ended {state} ({code})"]


def _text(story: Story, facts: Facts) -> list[str]:
    """S2, S3: the words of one generation from the first on, each once; all of them if it is done."""
    view = facts.view
    found = [] if facts.is_real else _words(story, facts)
    shown = view.live or ""
    # What a node had not written down when it was killed was on the screen, and is gone (Q7).
    may_be_less = view.state == "interrupted" and shown.startswith(view.body)
    if not view.body.startswith(shown) and not may_be_less:
        found.append(f"the screen shows {len(shown)} characters that are not the answer's first")
    if view.has_ended and view.live != view.body:
        found.append("its end has come, and the screen shows another text")
    return found


def _words(story: Story, facts: Facts) -> list[str]:
    view, words = facts.view, words_in(story.script, facts.view.body)
    if words is None:
        return [f"the answer is not what one engine said: {view.body[:200]!r}…"]
    found = []
    if view.state == "done" and words != story.script.words:
        found.append(f"done with {words} of {story.script.words} words")
    stops = [strike.at for strike in story.strikes if strike.fault is Fault.STOP]
    is_killed = bool({Fault.NODE_KILLED, Fault.ENGINE_KILLED} & set(facts.struck))
    if view.state == "stopped" and words != stops[0] and not is_killed:
        found.append(f"stopped with {words} words, and {stops[0]} were said")
    if view.body and view.body[:NONCE_CHARACTERS] not in {one.nonce for one in facts.generations}:
        found.append("nobody has said it")
    return found


def _generations(facts: Facts) -> list[str]:
    """Q2: one answer, one generation. An engine that dies before its first word may be followed by another."""
    most = 1 + facts.silent_kills
    least = 0 if facts.view.state in {"stopped", "interrupted", "failed"} else 1
    count = len(facts.generations)
    return [] if least <= count <= most else [f"{count} generations, where {least} to {most} may be"]


def _log(facts: Facts) -> list[str]:
    """What the server has is what the phone has, and nothing that was written here is still to be pushed."""
    found = []
    state = values.decode(facts.stored.get(MessageField.STATE, b""), values.State)
    body = values.decode(facts.stored.get(MessageField.BODY, b""), str)
    if state is None or state.state != facts.view.state:
        found.append(f"the server says {state.state if state else None}, the phone {facts.view.state}")
    if (body or "") != facts.view.body:
        found.append(f"the server has {len(body or '')} characters, the phone {len(facts.view.body)}")
    if MessageField.REQUEST not in facts.stored:
        found.append("the server has no request")
    if facts.view.unacknowledged:
        found.append(f"{facts.view.unacknowledged} changes were never acknowledged")
    return found
