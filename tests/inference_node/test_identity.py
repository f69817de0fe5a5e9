from __future__ import annotations

import json
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inference_node.server.identity import enrol, ensure_identity
from shared.errors import StartupError
from shared.identifiers import node_id
from shared.jws import from_base64url, raw_public_key, thumbprint
from shared.tokens import verify_node_assertion

if TYPE_CHECKING:
    from pathlib import Path


def test_an_identity_is_made_once(tmp_path: Path) -> None:
    first = ensure_identity(tmp_path, "PC")
    again = ensure_identity(tmp_path, "Renamed")
    assert (again.node_id, again.name) == (first.node_id, "Renamed")
    assert first.node_id == node_id(raw_public_key(first.private_key.public_key())).hex()
    assert ensure_identity(tmp_path / "other", "PC").node_id != first.node_id


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no such modes")
def test_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    ensure_identity(tmp_path, "PC")
    folder = tmp_path / "node"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "identity.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_key_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    ensure_identity(tmp_path, "PC")
    (tmp_path / "node" / "identity.pem").write_bytes(content)
    with pytest.raises(StartupError, match="move it away"):
        ensure_identity(tmp_path, "PC")


def test_a_folder_that_can_not_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("a file is in the way")
    with pytest.raises(StartupError, match="permission"):
        ensure_identity(tmp_path, "PC")


def test_enrolling_introduces_the_public_key(tmp_path: Path) -> None:
    identity = ensure_identity(tmp_path, "Студия")
    enrol(tmp_path, identity)
    enrol(tmp_path, identity)
    (file,) = (tmp_path / "enrolment").iterdir()
    introduction = json.loads(file.read_text("utf-8"))
    assert file.name == f"{identity.node_id}.json"
    assert introduction["name"] == "Студия"
    assert node_id(from_base64url(introduction["public_key"])).hex() == introduction["node_id"] == identity.node_id


def test_K6_the_assertion_is_what_the_server_verifies(tmp_path: Path) -> None:
    identity = ensure_identity(tmp_path, "PC")
    raw = raw_public_key(identity.private_key.public_key())
    keys = {thumbprint(raw): Ed25519PublicKey.from_public_bytes(raw)}
    claims = verify_node_assertion(identity.assertion(1000.7, "once"), keys, 1000.0)
    assert (claims.iss, claims.jti, claims.exp - claims.iat) == (identity.node_id, "once", 60)
