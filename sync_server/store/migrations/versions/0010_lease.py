"""Make the table lease."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "lease",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("answer", sa.BINARY(16), nullable=False),
        sa.Column("node_id", sa.BINARY(16), nullable=False),
        sa.Column("token", sa.BINARY(16), nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "answer"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
