"""The schema's history: numbered, append-only, one DDL statement a migration. Run at start."""

from sync_server.store.migrations.upgrade import upgrade

__all__ = ["upgrade"]
