from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from sync_server.store import tables
from sync_server.store.dialect import dialect_for
from sync_server.store.migrations import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_migrations_make_the_tables(new_database: Callable[[], str | None], tmp_path: Path) -> None:
    dialect = dialect_for(new_database(), tmp_path)
    for _ in range(2):
        upgrade(dialect)
    with dialect.migration() as connection:
        # SQLite keeps an affinity, not a type.
        options = {"compare_type": connection.dialect.name != "sqlite"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []


def test_a_migration_that_was_cut_off_is_run_again(new_database: Callable[[], str | None], tmp_path: Path) -> None:
    """On MySQL a crash leaves the table without the number; on SQLite nothing at all."""
    dialect = dialect_for(new_database(), tmp_path)
    with dialect.migration() as connection:
        tables.account.create(connection)
    upgrade(dialect)
    with dialect.migration() as connection:
        assert set(tables.metadata.tables) <= set(inspect(connection).get_table_names())


def test_keys_of_account_data_begin_with_the_account() -> None:
    of_accounts = [table for table in tables.metadata.tables.values() if "account_id" in table.columns]
    assert {next(iter(table.primary_key)).name for table in of_accounts} == {"account_id"}
