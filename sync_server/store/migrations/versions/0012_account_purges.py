"""Add the column account.purges."""

from __future__ import annotations

import sqlalchemy as sa

from sync_server.store.migrations.columns import add_column_once

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    add_column_once("account", sa.Column("purges", sa.BigInteger, nullable=False, server_default="0"))
