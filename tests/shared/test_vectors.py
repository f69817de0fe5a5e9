"""The Python twin held against the vector files, as any other language would hold itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from shared import canonical, clock, jws, messages, runs, tokens, values
from shared.change import Change, EntityType
from shared.digest import digest
from shared.errors import DomovoiError
from shared.merge import merge
from tests.security import app_vectors

FOLDER = Path(__file__).parents[2] / "shared" / "vectors"


def load(name: str) -> list[Any]:
    document = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return [pytest.param(vector["input"], vector["result"], id=vector["id"]) for vector in document["vectors"]]


def change_from(described: dict[str, Any]) -> Change:
    members: dict[str, Any] = {
        name: bytes.fromhex(value) if isinstance(value, str) else value for name, value in described.items()
    }
    return Change(**members)


@pytest.mark.parametrize(("given", "result"), load("clock"))
def test_C2_clock_vectors(given: dict[str, Any], result: str) -> None:
    if "device" in given:
        made = clock.tick(bytes.fromhex(given["last"]), given["now_ms"], bytes.fromhex(given["device"]))
    else:
        seen = bytes.fromhex(given["seen"])
        made = clock.observe(bytes.fromhex(given["last"]), seen, given["now_ms"], given["max_ahead_ms"])
    assert made.hex() == result


@pytest.mark.parametrize(("given", "result"), load("canonical"))
def test_L4_L5_canonical_vectors(given: dict[str, Any], result: Any) -> None:
    if "change" in given:
        assert canonical.canonical_bytes(given["dseq"], change_from(given["change"])).hex() == result
        return
    previous, expected = bytes.fromhex(given["previous"]), []
    for dseq, described in enumerate(given["changes"], given["first_dseq"]):
        previous = hashlib.sha256(previous + canonical.canonical_bytes(dseq, change_from(described))).digest()
        expected.append(previous.hex())
    assert expected == result


@pytest.mark.parametrize(("given", "result"), load("merge"))
def test_L6_merge_vectors(given: list[dict[str, Any]], result: list[dict[str, Any]]) -> None:
    cells: dict[Any, Change] = {}
    merge(cells, [change_from(described) for described in reversed(given)])
    assert [cells[key] for key in sorted(cells)] == [change_from(described) for described in result]


@pytest.mark.parametrize(("given", "result"), [*load("purge"), *load("from_app/merge")])
def test_L6_L18_purge_vectors_and_the_apps_in_any_order(
    given: list[dict[str, Any]], result: list[dict[str, Any]]
) -> None:
    changes = [change_from(described) for described in given]
    for order in (changes, changes[::-1], changes[7:] + changes[:9] + changes):
        cells: dict[Any, Change] = {}
        merge(cells, order)
        assert [cells[key] for key in sorted(cells)] == [change_from(described) for described in result]


@pytest.mark.parametrize(("given", "result"), load("from_app/canonical"))
def test_L4_L5_the_apps_chain(given: dict[str, Any], result: list[str]) -> None:
    changes = [change_from(described) for described in given["changes"]]
    hashes = canonical.fold_hashes(bytes.fromhex(given["previous"]), given["first_dseq"], changes)
    assert [value.hex() for value in hashes] == result


@pytest.mark.parametrize(("given", "result"), [*load("digest"), *load("from_app/digest")])
def test_L20_digest_vectors(given: list[dict[str, Any]], result: dict[str, Any]) -> None:
    cells = [change_from(described) for described in given]
    for order in (cells, cells[::-1]):
        count, folded = digest((cell.clk, cell.etype, cell.eid, cell.field) for cell in order)
        assert {"count": count, "digest": folded.hex()} == result


@pytest.mark.parametrize(("given", "result"), load("values"))
def test_V3_value_vectors(given: dict[str, str], result: Any) -> None:
    kinds: dict[str, Any] = {
        "header": values.Header,
        "text": str,
        "flag": bool,
        "state": values.State,
        "main_node": values.MainNode,
        "asleep_policy": values.AsleepPolicy,
    }
    if given["kind"] == "main_node" and bytes.fromhex(given["bytes"]) == values.encode(None):
        # None is a value here, too: whichever node is there.
        assert result == "whichever"
        return
    decoded = values.decode(bytes.fromhex(given["bytes"]), kinds[given["kind"]])
    if isinstance(decoded, values.Header):
        decoded = {"role": decoded.role, "parent": decoded.parent.hex() if decoded.parent else None}
    elif isinstance(decoded, values.State):
        decoded = decoded.state
    elif isinstance(decoded, bytes):
        decoded = decoded.hex()
    assert decoded == result


@pytest.mark.parametrize(("given", "result"), load("messages"))
def test_M_message_vectors(given: list[dict[str, Any]], result: dict[str, Any]) -> None:
    cells = [change_from(described) for described in reversed(given)]
    folded = messages.fold(cells)
    leaf_cell = next((cell for cell in cells if cell.etype == EntityType.CONVERSATION), None)
    leaf = values.decode(leaf_cell.value, bytes) if leaf_cell else None
    assert sorted(identifier.hex() for identifier in folded) == result["messages"]
    assert [message.id.hex() for message in messages.active_path(folded, leaf)] == result["path"]
    assert [message.id.hex() for message in messages.children(folded, None)] == result["roots"]


@pytest.mark.parametrize(("given", "result"), load("events"))
def test_S1_event_vectors(given: dict[str, str], result: int | None) -> None:
    try:
        number: int | None = runs.parse_event_id(given["text"], bytes.fromhex(given["answer"]))
    except ValueError:
        number = None
    assert number == result


@pytest.mark.parametrize(("given", "result"), load("from_security/tokens"))
def test_K1_K2_K3_token_vectors(given: dict[str, Any], result: Any) -> None:
    key = jws.from_base64url(given["key"])
    ring = {jws.thumbprint(key): jws.public_key_from(key)}
    try:
        claims = tokens.verify_access(given["token"], ring, given["issuer"], given["audience"], given["now_s"])
        verdict: Any = {name: getattr(claims, name) for name in ("iss", "aud", "sub", "did", "iat", "exp")}
    except DomovoiError as error:
        verdict = error.code
    assert verdict == result


def test_the_vectors_of_the_catalogue_are_current() -> None:
    stale = [name for name, text in app_vectors.files().items() if (app_vectors.FOLDER / name).read_text() != text]
    assert stale == [], "run python -m tests.security.app_vectors"
