"""Make the table pairing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "pairing",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("pairing_id", sa.BINARY(16), nullable=False),
        sa.Column("code_name", sa.String(3), nullable=False),
        sa.Column("code_hash", sa.BINARY(32), nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("name", sa.String(80), nullable=True),
        sa.Column("public_key", sa.BINARY(32), nullable=True),
        sa.Column("sealing_key", sa.BINARY(32), nullable=True),
        sa.Column("commitment", sa.BINARY(32), nullable=True),
        sa.Column("server_nonce", sa.BINARY(32), nullable=True),
        sa.Column("node_nonce", sa.BINARY(32), nullable=True),
        sa.Column("decision", sa.String(8), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "pairing_id"),
        sa.UniqueConstraint("code_name", name="pairing_code"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
