"""Keys for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference_node.api_keys import ApiKeys
from shared.errors import DomovoiError

if TYPE_CHECKING:
    from pathlib import Path


def test_keys_are_kept_hashed_and_can_be_revoked(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path)
    assert keys.all() == []
    first, second = keys.create("editor"), keys.create("script")
    reader = ApiKeys(tmp_path)
    assert reader.is_valid(first)
    assert reader.is_valid(second)
    assert not reader.is_valid(first + "x")
    assert first not in (tmp_path / "node" / "api-keys").read_text()
    keys.revoke(keys.all()[0].key_id)
    assert not reader.is_valid(first)
    assert reader.is_valid(second)
    with pytest.raises(DomovoiError):
        keys.revoke("nothing")
    with pytest.raises(DomovoiError):
        keys.create(" ")
