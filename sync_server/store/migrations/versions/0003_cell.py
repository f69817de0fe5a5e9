"""Make the table cell."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMBLOB

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "cell",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("etype", sa.Integer, nullable=False),
        sa.Column("eid", sa.BINARY(16), nullable=False),
        sa.Column("field", sa.Integer, nullable=False),
        sa.Column("scope", sa.BINARY(16), nullable=False),
        sa.Column("clk", sa.BINARY(16), nullable=False),
        sa.Column("dseq", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("kid", sa.BigInteger, nullable=False),
        sa.Column("value", sa.LargeBinary().with_variant(MEDIUMBLOB(), "mysql", "mariadb"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "etype", "eid", "field"),
        sa.UniqueConstraint("account_id", "seq", name="cell_seq"),
        sa.UniqueConstraint("account_id", "scope", "etype", "eid", "field", name="cell_scope"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
