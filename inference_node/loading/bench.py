"""Comparing the engines of this machine through the one protocol they share, in turns, so that a disturbance hits all.

Each figure is a median over rounds. The peer of every engine is the last of them, which is the plain fallback.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from inference_node.engines.engine import ChatMessage, EngineOptions, Prompt
from inference_node.loading.measuring import Timing, prompt_of, time_one, time_together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference_node.engines.engine import Engine, LoadedModel
    from inference_node.models.models import ModelFile

PREFILL_TOKENS = 512
DECODE_TOKENS = 128
CHAT_TOKENS = 64
CHATS = (1, 2, 4)
# On a busy machine an answer can take minutes: it is stopped after so long, and no round begins after so much longer.
MOST_ANSWER_S = 8.0
MOST_S = 120.0
OPTIONS = EngineOptions(context=4096, slots=max(CHATS))


class Record(Struct, frozen=True):
    """One figure, in the form of all of Domovoi's benchmarks. `ratio` is the value to the peer's value."""

    name: str
    workload: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    runs: int
    machine: str


class Contestant(NamedTuple):
    """A loaded engine; `label` is its name and version."""

    label: str
    engine: Engine
    loaded: LoadedModel


class _Task(NamedTuple):
    name: str
    workload: str
    unit: str


async def compare(
    contestants: Sequence[Contestant],
    model: ModelFile,
    machine: str,
    rounds: int,
    told: Callable[[str], None],
    within_s: float = MOST_S,
) -> list[Record]:
    """Measure everything, in turns; `told` hears what is done next. No round but the first begins after `within_s`."""
    deadline = time.monotonic() + within_s
    words = await _words_for(contestants[0].engine, PREFILL_TOKENS)
    values: dict[tuple[_Task, str], list[float]] = {}
    for contestant in contestants:
        told(f"warming up: {contestant.label}")
        await time_one(contestant.engine, prompt_of(64, seed="warming up", tokens=8))
    for number in range(1, rounds + 1):
        if number > 1 and time.monotonic() > deadline:
            break
        for contestant in contestants:
            told(f"round {number} of {rounds}: {contestant.label}")
            for task, value in await _round(contestant, model, words, f"round {number}"):
                values.setdefault((task, contestant.label), []).append(value)
    return [_record(task, label, values, contestants, machine) for task, label in values]


async def _round(contestant: Contestant, model: ModelFile, words: int, seed: str) -> list[tuple[_Task, float]]:
    engine, where = contestant.engine, f"{model.name} {model.header.quantisation}, {contestant.loaded.threads} threads"
    prefill = await time_one(engine, prompt_of(words, seed=f"{seed} prefill", tokens=1))
    decode = await time_one(engine, prompt_of(8, seed=f"{seed} decode", tokens=DECODE_TOKENS), MOST_ANSWER_S)
    cold, follow_up = await _conversation(engine, words, seed)
    results = [
        (_Task("prefill_tokens_per_second", f"{where}, {prefill.prompt_tokens} tokens", "tok/s"), prefill.prefill),
        (_Task("decode_tokens_per_second", f"{where}, {DECODE_TOKENS} tokens", "tok/s"), decode.decode),
        (_Task("first_token_cold", f"{where}, {cold.prompt_tokens} tokens", "ms"), 1000 * cold.first_s),
        (_Task("first_token_follow_up", f"{where}, {follow_up.prompt_tokens} tokens", "ms"), 1000 * follow_up.first_s),
    ]
    for chats in CHATS:
        if chats <= contestant.loaded.slots:
            task = _Task("tokens_per_second_together", f"{where}, {chats} times {CHAT_TOKENS} tokens", "tok/s")
            prompts = [prompt_of(8, seed=f"{seed} {chats} {n}", tokens=CHAT_TOKENS) for n in range(chats)]
            results.append((task, await time_together(engine, prompts, MOST_ANSWER_S)))
    return results


async def _conversation(engine: Engine, words: int, seed: str) -> tuple[Timing, Timing]:
    """Ask, and ask again in the same conversation: what was read before need not be read again."""
    first = prompt_of(words, seed=f"{seed} cold", tokens=16)
    cold = await time_one(engine, first)
    answered = [*first.messages, ChatMessage("assistant", "Once upon a time there was a house.")]
    second = Prompt([*answered, ChatMessage("user", "And then?")], first.sampling, owner=first.owner)
    return cold, await time_one(engine, second)


async def _words_for(engine: Engine, tokens: int) -> int:
    """Return how many words make a prompt of about that many tokens, as this model splits them."""
    few, many = [
        (await time_one(engine, prompt_of(words, seed=f"counting {words}", tokens=1))).prompt_tokens
        for words in (16, 80)
    ]
    return max(1, 16 + round((tokens - few) * (80 - 16) / max(1, many - few)))


def _record(
    task: _Task,
    label: str,
    values: dict[tuple[_Task, str], list[float]],
    contestants: Sequence[Contestant],
    machine: str,
) -> Record:
    runs = values[task, label]
    value = statistics.median(runs)
    peer = contestants[-1].label
    peers = [] if peer == label else _of_peer(task, peer, values)
    peer_value = statistics.median(peers) if peers else None
    return Record(
        name=task.name,
        workload=f"{label}: {task.workload}",
        value=round(value, 3),
        unit=task.unit,
        peer=peer if peer_value else None,
        peer_value=round(peer_value, 3) if peer_value else None,
        ratio=round(value / peer_value, 3) if peer_value else None,
        runs=len(runs),
        machine=machine,
    )


def _of_peer(task: _Task, peer: str, values: dict[tuple[_Task, str], list[float]]) -> list[float]:
    """The peer's workload may differ in threads and in how it counts tokens; what follows the last comma may not."""
    key = (task.name, task.workload.rpartition(", ")[2])
    found = [
        runs
        for (other, label), runs in values.items()
        if label == peer and (other.name, other.workload.rpartition(", ")[2]) == key
    ]
    return found[0] if found else []
