"""Rules Q9 and Q10: at most one node holds an answer, and only the last one that held it may seal it."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from shared.limits import LEASE_S
from shared.wire import Lease
from sync_server import clock
from tests.sync_server.device import Device, code_of
from tests.sync_server.fake_node import Identity
from tests.sync_server.node_device import NodeDevice

if TYPE_CHECKING:
    from tests.sync_server.running_server import RunningServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def other_identity(shared_server: RunningServer) -> Identity:
    made = Identity()
    made.enrol(shared_server.settings.data)
    with httpx.Client(base_url=shared_server.url, trust_env=False) as http:
        assert http.post("/api/v1/auth/node", json={"assertion": made.assertion()}).status_code == 200
    return made


@pytest.fixture
def nodes(
    shared_server: RunningServer, identity: Identity, other_identity: Identity, device: Device
) -> tuple[NodeDevice, NodeDevice]:
    """Two nodes that serve the account of `device`."""
    return (NodeDevice(shared_server, identity, device), NodeDevice(shared_server, other_identity, device))


def test_Q9_one_node_at_a_time(nodes: tuple[NodeDevice, NodeDevice]) -> None:
    one, other = nodes
    answer = os.urandom(16)
    lease = one.claim(answer)
    assert lease.expires_ms == lease.server_ms + LEASE_S * 1000
    assert code_of(other.lease("claim", answer)) == (409, "lease_lost")
    assert code_of(other.lease("renew", answer, os.urandom(16))) == (409, "lease_lost")
    assert one.lease("renew", answer, lease.token).status_code == 200
    assert one.lease("release", answer, lease.token).status_code == 200
    assert other.claim(answer).token != lease.token
    assert code_of(one.lease("renew", answer, lease.token)) == (409, "lease_lost")


def test_Q9_a_node_whose_claim_was_answered_into_the_void_claims_again(nodes: tuple[NodeDevice, NodeDevice]) -> None:
    answer = os.urandom(16)
    lost = nodes[0].claim(answer)
    again = nodes[0].claim(answer)
    assert code_of(nodes[0].seal(answer, lost.token)) == (409, "lease_lost")
    assert nodes[0].seal(answer, again.token).status_code == 200


def test_Q9_a_lease_says_how_far_to_read(nodes: tuple[NodeDevice, NodeDevice], device: Device) -> None:
    device.write()
    device.write()
    assert nodes[0].claim(os.urandom(16)).head == 2


def test_Q9_only_nodes_hold_leases(device: Device, nodes: tuple[NodeDevice, NodeDevice]) -> None:
    body = {"answer": "AAAAAAAAAAAAAAAAAAAAAA==", "action": "claim"}
    assert code_of(device.request("POST", "/api/v1/leases", json=body)) == (404, "node_unknown")
    for more in ({"action": "take"}, {"action": "renew"}, {"answer": "AA=="}):
        assert code_of(nodes[0].request("POST", "/api/v1/leases", json={**body, **more})) == (400, "bad_request")


def test_Q10_a_late_seal_is_refused_and_moves_nothing(
    nodes: tuple[NodeDevice, NodeDevice], device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    answer = os.urandom(16)
    lease = one.claim(answer)
    real = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: real() + LEASE_S * 1000 + 1)
    taken = other.claim(answer)
    refused = one.seal(answer, lease.token)
    assert code_of(refused) == (409, "lease_lost")
    assert refused.json()["acked_dseq"] == 0
    assert device.pull().head == 0
    assert other.seal(answer, taken.token).status_code == 200
    assert one.push(one.change()).acked_dseq == 1, "its log goes on without the refused change"


def test_Q10_a_replay_needs_no_lease(nodes: tuple[NodeDevice, NodeDevice], device: Device) -> None:
    one, _ = nodes
    answer = os.urandom(16)
    lease = one.claim(answer)
    batch = one.batch([one.change(eid=answer)], if_lease={"answer": answer, "token": lease.token})
    assert one.send(batch).status_code == 200
    assert one.lease("release", answer, lease.token).status_code == 200
    assert one.send(batch).status_code == 200
    assert device.pull().head == 1


class Held(NamedTuple):
    """The model of one answer's lease."""

    node: int
    token: bytes
    expires_ms: int


def machine_for(server: RunningServer, identities: tuple[Identity, Identity]) -> type[RuleBasedStateMachine]:
    class LeaseMachine(RuleBasedStateMachine):
        answers = st.integers(0, 1)
        who = st.integers(0, 1)

        @initialize()
        def register(self) -> None:
            account = server.new_account(f"Leases {next(_numbers)} {id(self)}")
            self.nodes = [NodeDevice(server, identity, account) for identity in identities]
            self.ids = [os.urandom(16), os.urandom(16)]
            self.held: dict[int, Held] = {}
            self.given: list[tuple[int, int, bytes]] = []
            self.patch = pytest.MonkeyPatch()
            self.began_ms, self.passed_ms = clock.now_ms(), 0
            self.patch.setattr(clock, "now_ms", self.now_ms)

        def now_ms(self) -> int:
            return self.began_ms + self.passed_ms

        def teardown(self) -> None:
            self.patch.undo()

        @rule(who=who, answer=answers)
        def claim(self, who: int, answer: int) -> None:
            response = self.nodes[who].lease("claim", self.ids[answer])
            held = self.held.get(answer)
            is_others = held is not None and held.node != who and held.expires_ms > self.now_ms()
            assert (response.status_code == 409) == is_others
            if not is_others:
                lease = msgspec.msgpack.decode(response.content, type=Lease)
                self.held[answer] = Held(who, lease.token, lease.expires_ms)
                self.given.append((who, answer, lease.token))

        @rule(which=st.integers(0, 20), action=st.sampled_from(["renew", "release", "seal", "seal"]))
        def use(self, which: int, action: str) -> None:
            if not self.given:
                return
            who, answer, token = self.given[-1 - which % len(self.given)]
            held = self.held.get(answer)
            is_ours = held is not None and held.token == token
            node = self.nodes[who]
            if action == "seal":
                response = node.seal(self.ids[answer], token)
            else:
                response = node.lease(action, self.ids[answer], token)
            assert (response.status_code == 200) == is_ours, response.text
            if is_ours and action == "renew":
                self.held[answer] = Held(who, token, self.now_ms() + LEASE_S * 1000)
            if is_ours and action == "release":
                del self.held[answer]

        @rule(seconds=st.sampled_from([1, LEASE_S - 1, LEASE_S, 2 * LEASE_S]))
        def wait(self, seconds: int) -> None:
            self.passed_ms += seconds * 1000

    return LeaseMachine


def test_Q9_Q10_any_history_has_one_holder_and_no_late_seal(
    shared_server: RunningServer, identity: Identity, other_identity: Identity
) -> None:
    run_state_machine_as_test(
        machine_for(shared_server, (identity, other_identity)),
        settings=settings(
            max_examples=8,
            stateful_step_count=15,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
