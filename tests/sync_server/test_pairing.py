"""Nodes that share no folder with the server: code, proof, six digits, and the word of the account (rules P1-P6)."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.tunnel.frames import FrameType
from shared.wire import NodeSession
from sync_server import clock
from sync_server.accounts import throttle
from sync_server.log.housekeeping import housekeep
from sync_server.nodes import pairing
from sync_server.store.database import Database
from sync_server.store.dialect import dialect_for
from tests.sync_server.device import PASSWORD, Device, code_of
from tests.sync_server.event_stream import events_of
from tests.sync_server.fake_node import NodeCall, connected
from tests.sync_server.pairing_node import PairingNode

if TYPE_CHECKING:
    from tests.sync_server.running_server import RunningServer

TEN_MINUTES_MS = 600_000


def begin(device: Device) -> dict[str, Any]:
    response = device.request("POST", "/api/v1/pairing", json={"password": PASSWORD})
    assert response.status_code == 200, response.text
    begun: dict[str, Any] = response.json()
    return begun


def look(device: Device, begun: dict[str, Any]) -> Any:
    response = device.request("GET", f"/api/v1/pairing/{begun['pairing_id']}")
    assert response.status_code == 200, response.text
    return response.json()


def confirm(device: Device, begun: dict[str, Any], check: str) -> Any:
    return device.request("POST", f"/api/v1/pairing/{begun['pairing_id']}/confirm", json={"check": check})


def pair(server: RunningServer, device: Device, node: PairingNode | None = None) -> PairingNode:
    """Pair a node, a new one unless it is given, and return it."""
    begun = begin(device)
    fresh = PairingNode(server, begun["code"])
    if node is not None:
        fresh.identity = node.identity
    fresh.offered()
    assert fresh.state().stage == "pending"
    assert confirm(device, begun, fresh.check).status_code == 200
    return fresh


def nodes(device: Device) -> dict[str, Any]:
    return {node["node_id"]: node for node in device.request("GET", "/api/v1/nodes").json()["nodes"]}


def session(node: PairingNode) -> NodeSession:
    response = node.http.post("/api/v1/auth/node", json={"assertion": node.identity.assertion()})
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=NodeSession)


def accounts_of(node: PairingNode) -> dict[str, str]:
    return {grant.account_id: grant.level for grant in session(node).grants}


def pass_time(monkeypatch: pytest.MonkeyPatch, by_ms: int) -> None:
    now_ms = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: now_ms() + by_ms)


def test_P5_a_node_is_paired_when_the_account_says_so(shared_server: RunningServer, device: Device) -> None:
    begun = begin(device)
    assert look(device, begun)["stage"] == "waiting"
    node = PairingNode(shared_server, begun["code"]).offered()
    assert look(device, begun) | {"server_ms": 0, "expires_ms": 0} == {
        "pairing_id": begun["pairing_id"],
        "stage": "waiting",
        "server_ms": 0,
        "expires_ms": 0,
        **dict.fromkeys(("node_id", "name", "check", "level")),
    }, "nothing is shown before the proof"
    assert node.state().stage == "pending"
    pending = look(device, begun)
    assert (pending["node_id"], pending["name"]) == (node.identity.node_id, "Desk PC")
    assert (pending["check"], pending["level"]) == (node.check, "manage")
    refused = node.http.post("/api/v1/auth/node", json={"assertion": node.identity.assertion()})
    assert code_of(refused) == (404, "node_unknown"), "it is nobody's before that"

    assert confirm(device, begun, node.check).json()["stage"] == "paired"
    assert node.state() == type(node.state())("paired", device.session.username)
    assert accounts_of(node) == {device.session.account_id: "manage"}
    assert nodes(device)[node.identity.node_id]["level"] == "manage"


def test_P1_a_code_asks_for_the_password(shared_server: RunningServer, device: Device) -> None:
    wrong = device.request("POST", "/api/v1/pairing", json={"password": "another"})
    assert code_of(wrong) == (401, "login_wrong")
    body = {"password": PASSWORD}
    assert code_of(shared_server.client().post("/api/v1/pairing", json=body)) == (401, "token_missing")


def test_P1_guessing_the_password_is_slowed_down(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FREE_TRIES", 2)
    tries = [device.request("POST", "/api/v1/pairing", json={"password": f"guess {n}"}) for n in range(12)]
    assert code_of(tries[-1]) == (429, "too_many_tries")


def test_P1_a_code_is_sixteen_characters_and_stored_as_its_hash(shared_server: RunningServer, device: Device) -> None:
    code = begin(device)["code"]
    assert [len(group) for group in code.split("-")] == [4, 4, 4, 4]
    if shared_server.settings.database_url is None:
        files = b"".join(path.read_bytes() for path in shared_server.settings.data.glob("server.db*"))
        assert code.encode() not in files
        assert code.replace("-", "").encode() not in files


@pytest.mark.parametrize(
    "spelling", [str.lower, lambda code: code.replace("-", " "), lambda code: code.replace("-", "")]
)
def test_P1_a_code_may_be_spelt_as_people_do(shared_server: RunningServer, device: Device, spelling: Any) -> None:
    begun = begin(device)
    node = PairingNode(shared_server, spelling(begun["code"])).offered()
    assert node.state().stage == "pending"


def wrong_secret(code: str) -> str:
    return code[:-1] + ("0" if code[-1] != "0" else "1")


def test_P1_the_sixth_try_of_a_code_is_refused_even_if_it_is_right(
    shared_server: RunningServer, device: Device
) -> None:
    code = begin(device)["code"]
    for _ in range(5):
        assert code_of(PairingNode(shared_server, wrong_secret(code)).offer()) == (403, "pairing_code_wrong")
    assert code_of(PairingNode(shared_server, code).offer()) == (403, "pairing_code_spent")
    PairingNode(shared_server, begin(device)["code"]).offered()


def test_P1_guessing_codes_is_slowed_down(shared_server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FREE_TRIES", 2)
    node = PairingNode(shared_server, "")
    codes = [code_of(node.offer(code=f"guess-{number}"))[1] for number in range(12)]
    assert codes[0] == "pairing_code_wrong"
    assert codes[-1] == "too_many_tries"


def test_P1_a_code_is_good_for_ten_minutes(
    shared_server: RunningServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = PairingNode(shared_server, begin(device)["code"])
    pass_time(monkeypatch, TEN_MINUTES_MS)
    assert code_of(node.offer()) == (410, "pairing_code_expired")


def test_P2_a_node_that_came_has_ten_minutes_more(
    shared_server: RunningServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(device)
    pass_time(monkeypatch, TEN_MINUTES_MS - 5000)
    node = PairingNode(shared_server, begun["code"]).offered()
    pass_time(monkeypatch, TEN_MINUTES_MS - 5000)
    assert node.state().stage == "pending"
    pass_time(monkeypatch, 5000)
    assert code_of(node.prove()) == (410, "pairing_code_expired")
    assert code_of(confirm(device, begun, node.check)) == (409, "pairing_check_wrong")


def test_P1_a_new_code_replaces_the_one_before(shared_server: RunningServer, device: Device) -> None:
    first = begin(device)
    node = PairingNode(shared_server, first["code"]).offered()
    begin(device)
    assert code_of(node.prove()) == (403, "pairing_code_wrong")
    assert code_of(device.request("GET", f"/api/v1/pairing/{first['pairing_id']}")) == (404, "not_found")


def test_P2_a_code_is_one_nodes(shared_server: RunningServer, device: Device) -> None:
    begun = begin(device)
    node = PairingNode(shared_server, begun["code"]).offered()
    nonce = node.server_nonce
    assert node.offered().server_nonce == nonce, "an answer that was lost comes again"
    assert code_of(PairingNode(shared_server, begun["code"]).offer()) == (409, "pairing_code_used")
    assert code_of(node.offer(commitment=bytes(32))) == (409, "pairing_code_used")
    node.state()
    assert confirm(device, begun, node.check).status_code == 200
    assert code_of(PairingNode(shared_server, begun["code"]).offer()) == (409, "pairing_code_used")


def test_P3_the_proof_must_be_of_this_key_and_these_nonces(shared_server: RunningServer, device: Device) -> None:
    begun = begin(device)
    node = PairingNode(shared_server, begun["code"])
    assert code_of(node.prove(bytes(64))) == (403, "pairing_proof_wrong"), "the offer comes first"
    node.offered()
    other = Ed25519PrivateKey.generate()
    for signature in (
        node.transcript().sign(other),
        node.transcript(root=os.urandom(32)).sign(node.identity.key),
        node.transcript(name="Another").sign(node.identity.key),
    ):
        assert code_of(node.prove(signature)) == (403, "pairing_proof_wrong")
    assert look(device, begun)["stage"] == "waiting"
    node.nonce = os.urandom(32)
    assert code_of(node.prove()) == (403, "pairing_proof_wrong"), "the nonce is the one it was committed to"
    node.http = shared_server.client()
    assert code_of(node.prove()) == (403, "pairing_code_spent")


def test_P2_of_many_nodes_that_come_at_once_one_gets_the_code(shared_server: RunningServer, device: Device) -> None:
    begun = begin(device)
    comers = [PairingNode(shared_server, begun["code"], f"PC {number}") for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = [response.status_code for response in threads.map(PairingNode.offer, comers)]
    assert sorted(answers) == [200, *[409] * 7]
    [winner] = [comer for comer, answer in zip(comers, answers, strict=True) if answer == 200]
    assert winner.offered().state().stage == "pending"
    assert look(device, begun)["name"] == winner.identity.name


def test_P1_several_tabs_at_once_leave_one_code(shared_server: RunningServer, device: Device) -> None:
    tabs = [device, *(device.sibling() for _ in range(3))]
    with ThreadPoolExecutor(4) as threads:
        codes = [begun["code"] for begun in threads.map(begin, tabs)]
    answers = [PairingNode(shared_server, code).offer().status_code for code in codes]
    assert sorted(answers) == [200, 403, 403, 403]


def test_P1_no_two_codes_have_one_name(
    shared_server: RunningServer, device: Device, stranger: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["ZZZA-AAAA-AAAA-AAAA", "ZZZB-BBBB-BBBB-BBBB", "ZZYC-CCCC-CCCC-CCCC"])
    monkeypatch.setattr(pairing, "new_code", lambda groups: next(drawn))
    first, second = begin(device), begin(stranger)
    assert (first["code"], second["code"]) == ("ZZZA-AAAA-AAAA-AAAA", "ZZYC-CCCC-CCCC-CCCC")


WEAK = [bytes(32), b"\x01" + bytes(31), b"\xff" * 32]


@pytest.mark.parametrize("key", WEAK)
def test_P2_weak_keys_are_refused(shared_server: RunningServer, device: Device, key: bytes) -> None:
    node = PairingNode(shared_server, begin(device)["code"])
    assert code_of(node.offer(public_key=key)) == (400, "bad_request")
    if key != WEAK[2]:
        assert code_of(node.offer(sealing_key=key)) == (400, "bad_request")
    assert code_of(node.offer(public_key=bytes(31))) == (400, "bad_request")
    assert code_of(node.offer(name="\u202etxt")) == (400, "bad_request")
    node.offered()


def test_P4_only_the_digits_that_are_shown_confirm(shared_server: RunningServer, device: Device) -> None:
    begun = begin(device)
    node = PairingNode(shared_server, begun["code"]).offered()
    assert code_of(confirm(device, begun, node.check)) == (409, "pairing_check_wrong"), "nothing was proved yet"
    node.state()
    wrong = "000 000" if node.check != "000 000" else "000 001"
    assert code_of(confirm(device, begun, wrong)) == (409, "pairing_check_wrong")
    assert nodes(device).keys().isdisjoint({node.identity.node_id})


def test_P4_another_account_can_neither_see_nor_confirm(
    shared_server: RunningServer, device: Device, stranger: Device
) -> None:
    begun = begin(device)
    node = PairingNode(shared_server, begun["code"]).offered()
    node.state()
    assert code_of(stranger.request("GET", f"/api/v1/pairing/{begun['pairing_id']}")) == (404, "not_found")
    assert code_of(confirm(stranger, begun, node.check)) == (404, "not_found")
    assert code_of(stranger.request("DELETE", f"/api/v1/pairing/{begun['pairing_id']}")) == (404, "not_found")
    assert look(device, begun)["stage"] == "pending"


def test_P4_a_refused_node_hears_of_it(shared_server: RunningServer, device: Device) -> None:
    begun = begin(device)
    node = PairingNode(shared_server, begun["code"]).offered()
    node.state()
    assert device.request("DELETE", f"/api/v1/pairing/{begun['pairing_id']}").status_code == 204
    assert node.state().stage == "refused"
    assert code_of(confirm(device, begun, node.check)) == (409, "pairing_check_wrong")


def test_P5_several_accounts_pair_one_node_and_one_account_several(
    shared_server: RunningServer, device: Device, stranger: Device
) -> None:
    node = pair(shared_server, device)
    pair(shared_server, stranger, node)
    pair(shared_server, device, node)
    assert accounts_of(node) == {device.session.account_id: "manage", stranger.session.account_id: "use"}
    second = pair(shared_server, device)
    assert {node.identity.node_id, second.identity.node_id} <= nodes(device).keys()
    assert second.identity.node_id not in nodes(stranger)


def test_P6_unpairing_ends_the_grant_and_leaves_others_alone(
    shared_server: RunningServer, device: Device, stranger: Device
) -> None:
    node = pair(shared_server, device)
    pair(shared_server, stranger, node)
    [grant] = [grant for grant in session(node).grants if grant.account_id == device.session.account_id]
    address = f"/api/v1/nodes/{node.identity.node_id}"
    assert device.request("DELETE", address).status_code == 204
    assert code_of(device.request("DELETE", address)) == (404, "node_unknown")
    assert accounts_of(node) == {stranger.session.account_id: "use"}
    assert node.identity.node_id not in nodes(device)
    bearer = {"authorization": f"Bearer {grant.access_token}"}
    assert code_of(node.http.get("/api/v1/sync/pull", headers=bearer)) == (401, "device_revoked")
    audience = {"audience": f"node:{node.identity.node_id}"}
    assert code_of(device.request("POST", "/api/v1/auth/token", json=audience)) == (404, "node_unknown")
    # Whoever comes next manages it, as nobody does.
    pair(shared_server, device, node)
    assert accounts_of(node)[device.session.account_id] == "manage"


def test_P6_the_accounts_devices_hear_of_a_node_that_is_gone_though_it_sleeps(
    shared_server: RunningServer, device: Device
) -> None:
    node = pair(shared_server, device)
    with events_of(device) as events:
        while node.identity.node_id not in {row["node_id"] for row in events.next("presence")["nodes"]}:
            pass
        address = f"/api/v1/nodes/{node.identity.node_id}"
        assert device.request("DELETE", address).status_code == 204
        while node.identity.node_id in {row["node_id"] for row in events.next("presence")["nodes"]}:
            pass


def test_P6_a_node_revoked_among_the_devices_is_unpaired(shared_server: RunningServer, device: Device) -> None:
    node = pair(shared_server, device)
    [grant] = session(node).grants
    assert device.request("DELETE", f"/api/v1/devices/{grant.device_id}").status_code == 204
    assert accounts_of(node) == {}
    pair(shared_server, device, node)
    assert accounts_of(node) == {device.session.account_id: "manage"}


def test_P6_unpairing_cuts_off_what_is_open(shared_server: RunningServer, device: Device) -> None:
    node = pair(shared_server, device)

    async def stay_open(call: NodeCall) -> None:
        await call.respond(200, "text/event-stream")
        await call.write(b"data: 1\n\n")
        await call.is_reset.wait()

    def read() -> None:
        path = f"/relay/{node.identity.node_id}/v1/keys"
        with device.http.stream("GET", path, headers=device.bearer) as stream:
            pieces = stream.iter_bytes()
            assert next(pieces) == b"data: 1\n\n"
            address = f"/api/v1/nodes/{node.identity.node_id}"
            assert device.sibling().request("DELETE", address).status_code == 204
            with pytest.raises(httpx.RemoteProtocolError):
                next(pieces)

    async def run() -> None:
        async with connected(shared_server.websocket_url, node.identity, stay_open) as tunnel:
            await asyncio.to_thread(read)
            await tunnel.next_frame(FrameType.POKE)
            [call] = tunnel.calls.values()
            await call.is_reset.wait()

    asyncio.run(run())


async def test_what_is_over_is_forgotten(
    shared_server: RunningServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = begin(device)["code"]
    node = PairingNode(shared_server, code)
    pass_time(monkeypatch, TEN_MINUTES_MS)
    settings = shared_server.settings
    database = Database(dialect_for(settings.database_url, settings.data))
    await database.open()
    try:

        class NoBlobs:
            async def collect(self, account_id: bytes) -> None: ...

        await housekeep(database, NoBlobs())  # type: ignore[arg-type]
    finally:
        await database.close()
    assert code_of(node.offer()) == (403, "pairing_code_wrong")
