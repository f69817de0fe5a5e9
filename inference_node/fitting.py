"""What a model takes in memory, and how it is loaded so that it fits."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from msgspec import structs

from inference_node.engine import DEFAULT_OPTIONS
from inference_node.hardware import limits, memory
from inference_node.hardware.roots import THIS_MACHINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference_node.engine import CacheType, EngineOptions
    from inference_node.models import ModelFile

# Below this a conversation loses its beginning after a few questions.
LEAST_CONTEXT = 1024
# What a process takes beside weights and cache: the interpreter, the engine's code, room to compute.
SCRATCH_BYTES = 256 * 1024**2
# The rest of the machine gets this share of what is free.
SPARED = 0.1

_BYTES_PER_NUMBER: dict[CacheType, float] = {"f16": 2.0, "q8_0": 34 / 32}


def memory_free() -> int:
    """Return how many bytes this process and its children can have now."""
    free = memory.read(THIS_MACHINE).available
    limit = limits.read(THIS_MACHINE).memory_free
    return free if limit is None else min(free, limit)


def needed(model: ModelFile, options: EngineOptions) -> int:
    """Return what the model takes, in bytes: weights, keys and values of every slot's context, and what is beside."""
    context = min(options.context, model.header.context or options.context)
    cache = context * options.slots * model.header.kv_width * _BYTES_PER_NUMBER[options.cache]
    return int(model.size + cache) + SCRATCH_BYTES


def with_spare(taken: int) -> int:
    """Return how many bytes must be free for so many to be taken."""
    return int(taken / (1 - SPARED))


def smaller(options: EngineOptions) -> Iterator[EngineOptions]:
    """Yield ever smaller ways to load: fewer answers at once, then half the context, and so on, then a packed cache."""
    while options.slots > 1:
        options = structs.replace(options, slots=options.slots // 2)
        yield options
    while options.context // 2 >= LEAST_CONTEXT:
        options = structs.replace(options, context=options.context // 2)
        yield options
    if options.cache != "q8_0":
        yield structs.replace(options, cache="q8_0")


def fit(model: ModelFile, free: int, best: EngineOptions = DEFAULT_OPTIONS) -> EngineOptions:
    """Return the best way to load the model into `free` bytes; the least one if none fits, as the file is mapped."""
    ways = itertools.chain([best], smaller(best))
    options = best
    for options in ways:
        if with_spare(needed(model, options)) <= free:
            break
    return options
