"""Brings the schema up to date, one process at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from shared.errors import StartupError

if TYPE_CHECKING:
    from sync_server.store.dialect import Dialect


def upgrade(dialect: Dialect) -> None:
    """Run the migrations that the database lacks. Blocks. Raises StartupError when it can't be reached."""
    configuration = Config()
    configuration.set_main_option("script_location", "sync_server.store:migrations")
    try:
        with dialect.migration() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
    except DBAPIError as error:
        raise StartupError(f"The database can't be used: {error.orig}. {dialect.advice}") from error
