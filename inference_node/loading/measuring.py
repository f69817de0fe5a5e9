"""Measuring an engine through its protocol: how fast it reads, how fast it writes, how soon it begins."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import Struct

from inference_node.engines.engine import DEFAULT_OPTIONS, ChatMessage, Finished, LoadedModel, Piece, Prompt
from shared.errors import Code, DomovoiError
from shared.values import Sampling

if TYPE_CHECKING:
    from pathlib import Path

    from inference_node.engines.engine import Engine, EngineOptions

_WORDS = (
    "the",
    "house",
    "stood",
    "by",
    "the",
    "river",
    "and",
    "in",
    "it",
    "lived",
    "a",
    "spirit",
    "who",
    "kept",
    "fire",
)


class Timing(Struct, frozen=True):
    """One generation: seconds from asking to the first text and to the end, and its tokens."""

    first_s: float
    total_s: float
    prompt_tokens: int
    cached_tokens: int
    tokens: int

    @property
    def prefill(self) -> float:
        """Tokens of the prompt read a second; the first token of the answer is made in this time too."""
        return (self.prompt_tokens - self.cached_tokens) / self.first_s

    @property
    def decode(self) -> float:
        """Tokens made a second after the first; 0 for an answer of one."""
        spent = self.total_s - self.first_s
        return (self.tokens - 1) / spent if spent > 0 else 0.0


async def load(engine: Engine, model: Path, options: EngineOptions = DEFAULT_OPTIONS) -> LoadedModel:
    """Load a model and return what was loaded. Raises what the engine raises."""
    async with aclosing(engine.load(model, options)) as events:
        async for event in events:
            if isinstance(event, LoadedModel):
                return event
    raise DomovoiError(Code.ENGINE_FAILED)


async def time_one(engine: Engine, prompt: Prompt, most_s: float | None = None) -> Timing:
    """Generate an answer and time it; with `most_s`, stop it that long after its first text."""
    started = time.perf_counter()
    first_s = 0.0
    async with aclosing(engine.generate(prompt)) as events:
        async for event in events:
            now_s = time.perf_counter() - started
            if isinstance(event, Piece):
                first_s = first_s or now_s
                if most_s is not None and now_s - first_s > most_s:
                    events.stop()
            elif isinstance(event, Finished):
                total_s = time.perf_counter() - started
                return Timing(
                    first_s or total_s, total_s, event.prompt_tokens, event.cached_tokens, event.completion_tokens
                )
    raise DomovoiError(Code.ENGINE_FAILED)


async def time_together(engine: Engine, prompts: list[Prompt], most_s: float | None = None) -> float:
    """Generate several answers at once, as `time_one`; return tokens a second, all together, reading included."""
    started = time.perf_counter()
    timings = await asyncio.gather(*(time_one(engine, prompt, most_s) for prompt in prompts))
    return sum(timing.tokens for timing in timings) / (time.perf_counter() - started)


def prompt_of(words: int, *, seed: str, tokens: int, history: list[ChatMessage] | None = None) -> Prompt:
    """Return a prompt of about that many words; another `seed` shares no beginning with it, so nothing is cached."""
    text = f"{seed}: " + " ".join(_WORDS[n % len(_WORDS)] for n in range(words))
    question = ChatMessage("user", f"{text}. Tell a long story about it.")
    # Greedy and seeded, so that every engine does the same work.
    sampling = Sampling(temperature=0.0, max_tokens=tokens, seed=1)
    return Prompt(messages=[*(history or []), question], sampling=sampling, owner="measuring")
