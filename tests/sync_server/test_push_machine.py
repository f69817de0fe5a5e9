"""Any order of pushes, replays, cuts and concurrent devices ends in what the merge rules say."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared.canonical import FIRST_HASH
from shared.change import CellKey, Change, cell_key
from shared.merge import merge
from shared.wire import Push
from tests.sync_server.device import Device, code_of

if TYPE_CHECKING:
    from tests.sync_server.running_server import RunningServer

DEVICES = st.integers(0, 2)
VALUES = st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=3)), min_size=1, max_size=4)
_numbers = itertools.count(1)


def machine_for(server: RunningServer) -> type[RuleBasedStateMachine]:
    class PushMachine(RuleBasedStateMachine):
        """`cells` is the model; the server's pull must always equal it."""

        @initialize()
        def register(self) -> None:
            first = server.new_account(f"Machine {next(_numbers)} {id(self)}")
            self.devices = [first, first.sibling(), first.sibling()]
            self.logs: list[list[Change]] = [[], [], []]
            self.cells: dict[CellKey, Change] = {}
            self.last: list[Push | None] = [None, None, None]
            self.head = 0

        def changes(self, device: Device, values: list[tuple[int, bytes]]) -> list[Change]:
            return [device.change(value, eid=bytes([entity]) * 16) for entity, value in values]

        @rule(number=DEVICES, values=VALUES)
        def push(self, number: int, values: list[tuple[int, bytes]]) -> None:
            device = self.devices[number]
            changes = self.changes(device, values)
            self.last[number] = device.batch(changes)
            pushed = device.push(*changes)
            self.logs[number] += changes
            self.head += len(merge(self.cells, changes))
            assert (pushed.acked_dseq, pushed.head) == (len(self.logs[number]), self.head)

        @rule(number=DEVICES)
        def replay_the_last_push(self, number: int) -> None:
            if (batch := self.last[number]) is not None:
                assert self.devices[number].send(batch).status_code == 200

        @rule(number=DEVICES, values=VALUES)
        def push_the_whole_log_and_more(self, number: int, values: list[tuple[int, bytes]]) -> None:
            device, changes = self.devices[number], self.changes(self.devices[number], values)
            whole = [*self.logs[number], *changes]
            batch = Push(epoch=device.epoch, first_dseq=1, prev_hash=FIRST_HASH, changes=whole)
            assert device.send(batch).status_code == 200
            device.push(*changes)
            self.last[number] = None
            self.logs[number] = whole
            self.head += len(merge(self.cells, changes))

        @rule(number=DEVICES, values=VALUES)
        def push_with_a_gap(self, number: int, values: list[tuple[int, bytes]]) -> None:
            device = self.devices[number]
            batch = device.batch(self.changes(device, values), first_dseq=device.dseq + 2)
            assert code_of(device.send(batch)) == (409, "sequence_gap")

        @rule(number=DEVICES, values=VALUES)
        def push_from_a_fork(self, number: int, values: list[tuple[int, bytes]]) -> None:
            device = self.devices[number]
            batch = device.batch(self.changes(device, values), prev_hash=b"\x01" * 32)
            assert code_of(device.send(batch)) == (409, "device_forked")

        @invariant()
        def the_log_is_the_merge(self) -> None:
            pulled = self.devices[0].pull()
            assert pulled.head == self.head
            stored = {cell_key(c): msgspec.structs.asdict(c) for c in pulled.changes}
            for row in stored.values():
                del row["seq"]
            assert stored == {key: msgspec.structs.asdict(change) for key, change in self.cells.items()}

    return PushMachine


def test_L9_L11_any_history_of_pushes_is_its_merge(shared_server: RunningServer) -> None:
    run_state_machine_as_test(
        machine_for(shared_server),
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
