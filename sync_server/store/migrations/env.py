"""Alembic runs this file; `upgrade.py` gives it a connection that holds the lock."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
