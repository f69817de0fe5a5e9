"""`domovoi keys`: making, listing and revoking keys for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_node.api_keys import ApiKeys
from tests.deploy.command_line import domovoi

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "node" / "api-keys")
    secret = domovoi("keys", "create", "editor", data=tmp_path).out.strip()
    key = keys.find(secret)
    assert key is not None

    listed = domovoi("keys", "list", data=tmp_path)
    assert all(word in listed.words for word in (key.id, "editor", key.prefix, "never"))
    assert secret not in listed.words

    taken = domovoi("keys", "create", "editor", data=tmp_path)
    assert taken.code
    assert "Revoke it first" in taken.words

    # The app may have made another of that name; then the id tells them apart.
    keys.create("editor", "ab" * 16)
    unclear = domovoi("keys", "revoke", "editor", data=tmp_path)
    assert unclear.code
    assert "2 keys named editor" in unclear.words
    assert domovoi("keys", "revoke", key.id, data=tmp_path).code == 0
    assert keys.find(secret) is None
    assert len(keys.list()) == 1

    unknown = domovoi("keys", "revoke", key.id, data=tmp_path)
    assert unknown.code
    assert "There is no key" in unknown.words
