"""`domovoi keys`: making, listing and revoking keys for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from deploy.command.keys import application
from inference_node.endpoints.api_keys import ApiKeys
from shared.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path


def keys_command(data: Path, *arguments: str) -> str:
    """Run the command and return what it says. Raises StartupError as it does."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(application, [*arguments, "--data", str(data)])
    if isinstance(done.exception, StartupError):
        raise done.exception
    assert done.exit_code == 0
    return done.output


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "node" / "api-keys")
    secret = keys_command(tmp_path, "create", "editor").strip()
    key = keys.find(secret)
    assert key is not None
    listed = keys_command(tmp_path, "list")
    assert all(word in listed for word in (key.id, "editor", key.prefix, "never"))
    assert secret not in listed
    keys_command(tmp_path, "revoke", "editor")
    assert keys.find(secret) is None
    with pytest.raises(StartupError, match="There is no key"):
        keys_command(tmp_path, "revoke", "editor")


def test_keys_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "node" / "api-keys")
    secret = keys_command(tmp_path, "create", "editor").strip()
    with pytest.raises(StartupError, match="Revoke it first"):
        keys_command(tmp_path, "create", "editor")
    # The app may make another of that name.
    other = keys.create("editor", "ab" * 16)
    with pytest.raises(StartupError, match="2 keys named editor"):
        keys_command(tmp_path, "revoke", "editor")
    key = keys.find(secret)
    assert key is not None
    keys_command(tmp_path, "revoke", key.id)
    assert keys.find(secret) is None
    assert keys.find(other) is not None
