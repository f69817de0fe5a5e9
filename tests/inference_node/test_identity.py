"""The node's key and its introduction."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inference_node.identity import enrol, ensure_identity
from shared.errors import StartupError
from shared.identifiers import node_id
from shared.tokens import from_base64url, thumbprint, verify_node_assertion

if TYPE_CHECKING:
    from pathlib import Path


def test_an_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    first = ensure_identity(tmp_path, "Study")
    again = ensure_identity(tmp_path, "Attic")
    assert first.node_id == again.node_id == node_id(first.public_key).hex()
    assert again.name == "Attic"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no mode bits")
def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    ensure_identity(tmp_path, "Study")
    assert (tmp_path / "node" / "identity.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "node").stat().st_mode & 0o777 == 0o700


def test_enrolment_introduces_the_key(tmp_path: Path) -> None:
    identity = ensure_identity(tmp_path, "Study")
    enrol(tmp_path, identity)
    enrol(tmp_path, identity)
    (path,) = (tmp_path / "enrolment").iterdir()
    introduction = json.loads(path.read_text())
    assert path.name == f"{identity.node_id}.json"
    assert introduction["name"] == "Study"
    assert node_id(from_base64url(introduction["public_key"])).hex() == introduction["node_id"] == identity.node_id


def test_K6_an_assertion_is_the_nodes_own_and_used_once(tmp_path: Path) -> None:
    identity = ensure_identity(tmp_path, "Study")
    key = Ed25519PublicKey.from_public_bytes(identity.public_key)
    keys = {thumbprint(identity.public_key): key}
    now = time.time()
    claims = [verify_node_assertion(identity.assertion(now), keys, now) for _ in range(2)]
    assert {claim.iss for claim in claims} == {identity.node_id}
    assert claims[0].jti != claims[1].jti


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"-----BEGIN " + b"PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_key_that_can_not_be_read_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "identity.pem").write_bytes(content)
    with pytest.raises(StartupError, match=r"identity\.pem"):
        ensure_identity(tmp_path, "Study")


def test_a_folder_that_can_not_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("a file in its place")
    with pytest.raises(StartupError, match="permission"):
        ensure_identity(tmp_path, "Study")
    (tmp_path / "enrolment").write_text("a file in its place")
    with pytest.raises(StartupError, match="permission"):
        enrol(tmp_path, ensure_identity(tmp_path / "elsewhere", "Study"))
