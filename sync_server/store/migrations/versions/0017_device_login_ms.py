"""Add the column device.login_ms."""

from __future__ import annotations

import sqlalchemy as sa

from sync_server.store.migrations.columns import add_column_once

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    add_column_once("device", sa.Column("login_ms", sa.BigInteger, nullable=False, server_default="0"))
