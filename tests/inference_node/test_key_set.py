"""The server's keys as a node keeps them (K5)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inference_node import key_set
from inference_node.clock import Clock
from inference_node.key_set import KeySetCache
from inference_node.server import ServerUnreachable
from shared.errors import Code, DomovoiError
from shared.tokens import Claims, base64url, node_audience, raw_public_key, sign, thumbprint
from shared.wire import KeySet, PublicKey

if TYPE_CHECKING:
    from pathlib import Path

NODE_ID = "ab" * 16


def published(*keys: Ed25519PrivateKey) -> KeySet:
    raws = [raw_public_key(key.public_key()) for key in keys]
    return KeySet("home", [PublicKey(base64url(raw), thumbprint(raw)) for raw in raws])


def token(key: Ed25519PrivateKey) -> str:
    now = int(time.time())
    return sign(Claims("home", node_audience(NODE_ID), "a", "d", "j", now, now, now + 60), key)


class Server:
    """Publishes `keys`, or is away."""

    def __init__(self, keys: KeySet | None) -> None:
        self.keys = keys
        self.asked = 0

    async def fetch(self) -> KeySet:
        self.asked += 1
        if self.keys is None:
            raise ServerUnreachable("away")
        return self.keys


def cache(folder: Path, server: Server) -> KeySetCache:
    made = KeySetCache(folder / "keyset.json", NODE_ID, Clock(), server.fetch)
    made.load()
    return made


async def test_K5_tokens_are_verified_without_the_server(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    await cache(tmp_path, Server(published(key))).refresh()
    away = Server(None)
    claims = await cache(tmp_path, away).verify(token(key))
    assert claims.sub == "a"
    assert away.asked == 0


async def test_K5_a_failed_fetch_clears_nothing(tmp_path: Path) -> None:
    key, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    server = Server(published(key))
    keys = cache(tmp_path, server)
    await keys.refresh()
    server.keys = None
    with pytest.raises(ServerUnreachable):
        await keys.refresh()
    with pytest.raises(DomovoiError) as refusal:
        await keys.verify(token(stranger))
    assert refusal.value.code is Code.TOKEN_INVALID
    assert (await keys.verify(token(key))).sub == "a"


async def test_an_unknown_key_is_asked_for_but_not_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    server = Server(published(old))
    keys = cache(tmp_path, server)
    await keys.refresh()
    server.keys = published(old, new)
    for _ in range(3):
        with pytest.raises(DomovoiError):
            await keys.verify(token(new))
    assert server.asked == 1
    monkeypatch.setattr(key_set, "ASK_AGAIN_S", 0.0)
    assert (await keys.verify(token(new))).sub == "a"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"issuer":"x","keys":[]}', b"\xff"])
async def test_a_damaged_file_is_fetched_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keyset.json").write_bytes(content)
    key = Ed25519PrivateKey.generate()
    assert (await cache(tmp_path, Server(published(key))).verify(token(key))).sub == "a"


async def test_a_key_set_that_lies_is_not_kept(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    good = published(key).keys[0]
    keys = cache(tmp_path, Server(published(key)))
    await keys.refresh()
    for wrong in (
        PublicKey(good.x, "another"),
        PublicKey("AAAA", good.kid),
        PublicKey(good.x, good.kid, crv="X25519"),
        PublicKey("?", good.kid),
    ):
        liar = cache(tmp_path, Server(KeySet("home", [wrong])))
        with pytest.raises(ValueError, match=r"."):
            await liar.refresh()
        assert (await cache(tmp_path, Server(None)).verify(token(key))).sub == "a"
    assert msgspec.json.decode((tmp_path / "keyset.json").read_bytes(), type=KeySet) == published(key)
