"""Adding a column in a way that a crashed start may repeat: not every database has ADD COLUMN IF NOT EXISTS."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op


def add_column_once(table: str, column: sa.Column[Any]) -> None:
    """Add the column unless it is there."""
    if column.name not in {known["name"] for known in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)
