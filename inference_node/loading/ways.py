"""The ways to load a model: the best one that fits into what is free, and ever smaller ones below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from inference_node.hardware import limits, memory
from inference_node.hardware.roots import THIS_MACHINE
from inference_node.loading.fitting import LEAST_CONTEXT, SPARED_SHARE, fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference_node.engines.engine import EngineOptions
    from inference_node.gguf.header import GgufHeader


# Answers beyond the first at once may take so much of what is free: the machine is somebody's desktop.
SLOTS_SHARE = 0.25


def memory_free() -> int:
    """Return how many bytes this process and its children can have now."""
    free = memory.read(THIS_MACHINE).available
    limit = limits.read(THIS_MACHINE).memory_free
    return free if limit is None else min(free, limit)


def room_for_one(header: GgufHeader, options: EngineOptions) -> int:
    """Return how many bytes must be free for the model to be loaded with the context asked for and a single slot."""
    everything = fit(header, 2**62, options.context, 1, options.cache)
    return int(everything.needed / (1 - SPARED_SHARE))


def smaller(options: EngineOptions) -> Iterator[EngineOptions]:
    """Yield ever smaller ways: fewer answers at once, then half the context, and half of that, then a packed cache."""
    while options.slots > 1:
        options = structs.replace(options, slots=options.slots // 2)
        yield options
    while options.context // 2 >= LEAST_CONTEXT:
        options = structs.replace(options, context=options.context // 2)
        yield options
    if options.cache != "q8_0":
        yield structs.replace(options, cache="q8_0")


def fitting(header: GgufHeader, free: int, options: EngineOptions) -> EngineOptions:
    """Return the options, or as much of them as fits into `free` bytes.

    Where nothing fits the least is tried all the same: weights are mapped, and a slow answer is better than none.
    """
    for cache in dict.fromkeys((options.cache, "q8_0")):
        found = fit(header, free, options.context, options.slots, cache)
        if found.verdict != "too_large":
            # A model with less context of its own has all that it can use.
            context = options.context if found.verdict == "fits" else found.context
            one_slot = found.cache // found.slots
            slots = min(found.slots, int(free * SLOTS_SHARE / one_slot)) if one_slot else found.slots
            return structs.replace(options, context=context, slots=max(1, slots), cache=cache)
    return structs.replace(options, context=min(options.context, LEAST_CONTEXT), slots=1, cache="q8_0")
