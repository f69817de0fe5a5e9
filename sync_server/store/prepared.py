"""Statements that are built and compiled once, for what every push and pull does.

SQLAlchemy and `databases` build, compile and wrap each statement anew: measured at 4 ms of processor time a push of
one change, where what is prepared takes 0.2.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.sql import ClauseElement
    from sqlalchemy.sql.compiler import SQLCompiler

    from sync_server.store.dialect import Dialect

# Shapes are powers of two (see `pieces`), so there are few.
MAX_COMPILED = 256


class Compiled(NamedTuple):
    """A statement in a database's own words: `names` are its parameters in order, `given` those it brings along."""

    text: str
    names: Sequence[str]
    given: dict[str, Any]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Return the parameters in the order in which the text names them."""
        return [values[name] if name in values else self.given[name] for name in self.names]


class Prepared:
    """A statement whose values are bound later.

    `build(dialect, *shape)` returns it with `bindparam`s; `shape` says how often its parts repeat. Their names must
    differ from those that SQLAlchemy gives where a column is compared with a value that is there (column_number).
    Values are passed as they are: only for columns of whole numbers and bytes, which the drivers give unchanged.
    """

    def __init__(self, build: Callable[..., ClauseElement]) -> None:
        self._build = build
        self._compiled = lru_cache(MAX_COMPILED)(self._compile)

    def compiled(self, dialect: Dialect, *shape: int) -> Compiled:
        """Return the statement for this dialect and shape."""
        return self._compiled(dialect, *shape)

    def _compile(self, dialect: Dialect, *shape: int) -> Compiled:
        statement = self._build(dialect, *shape)
        kind = {"render_postcompile": True}
        compiled = cast("SQLCompiler", statement.compile(dialect=dialect.grammar, compile_kwargs=kind))
        return Compiled(compiled.string, tuple(compiled.positiontup or ()), dict(compiled.params))


# The longest shape of many rows: longer ones take longer to compile than they save.
MOST_ROWS = 256


def pieces(length: int) -> list[slice]:
    """Return slices that cover `length` rows, each a power of two long: few shapes to compile, few statements."""
    slices, start = [], 0
    while start < length:
        size = min(MOST_ROWS, 1 << ((length - start).bit_length() - 1))
        slices.append(slice(start, start + size))
        start += size
    return slices


def padded(values: Sequence[Any]) -> list[Any]:
    """Return the values of an IN list, the last one repeated up to a power of two."""
    size = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (size - len(values))]
