"""The same strangers on both ways to a node: through the relay, and straight to its address (rules D3, H1-H7, K4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared import jws
from shared.errors import Code
from shared.identifiers import node_id
from shared.sealed_wire import SealingKeys
from shared.sealing import CannotOpen, sign_sealing_key
from tests.inference_node.network.home import Home
from tests.sealed_http import sealed
from tests.security.calling import verdict_of
from tests.security.expectations import Call, Door
from tests.security.household import SECRET, Household
from tests.security.raw_http import request_of, sent, verdict_of_answer
from tests.security.test_matrix import expected
from tests.security.vectors import Vector, spelt_out, table
from tests.security.ways import NAMES, Stranger, Way, sealing, standing_on, way_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.security.ledger import Ledger

# Hosts and origins of the catalogue, each said to the door of each way.
STRANGE_HEADS = [vector for vector in table("http") if vector.id.startswith(("host-", "origin-"))]


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    patch = pytest.MonkeyPatch()
    made = Home(patch)
    yield made
    made.close()
    patch.undo()


@pytest.fixture(scope="module")
def address(home: Home) -> str:
    return home.add(1)


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, cheap_passwords: None, home: Home, address: str
) -> Iterator[Household]:
    """A household whose PC answers on the network at home, too."""
    data = tmp_path_factory.mktemp("house") / "data"
    made = Household(data, read_table=home.table, local_network=True)
    yield made
    made.close()


@pytest.fixture(params=NAMES)
def way(request: pytest.FixtureRequest, house: Household, home: Home, address: str) -> Way:
    return way_of(request.param, house, home, address)


def said_to(way: Way, request: bytes) -> str:
    """Return what comes of a request, byte by byte."""
    where = urlsplit(way.base)
    return verdict_of_answer(sent(where.port or 80, request, host=where.hostname or ""))


def asked(house: Household, way: Way, token: str | None = None) -> str:
    """Return what comes of a call on a way."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with sealing(house, way) as client:
        return verdict_of(client.get("/v1/status", headers=headers))


def test_K4_every_token_is_judged_alike_on_both_ways(house: Household, way: Way, ledger: Ledger) -> None:
    wrong = []
    with sealing(house, way) as client:
        for token in house.pocket():
            made = token.make()
            headers = {} if made is None else {"authorization": f"Bearer {made}"}
            verdict = verdict_of(client.get("/v1/status", headers=headers))
            is_wrong = verdict != expected(Call(Door.NODE, "200"), token, made)
            ledger.note("tokens on both ways", wrongly_accepted=is_wrong, unhandled=verdict.startswith("500"))
            if is_wrong:
                wrong.append(f"{token.name}: {verdict}")
    assert wrong == []


def test_K4_an_old_token_is_told_so_on_both_ways(house: Household, way: Way) -> None:
    old = next(token for token in house.pocket() if token.name == "expired, node")
    assert asked(house, way, house.node_token(house.owner)) == "200"
    assert asked(house, way, old.make()) == f"401 {Code.TOKEN_EXPIRED}"


def head_of(vector: Vector, way: Way, path: str) -> bytes:
    """Return a request to a path of the node, with a head of the catalogue in which this way's own names stand."""
    given = spelt_out(vector.input)
    where = urlsplit(way.base)
    own_host, own_origin = way.host, urlsplit(way.origin).netloc

    def named(value: str, own: str) -> str:
        value = value.replace("localhost:PORT", own).replace("PORT", own.rpartition(":")[2])
        return value.replace("localhost", own.rpartition(":")[0])

    host = given.get("host", "localhost:PORT")
    headers = [
        (name, named(value, own_origin if name == "Origin" else own_host)) for name, value in given.get("headers", [])
    ]
    told: dict[str, Any] = {
        "line": f"POST {where.path}{path} HTTP/1.1",
        "host": None if host is None else named(host, own_host),
        "headers": headers,
    }
    return request_of(told, way.headers.get("authorization", "").partition(" ")[2] or None)


@pytest.mark.parametrize("path", ["/v1/sealed", "/v1/keys", "/healthz"])
def test_D3_every_host_and_origin_of_the_catalogue_on_both_ways(
    house: Household, way: Way, path: str, ledger: Ledger
) -> None:
    wrong = []
    for vector in STRANGE_HEADS:
        verdict = said_to(way, head_of(vector, way, path))
        is_wrong = verdict != vector.verdict
        ledger.note("hosts and origins on both ways", wrongly_accepted=is_wrong, unhandled=verdict.startswith("500"))
        if is_wrong:
            wrong.append(f"{vector.id} ({vector.comment}): {verdict}, not {vector.verdict}")
    assert wrong == []
    # The same bytes with the right names are let in: as far as to what they ask.
    usual = Vector("usual", "as the app asks", {"headers": [["Origin", "http://localhost:PORT"]]})
    assert said_to(way, head_of(usual, way, path))[:3] == ("415" if path == "/v1/sealed" else "405")


# A stranger's own words in place of the node's: given path and body of an answer, and what the stranger heard before.
OWN_WORDS: dict[str, Callable[[Stranger, str, bytes], bytes]] = {
    "another's key": lambda stranger, path, body: another_key(path, body),
    "its own key under the node's id": lambda stranger, path, body: forged_key(path, body),
    "words in the clear": lambda stranger, path, body: body if path == "/v1/keys" else b'{"engine_state": "ready"}',
    "an answer with a bit turned": lambda stranger, path, body: body if path == "/v1/keys" else turned(body),
    "an answer that is cut": lambda stranger, path, body: body if path == "/v1/keys" else body[:-1],
    "the answer to another call": lambda stranger, path, body: body if path == "/v1/keys" else stranger.said[1],
}


def another_key(path: str, body: bytes) -> bytes:
    """Return a good record of a node that the stranger is."""
    if path != "/v1/keys":
        return body
    mine = sign_sealing_key(X25519PrivateKey.generate().public_key(), Ed25519PrivateKey.generate(), now_s(), 1)
    return msgspec.json.encode(mine)


def forged_key(path: str, body: bytes) -> bytes:
    """Return the node's record with a key of the stranger's, signed by the stranger."""
    if path != "/v1/keys":
        return body
    record = msgspec.json.decode(body, type=SealingKeys)
    payload = jws_payload(record.signed)
    payload["key"] = jws.base64url(X25519PrivateKey.generate().public_key().public_bytes_raw())
    signed = jws.sign(payload, Ed25519PrivateKey.generate(), "sealing+jwt")
    return msgspec.json.encode(msgspec.structs.replace(record, signed=signed))


def jws_payload(signed: str) -> dict[str, Any]:
    """Return what somebody has signed, whoever that was."""
    payload: dict[str, Any] = msgspec.json.decode(jws.from_base64url(signed.split(".")[1]))
    return payload


def turned(body: bytes) -> bytes:
    """Return a body of which one bit is another."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def now_s() -> int:
    return int(time.time())


@pytest.mark.parametrize("words", OWN_WORDS)
def test_H7_an_impostors_words_are_no_answer_on_either_way(
    house: Household, way: Way, ledger: Ledger, words: str
) -> None:
    say = OWN_WORDS[words]
    with standing_on(way) as stranger, sealing(house, stranger.way) as client:
        headers = {"authorization": f"Bearer {house.node_token(house.owner)}"}
        if words not in {"another's key", "its own key under the node's id"}:
            # The first one it passes on as it is, for later.
            assert client.get("/v1/status", headers=headers).status_code == 200
        stranger.answers = lambda path, body: say(stranger, path, body)
        is_taken = True
        try:
            client.get("/v1/status", headers=headers)
        except CannotOpen:
            is_taken = False
        ledger.note("an impostor's words on both ways", wrongly_accepted=is_taken)
        assert not is_taken


def test_H1_who_passes_calls_on_reads_nothing_and_can_not_play_them_again(
    house: Household, way: Way, ledger: Ledger
) -> None:
    token = house.node_token(house.owner)
    with standing_on(way) as stranger, sealing(house, stranger.way) as client:
        headers = {"authorization": f"Bearer {token}"}
        made = client.post("/v1/keys", json={"name": SECRET}, headers=headers)
        assert SECRET in made.text, "a stranger who changes nothing is only a longer way"
        passed = b"".join([*stranger.heard, *stranger.said])
        for secret in (token, SECRET, made.json()["secret"]):
            assert secret.encode() not in passed
        calls = [body for body in stranger.heard if body]
        assert calls
        for name, body in {"again": calls[-1], "with a bit turned": turned(calls[-1]), "cut": calls[-1][:-1]}.items():
            verdict = verdict_of(stranger.ask("/v1/sealed", body))
            is_wrong = verdict != f"400 {Code.CANNOT_OPEN}"
            ledger.note("calls that an impostor plays", wrongly_accepted=is_wrong)
            assert not is_wrong, f"{name}: {verdict}"


def test_H1_a_probe_for_one_node_that_is_passed_to_another_opens_nothing(house: Household, way: Way) -> None:
    key, day = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    meant = node_id(jws.raw_public_key(key.public_key())).hex()
    keys = sign_sealing_key(day.public_key(), key, now_s(), 1)
    request = httpx.Request("GET", "http://node/healthz")
    request.read()
    with standing_on(way) as stranger:
        verdict = verdict_of(stranger.ask("/v1/sealed", sealed(keys, meant, request).request))
        assert verdict == f"400 {Code.CANNOT_OPEN}"
        # Nor does an app take this node for that one, where it is led here before it has a key.
        with sealing(house, stranger.way, meant) as client, pytest.raises(CannotOpen):
            client.get("/healthz")
