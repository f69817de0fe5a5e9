"""Add the column device.address."""

from __future__ import annotations

import sqlalchemy as sa

from sync_server.store.migrations.columns import add_column_once

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    add_column_once("device", sa.Column("address", sa.String(64), nullable=True))
