"""Tables of bad input: each vector has an id, why it is there, what goes in, and the verdict (`404 not_found`).

What JSON can't hold or nobody wants to read stands in words: `{"now": 60}` is a time in seconds since 1970, a minute
from now; `{"repeat": ["x", 5000]}` is five thousand x.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct


class Vector(Struct, frozen=True, forbid_unknown_fields=True):
    """One input. An empty verdict: any answer of the closed set will do, accepted or not."""

    id: str
    comment: str
    input: Any
    verdict: str = ""


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    comment: str
    vectors: list[Vector]


def table(name: str) -> list[Vector]:
    """Return the vectors of a table. Raises ValueError when two have the same id."""
    vectors = msgspec.json.decode((Path(__file__).parent / f"{name}.json").read_bytes(), type=_Table).vectors
    if len({vector.id for vector in vectors}) != len(vectors):
        raise ValueError(f"two vectors of {name} have the same id")
    return vectors


def spelt_out(value: Any, now_s: int | None = None) -> Any:
    """Return the value with what stands in words spelt out, as of `now_s` or else of now."""
    match value:
        case {"now": int(seconds)} if len(value) == 1:
            return (int(time.time()) if now_s is None else now_s) + seconds
        case {"repeat": [str(text), int(count)]} if len(value) == 1:
            return text * count
        case {"join": list(parts)} if len(value) == 1:
            return "".join(str(spelt_out(part, now_s)) for part in parts)
        case dict():
            return {name: spelt_out(member, now_s) for name, member in value.items()}
        case list():
            return [spelt_out(member, now_s) for member in value]
    return value
