"""Add the column device.acked_seq."""

from __future__ import annotations

import sqlalchemy as sa

from sync_server.store.migrations.columns import add_column_once

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    add_column_once("device", sa.Column("acked_seq", sa.BigInteger, nullable=False, server_default="0"))
