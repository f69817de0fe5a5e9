"""Make the table refresh_token."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "refresh_token",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("token_hash", sa.BINARY(32), nullable=False),
        sa.Column("device_id", sa.BINARY(8), nullable=False),
        sa.Column("family", sa.BINARY(16), nullable=False),
        sa.Column("login_ms", sa.BigInteger, nullable=False),
        sa.Column("issued_ms", sa.BigInteger, nullable=False),
        sa.Column("used_ms", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("account_id", "token_hash"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
