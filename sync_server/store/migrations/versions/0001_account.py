"""Make the table account."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import VARBINARY

revision = "0001"
down_revision = None


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "account",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column(
            "username_folded", sa.LargeBinary(768).with_variant(VARBINARY(768), "mysql", "mariadb"), nullable=False
        ),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("is_owner", sa.Boolean, nullable=False),
        sa.Column("head", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("bytes_used", sa.BigInteger, nullable=False),
        sa.Column("quota_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
        sa.UniqueConstraint("username_folded", name="account_username"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
