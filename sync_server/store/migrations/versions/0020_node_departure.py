"""Add the column node.departure."""

from __future__ import annotations

import sqlalchemy as sa

from sync_server.store.migrations.columns import add_column_once

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    add_column_once("node", sa.Column("departure", sa.String(16), nullable=True))
