from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import bindparam, select

from sync_server.store.dialect import SQLite, dialect_for
from sync_server.store.prepared import MOST_ROWS, Prepared, padded, pieces
from sync_server.store.tables import server_setting

if TYPE_CHECKING:
    from pathlib import Path


@given(st.integers(0, 5000))
def test_pieces_cover_every_row_once_in_few_shapes(length: int) -> None:
    rows = list(range(length))
    parts = [rows[piece] for piece in pieces(length)]
    assert [row for part in parts for row in part] == rows
    assert all(len(part).bit_count() == 1 for part in parts)
    assert len(parts) == length // MOST_ROWS + (length % MOST_ROWS).bit_count()


@given(st.lists(st.integers(), min_size=1, max_size=600))
def test_a_padded_list_names_the_same_values(values: list[int]) -> None:
    longer = padded(values)
    assert longer[: len(values)] == values
    assert set(longer) == set(values)
    assert len(longer).bit_count() == 1


@pytest.mark.parametrize("url", [None, "mysql://user@host/base"])
def test_values_bound_later_and_values_that_are_there_stand_in_the_order_of_the_text(
    url: str | None, tmp_path: Path
) -> None:
    name = server_setting.c.name
    prepared = Prepared(
        lambda _, count: select(name).where(
            name != "written",
            name.in_([bindparam(f"wanted_{index}") for index in range(count)]),
            server_setting.c.value > "above",
        )
    )
    dialect = dialect_for(url, tmp_path)
    compiled = prepared.compiled(dialect, 2)
    assert prepared.compiled(dialect, 2) is compiled
    assert compiled.arguments({"wanted_0": "a", "wanted_1": "b"}) == ["written", "a", "b", "above"]
    assert compiled.text.count("?" if isinstance(dialect, SQLite) else "%s") == 4


def test_a_list_that_is_there_is_written_out(tmp_path: Path) -> None:
    prepared = Prepared(lambda _: select(server_setting.c.value).where(server_setting.c.name.in_(["listed", "too"])))
    compiled = prepared.compiled(dialect_for(None, tmp_path))
    assert compiled.arguments({}) == ["listed", "too"]
    assert compiled.text.count("?") == 2
