"""Add the column device.key_thumbprint."""

from __future__ import annotations

import sqlalchemy as sa

from sync_server.store.migrations.columns import add_column_once

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    add_column_once("device", sa.Column("key_thumbprint", sa.BINARY(32), nullable=True))
