from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference_node.api_keys import ApiKeys
from shared.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_opens_until_it_is_revoked(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "node" / "api-keys")
    assert keys.list() == []
    secret, other = keys.create("editor"), keys.create("terminal")
    found = keys.find(secret)
    assert found is not None
    assert found.name == "editor"
    assert keys.find("wrong \udcff") is None
    assert keys.revoke("editor")
    assert not keys.revoke("editor")
    assert keys.find(secret) is None
    assert keys.find(other) is not None


def test_the_secret_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "api-keys"
    secret = ApiKeys(path).create("editor")
    assert secret.removeprefix("domovoi-").encode() not in path.read_bytes()


def test_a_name_is_used_once(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "api-keys")
    keys.create("editor")
    with pytest.raises(ValueError, match="editor"):
        keys.create("editor")


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "api-keys"
    path.write_text("nonsense")
    with pytest.raises(StartupError, match="Move it away"):
        ApiKeys(path).list()
