"""Make the table revocation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "revocation",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("device_id", sa.BINARY(8), nullable=True),
        sa.Column("before_s", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "number"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
