"""Make the table blob."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "blob",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("sha256", sa.BINARY(32), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("touched_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "sha256"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
