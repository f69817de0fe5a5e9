"""Keys of the server: published, signed by the root, rotated while it runs (rules K7, K8), and what is revoked (K9)."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from shared import jws, tokens
from shared.errors import StartupError
from shared.key_sets import Revocations, VerifiedKeys, verify_key_set, verify_revocations
from shared.limits import KEY_SET_LIFETIME_S, RENEWABLE_S, TOKEN_LIFETIME_S
from shared.wire import NodeSession
from sync_server import clock
from sync_server.accounts import signing_keys
from sync_server.accounts.revocations import KEPT_S, forget_old, revocations, revoke_tokens
from tests.sync_server.device import code_of
from tests.sync_server.fake_node import Identity

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from sync_server.store.database import Database
    from tests.sync_server.running_server import RunningServer, StartServer

ACCOUNT, DEVICE = bytes(16), bytes(8)


@pytest.fixture
def own_server(start_server: StartServer) -> RunningServer:
    return start_server()


def published(client: httpx.Client) -> VerifiedKeys:
    body = client.get("/.well-known/jwks.json").json()
    keys = verify_key_set(body["signed"], jws.from_base64url(body["root"]["x"]))
    assert {key["kid"] for key in body["keys"]} == set(keys.keys)
    return keys


def kid(token: str) -> str:
    return tokens.key_id(token)


def test_K7_the_root_signs_what_is_published(own_server: RunningServer) -> None:
    client = own_server.client()
    keys = published(client)
    assert keys.expires_s - keys.issued_s == KEY_SET_LIFETIME_S
    assert len(keys.keys) == 2
    root = (own_server.settings.data / "enrolment" / "server-root").read_text()
    assert client.get("/.well-known/jwks.json").json()["root"]["x"] == root


def test_K8_a_running_server_changes_its_key_and_nobody_has_to_log_in(own_server: RunningServer) -> None:
    device = own_server.first_account()
    client = own_server.client()
    before, old = published(client), device.session.access_token
    signing_keys.rotate(own_server.settings.data / "keys")
    after = published(client)
    assert after.version > before.version
    assert kid(old) in after.keys
    assert device.request("GET", "/api/v1/devices").status_code == 200
    assert device.renew()
    new = device.session.access_token
    # Verifiers that have not asked since the rotation know the key that signs now.
    assert kid(new) != kid(old)
    assert kid(new) in before.keys
    assert set(before.keys) < set(after.keys)


def test_K8_a_key_that_leaked_is_trusted_no_more_from_one_request_to_the_next(own_server: RunningServer) -> None:
    device = own_server.first_account()
    before = published(own_server.client())
    signing_keys.rotate(own_server.settings.data / "keys", at_once=True)
    assert code_of(device.request("GET", "/api/v1/devices")) == (401, "token_invalid")
    after = published(own_server.client())
    assert not set(before.keys) & set(after.keys)
    assert before.is_older_than(after)
    assert device.renew()
    assert device.request("GET", "/api/v1/devices").status_code == 200


def test_K8_retired_keys_leave_the_set_when_their_tokens_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "keys"
    keys = signing_keys.load_or_create(folder)
    token = keys.issue(ACCOUNT, DEVICE, "sync").access_token
    signing_keys.rotate(folder)
    assert kid(token) in {key.kid for key in keys.key_set().keys}
    now_ms = clock.now_ms() + (TOKEN_LIFETIME_S + RENEWABLE_S + 86_401) * 1000
    monkeypatch.setattr(clock, "now_ms", lambda: now_ms)
    assert kid(token) not in {key.kid for key in keys.key_set().keys}
    assert len(keys.key_set().keys) == 2
    # Signed anew each day, so it is never near its end.
    assert verify_key_set(keys.key_set().signed, keys.root).issued_s == now_ms // 1000


def test_a_running_server_outlives_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keys = signing_keys.load_or_create(folder)
    shutil.rmtree(folder)
    token = keys.issue(ACCOUNT, DEVICE, "sync").access_token
    assert keys.verify(token).sub == ACCOUNT.hex()
    assert kid(token) in {key.kid for key in keys.key_set().keys}


@pytest.mark.parametrize("file", ["root.pem", "ring.json", "refresh.key"])
def test_a_damaged_key_says_what_to_do(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "keys"
    signing_keys.load_or_create(folder)
    (folder / file).write_bytes(b"{}")
    with pytest.raises(StartupError, match="backup"):
        signing_keys.load_or_create(folder)
    with pytest.raises(StartupError, match="backup"):
        signing_keys.rotate(folder)


def test_K9_a_node_hears_what_was_revoked(own_server: RunningServer) -> None:
    device = own_server.first_account()
    other = device.sibling()
    node = Identity()
    node.enrol(own_server.settings.data)
    before = told(own_server, node)
    assert before.revoked == []
    issued_s = tokens.verify_access(
        other.session.access_token, published(device.http).keys, before.iss, "sync", time.time()
    ).iat
    assert device.request("DELETE", f"/api/v1/devices/{other.session.device_id}").status_code == 204
    after = told(own_server, node)
    (entry,) = after.revoked
    assert (entry.sub, entry.did) == (device.session.account_id, other.session.device_id)
    assert entry.before > issued_s
    assert after.num > before.num


async def test_K9_a_revocation_is_forgotten_when_no_token_could_matter(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in (bytes(16), bytes(15) + b"1"):
        await database.transact(lambda connection, account=account: revoke_tokens(connection, account))  # type: ignore[misc]
    listed = await revocations(database, "us")
    assert len(listed.revoked) == 2
    then_ms = clock.now_ms() + KEPT_S * 1000 + 2000
    monkeypatch.setattr(clock, "now_ms", lambda: then_ms)
    await forget_old(database)
    assert await revocations(database, "us") == Revocations("us", listed.num, then_ms // 1000, [])
    monkeypatch.setattr(clock, "now_ms", lambda: 1000)
    await database.transact(lambda connection: revoke_tokens(connection, bytes(16)))
    assert (await revocations(database, "us")).num == listed.num + 1


def told(server: RunningServer, node: Identity) -> Revocations:
    """Return what a node hears of revocations when it logs in."""
    response = server.client().post("/api/v1/auth/node", json={"assertion": node.assertion()})
    session = msgspec.json.decode(response.content, type=NodeSession)
    root = jws.from_base64url(server.client().get("/.well-known/jwks.json").json()["root"]["x"])
    return verify_revocations(session.revocations, verify_key_set(session.key_set, root))
