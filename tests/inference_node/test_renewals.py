"""Tokens that a node renews by itself while the server is away (rule K11)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_p256
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from inference_node.server.identity import ensure_identity
from inference_node.server.keyset import KeyRing
from inference_node.server.renewals import Renewals
from shared import device_keys
from shared.device_keys import DeviceKey
from shared.errors import Code, DomovoiError
from shared.jws import base64url, raw_public_key
from shared.key_sets import Revocation
from shared.limits import RENEWABLE_S, TOKEN_LEEWAY_S
from shared.renewal_wire import Renewal
from shared.tokens import Confirmation, node_audience
from shared.wire import AccessToken
from tests.inference_node.authority import Authority
from tests.inference_node.running_node import RunningNode, new_id
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY_S = 86_400


class Browser:
    """What a browser has: a key, and what it signs with it."""

    def __init__(self, key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        self._key = key
        if isinstance(key, Ed25519PrivateKey):
            self.public = DeviceKey("OKP", "Ed25519", base64url(raw_public_key(key.public_key())))
        else:
            point = key.public_key().public_numbers()
            self.public = DeviceKey("EC", "P-256", *(base64url(part.to_bytes(32)) for part in (point.x, point.y)))

    def named(self) -> Confirmation:
        return Confirmation(device_keys.confirmation(device_keys.thumbprint(self.public)))

    def sign(self, message: bytes) -> bytes:
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        r, s = decode_dss_signature(self._key.sign(message, ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    def renewal(self, node_id: str, token: str, challenge: bytes) -> Renewal:
        message = device_keys.renewal_message(node_id, challenge, token)
        return Renewal(token, self.public, challenge, self.sign(message))


def ed25519() -> Browser:
    return Browser(Ed25519PrivateKey.generate())


def p256() -> Browser:
    return Browser(generate_p256(SECP256R1()))


def ran_out(ago_s: float = 3600) -> dict[str, int]:
    """Return the times of a token that ran out so long ago."""
    end = int(time.time() - ago_s)
    return {"iat": end - DAY_S, "nbf": end - DAY_S, "exp": end}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningNode]:
    running = RunningNode(tmp_path_factory.mktemp("node"), make_engine=Script().make_engine)
    running.add_scripted_model()
    await running.grant(running.account)
    await running.start()
    yield running
    await running.stop()


async def challenge_of(node: RunningNode) -> bytes:
    answer = (await node.http.post(f"{node.url}/v1/renewal/challenge")).json()
    challenge: bytes = msgspec.convert(answer["challenge"], bytes)
    return challenge


async def renew(node: RunningNode, renewal: Renewal | dict[str, Any]) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return await node.http.post(f"{node.url}/v1/renewal", content=msgspec.json.encode(renewal), headers=headers)


async def status(node: RunningNode, token: str) -> httpx.Response:
    return await node.http.get(f"{node.url}/v1/status", headers={"Authorization": f"Bearer {token}"})


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.mark.parametrize("make", [ed25519, p256])
async def test_K11_who_has_the_key_gets_a_day_more(node: RunningNode, make: Callable[[], Browser]) -> None:
    browser = make()
    old = node.authority.token(node.account, cnf=browser.named(), **ran_out())
    assert code_of(await status(node, old)) == (401, "token_expired")
    response = await renew(node, browser.renewal(node.identity.node_id, old, await challenge_of(node)))
    assert response.status_code == 200, response.text
    renewed = msgspec.json.decode(response.content, type=AccessToken)
    assert 0 < renewed.expires_at - time.time() <= DAY_S
    assert (await status(node, renewed.access_token)).status_code == 200


async def test_K11_a_renewed_token_ends_with_the_fourteen_days(node: RunningNode) -> None:
    browser = ed25519()
    old = node.authority.token(node.account, cnf=browser.named(), **ran_out(RENEWABLE_S - 600))
    response = await renew(node, browser.renewal(node.identity.node_id, old, await challenge_of(node)))
    assert 500 < response.json()["expires_at"] - time.time() <= 600


async def test_K11_a_challenge_serves_once(node: RunningNode) -> None:
    browser = ed25519()
    old = node.authority.token(node.account, cnf=browser.named(), **ran_out())
    renewal = browser.renewal(node.identity.node_id, old, await challenge_of(node))
    assert (await renew(node, renewal)).status_code == 200
    assert code_of(await renew(node, renewal)) == (401, "token_invalid")


def _good(node: RunningNode, browser: Browser, challenge: bytes, **claims: Any) -> Renewal:
    given = {"cnf": browser.named(), **ran_out(), **claims}
    return browser.renewal(node.identity.node_id, node.authority.token(node.account, **given), challenge)


REFUSED: dict[str, Callable[[RunningNode, Browser, bytes], Renewal]] = {
    "another key": lambda node, browser, c: msgspec.structs.replace(_good(node, browser, c), key=p256().public),
    "another's key and its proof": lambda node, _, c: _good(node, ed25519(), c, cnf=ed25519().named()),
    "a token that names no key": lambda node, browser, c: _good(node, browser, c, cnf=None),
    "a token for another node": lambda node, browser, c: _good(node, browser, c, aud="node:" + "0" * 32),
    "a token for the log": lambda node, browser, c: _good(node, browser, c, aud="sync"),
    "a proof for another node": lambda node, browser, c: browser.renewal("0" * 32, _good(node, browser, c).token, c),
    "a proof for another token": lambda node, browser, c: msgspec.structs.replace(
        _good(node, browser, c), token=_good(node, browser, c, jti="other").token
    ),
    "a challenge of nobody": lambda node, browser, _: _good(node, browser, bytes(40)),
    "a foreign signature": lambda node, browser, c: browser.renewal(
        node.identity.node_id, Authority(node.identity.node_id).token(node.account, cnf=browser.named()), c
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_K11_nobody_else_gets_anything(node: RunningNode, what: str) -> None:
    response = await renew(node, REFUSED[what](node, ed25519(), await challenge_of(node)))
    assert code_of(response) == (401, "token_invalid")


async def test_K11_after_fourteen_days_it_takes_the_server(node: RunningNode) -> None:
    late = _good(node, ed25519(), await challenge_of(node), **ran_out(RENEWABLE_S + 2 * TOKEN_LEEWAY_S))
    assert code_of(await renew(node, late)) == (401, "token_expired")


KEYS = [
    {"kty": "OKP", "crv": "P-256", "x": base64url(bytes(32))},
    {"kty": "OKP", "crv": "Ed25519", "x": base64url(bytes(32))},
    {"kty": "OKP", "crv": "Ed25519", "x": base64url(bytes(31))},
    {"kty": "OKP", "crv": "Ed25519", "x": "*"},
    {"kty": "EC", "crv": "P-256", "x": base64url(bytes(32)), "y": base64url(bytes(32))},
    {"kty": "EC", "crv": "P-256", "x": base64url(bytes(32))},
    {"kty": "EC", "crv": "P-256", "x": base64url(bytes(33)), "y": base64url(bytes(32))},
]


@pytest.mark.parametrize("key", KEYS)
async def test_K11_what_is_no_key_is_refused(node: RunningNode, key: dict[str, str]) -> None:
    renewal = msgspec.to_builtins(_good(node, ed25519(), await challenge_of(node)))
    assert code_of(await renew(node, {**renewal, "key": key})) == (401, "token_invalid")


async def test_K11_what_a_node_renewed_is_not_renewed_again_and_opens_no_other(node: RunningNode) -> None:
    browser = ed25519()
    renewed = (await renew(node, _good(node, browser, await challenge_of(node)))).json()["access_token"]
    again = browser.renewal(node.identity.node_id, renewed, await challenge_of(node))
    assert code_of(await renew(node, again)) == (401, "token_invalid")


async def test_K11_a_revocation_reaches_what_was_renewed_after_it(tmp_path: Path) -> None:
    """The node hears of it late: what it gave out meanwhile is as old as the token that it came from."""
    identity = ensure_identity(tmp_path, "PC")
    authority = Authority(identity.node_id)
    path = tmp_path / "keyset.json"
    path.write_bytes(authority.kept())
    keys = KeyRing(path, None, node_audience(identity.node_id))  # type: ignore[arg-type]  # it is not asked
    renewals, browser, account = Renewals(keys, identity), ed25519(), new_id()
    old = authority.token(account, did="aa", cnf=browser.named(), **ran_out())
    revoked_s = int(time.time()) - TOKEN_LEEWAY_S
    renewed = await renewals.renew(browser.renewal(identity.node_id, old, renewals.challenge()))
    assert (await renewals.verify(renewed.access_token)).sub == account.hex()
    await keys.take("", authority.revoked(1, Revocation(account.hex(), revoked_s, did="aa")))
    for attempt in (
        renewals.verify(renewed.access_token),
        renewals.renew(browser.renewal(identity.node_id, old, renewals.challenge())),
    ):
        with pytest.raises(DomovoiError) as refused:
            await attempt
        assert refused.value.code == Code.DEVICE_REVOKED
