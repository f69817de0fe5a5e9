"""What fits: weights, keys and values, and scratch against the memory that is free. Pure arithmetic, no looking.

Figures are estimates that lean to the safe side; an engine may give less, and says so when it has loaded. For
SmolLM2-135M in llama.cpp they say 276 MB (context 2048, one slot) and 984 MB (8192, four), where its process took 240
and 948.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference_node.gguf.header import GgufHeader
    from inference_node.hardware.limits import Limits
    from inference_node.hardware.processor import Processor
    from inference_node.hardware.survey import Hardware

# Engines round contexts to this, in tokens.
CONTEXT_STEP = 256
# With less context than this a chat forgets what it was about.
LEAST_CONTEXT = 2048
# What is asked for when nobody asks for more.
WANTED_CONTEXT = 8192
WANTED_SLOTS = 4
# Of what is free, this much stays free: the machine is somebody's desktop.
SPARED_SHARE = 0.1
# An engine's own code, its tokenizer and its buffers, whatever the model.
FIXED_BYTES = 96 * 1024 * 1024
# Tokens read at a time; each has activations (about 16 vectors of the embedding's width) and logits, four bytes each.
BATCH = 128
ACTIVATIONS = 16
BYTES_PER_NUMBER = {"f16": 2.0, "q8_0": 34 / 32}

Verdict = Literal["fits", "tight", "too_large"]


class Fit(Struct, frozen=True):
    """How a model goes into some memory. Bytes and tokens.

    `fits`: with the context asked for; `tight`: with less of it; `too_large`: not with a context of any use, and
    `context` and `slots` are 0.
    """

    verdict: Verdict
    context: int
    slots: int
    weights: int
    cache: int
    scratch: int

    @property
    def needed(self) -> int:
        """What it takes altogether."""
        return self.weights + self.cache + self.scratch


class Candidate(Struct, frozen=True):
    """An engine that might run the model. `order` is its rank where speeds are not known, 0 first.

    `problem` says why it can't be used here. `speed` is in tokens a second, measured with this model on this machine.
    """

    name: str
    order: int
    fit: Fit
    problem: str = ""
    speed: float | None = None


class Choice(Struct, frozen=True):
    """What to run, and why. It is certain when there was nothing to guess; `threads` is what should be fastest."""

    engine: str
    context: int
    slots: int
    threads: int
    why: str
    is_certain: bool


def fit(
    header: GgufHeader, free: int, context: int = WANTED_CONTEXT, slots: int = WANTED_SLOTS, cache: str = "f16"
) -> Fit:
    """Return how a model goes into `free` bytes: first the context that was asked for, then as many slots as go."""
    own = header.context or context
    wanted = _round_down(min(context, own)) or min(context, own)
    least = min(LEAST_CONTEXT, wanted)
    per_token = header.kv_width * BYTES_PER_NUMBER[cache]
    scratch = FIXED_BYTES + BATCH * (ACTIVATIONS * header.embedding + header.vocabulary) * 4
    room = int(free * (1 - SPARED_SHARE)) - header.file_bytes - scratch
    given = wanted if per_token == 0 or wanted * per_token <= room else _round_down(int(room / per_token))
    if room < 0 or given < least:
        return Fit("too_large", 0, 0, header.file_bytes, math.ceil(least * per_token), scratch)
    count = slots if per_token == 0 else max(1, min(slots, int(room / (given * per_token))))
    verdict: Verdict = "fits" if given == wanted else "tight"
    return Fit(verdict, given, count, header.file_bytes, math.ceil(count * given * per_token), scratch)


def threads(processor: Processor, limits: Limits) -> int:
    """Return how many threads compute fastest: one for each fast physical core that this process may have.

    The second thread of a core waits for the same memory, slow cores hold up the fast ones at every barrier, and
    threads beyond a control group's limit are stopped by it in the middle of their work.
    """
    fast = processor.cores - processor.efficient
    return max(1, fast if limits.cpus is None else min(fast, math.floor(limits.cpus)))


def choose(candidates: Sequence[Candidate], hardware: Hardware) -> Choice | None:
    """Return which engine to run; None when none can.

    When all that can run were measured, the fastest; else the first in order, as guesses and measurements don't mix.
    """
    able = [candidate for candidate in candidates if not candidate.problem and candidate.fit.verdict != "too_large"]
    if not able:
        return None
    is_measured = all(candidate.speed is not None for candidate in able)
    if is_measured:
        best = min(able, key=lambda candidate: (-(candidate.speed or 0), candidate.order, candidate.name))
        why = f"measured here: {best.speed:.0f} tokens a second" + (", the fastest" if len(able) > 1 else "")
    else:
        best = min(able, key=lambda candidate: (candidate.order, candidate.name))
        why = "the only one that can run it" if len(able) == 1 else "the first that can; not all were measured"
    is_certain = is_measured or len(able) == 1
    count = threads(hardware.processor, hardware.limits)
    return Choice(best.name, best.fit.context, best.fit.slots, count, why, is_certain)


def _round_down(context: int) -> int:
    return context // CONTEXT_STEP * CONTEXT_STEP
