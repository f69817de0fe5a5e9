from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from inference_node.endpoints.api_keys import USE_EVERY_S, ApiKey, ApiKeys
from shared.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    return ApiKeys(tmp_path / "node" / "api-keys")


def found(keys: ApiKeys, secret: str) -> ApiKey:
    key = keys.find(secret)
    assert key is not None
    return key


def test_a_key_opens_until_it_is_revoked(keys: ApiKeys) -> None:
    assert keys.list() == []
    secret, other = keys.create("editor"), keys.create("terminal")
    key = found(keys, secret)
    assert (key.name, key.account) == ("editor", None)
    assert {key.name for key in keys.list()} == {"editor", "terminal"}
    for wrong in ("wrong \udcff", secret[:-1], secret + "x", key.sha256, key.id):
        assert keys.find(wrong) is None
    keys.note_use(key)
    keys.revoke(key)
    keys.revoke(key)
    assert keys.find(secret) is None
    assert keys.last_used_ms(key) is None
    assert keys.list() == [found(keys, other)]


def test_a_renamed_key_stays_the_same_key(keys: ApiKeys) -> None:
    secret = keys.create("editor", "ab" * 16)
    before = found(keys, secret)
    assert keys.rename(before, "other").name == "other"
    after = found(keys, secret)
    assert (after.name, after.id, after.account) == ("other", before.id, before.account)
    assert len(keys.list()) == 1


def test_the_secret_is_not_kept(keys: ApiKeys, tmp_path: Path) -> None:
    secret = keys.create("editor")
    (path,) = (tmp_path / "node" / "api-keys").iterdir()
    key = found(keys, secret)
    assert secret[len(key.prefix) :].encode() not in path.read_bytes()
    assert secret.startswith(key.prefix)
    assert len(secret) - len(key.prefix) > 32
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0


def test_the_last_use_is_known_to_the_minute(keys: ApiKeys, tmp_path: Path) -> None:
    key = found(keys, keys.create("editor"))
    assert keys.last_used_ms(key) is None
    keys.note_use(key)
    first = keys.last_used_ms(key)
    assert first is not None
    keys.note_use(key)
    assert keys.last_used_ms(key) == first
    path = tmp_path / "node" / "api-keys" / f"{key.id}.used"
    long_ago = first / 1000 - USE_EVERY_S - 1
    os.utime(path, (long_ago, long_ago))
    keys.note_use(key)
    assert (keys.last_used_ms(key) or 0) >= first


def test_a_file_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "api-keys"
    path.write_text("[]")
    keys = ApiKeys(path)
    assert (keys.list(), keys.find("domovoi-x")) == ([], None)
    with pytest.raises(StartupError, match="Move it away"):
        keys.create("editor")


def test_a_damaged_file_opens_nothing_and_harms_no_other(keys: ApiKeys, tmp_path: Path) -> None:
    secret, other = keys.create("editor"), keys.create("terminal")
    path = tmp_path / "node" / "api-keys" / f"{found(keys, secret).id}.json"
    path.write_text("nonsense")
    assert keys.find(secret) is None
    assert keys.list() == [found(keys, other)]
