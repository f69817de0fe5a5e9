"""Make the table purge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "purge",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("scope", sa.BINARY(16), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=True),
        sa.Column("purged_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "scope"),
        sa.UniqueConstraint("account_id", "seq", name="purge_seq"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
