"""Make the table node_grant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """One DDL statement, which a crashed start may already have run."""
    op.create_table(
        "node_grant",
        sa.Column("account_id", sa.BINARY(16), nullable=False),
        sa.Column("node_id", sa.BINARY(16), nullable=False),
        sa.Column("device_id", sa.BINARY(8), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "node_id"),
        sa.UniqueConstraint("node_id", "account_id", name="node_grant_node"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
