"""Pushes that no device of ours sends. Each is refused whole or taken whole, and the device goes on after it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from shared.change import Change
from tests.security.calling import NO_PROBLEM, verdict_of
from tests.security.vectors import Vector, spelt_out, table
from tests.sync_server.device import MESSAGEPACK, Device

if TYPE_CHECKING:
    import httpx

    from shared.wire import Push
    from tests.security.household import Household
    from tests.security.ledger import Ledger

LEASE = {"answer": bytes(16), "token": bytes(16)}


@pytest.fixture(scope="module")
def pusher(household: Household) -> Device:
    """An account of its own, so that its log is known."""
    return household.server.new_account("Pusher")


@pytest.mark.parametrize("vector", table("pushes"), ids=lambda vector: vector.id)
def test_every_push_of_the_table(ledger: Ledger, pusher: Device, vector: Vector) -> None:
    device = pusher.sibling()
    first = device.batch([device.change()])
    device.note(first.changes)
    head = msgspec.msgpack.decode(device.send(first).content)["head"]
    given = spelt_out(vector.input)
    changes = changes_of(device, given)
    response = device.send(first) if given.get("first") else sent(device, given, changes)
    verdict = verdict_of(response)
    ledger.note(
        "pushes",
        wrongly_accepted=response.is_success and vector.verdict != "200",
        unhandled=verdict.startswith("500") or NO_PROBLEM in verdict,
    )
    assert verdict == vector.verdict
    acked = msgspec.msgpack.decode(response.content)["acked_dseq"] if response.is_success else 1
    if acked == 1:
        assert pusher.pull(since=head).head == head, "nothing has moved"
    else:
        device.note([msgspec.convert(change, Change) for change in changes])
    # Whatever it was, what comes after it is taken.
    after = device.change()
    assert device.send(device.batch([after])).status_code == 200
    assert after.eid in {change.eid for change in pusher.pull(since=head, limit=1000).changes}


def changes_of(device: Device, given: dict[str, Any]) -> list[Any]:
    """Return the changes that a vector describes, as lists, for they may be none."""
    times: int = given.get("times", 1)
    return [_change(device, members) for members in given.get("changes", [])] * times


def _change(device: Device, members: dict[str, Any]) -> list[Any]:
    good = msgspec.to_builtins(device.change(), builtin_types=(bytes,))
    members = dict(members)
    ahead_ms = members.pop("ahead_ms", 0)
    names = Change.__struct_fields__
    change = dict(zip(names, good, strict=True))
    change["clk"] = (int.from_bytes(change["clk"][:6]) + ahead_ms).to_bytes(6) + change["clk"][6:]
    change |= {name: bytes.fromhex(value) if isinstance(value, str) else value for name, value in members.items()}
    return [change[name] for name in names]


def sent(device: Device, given: dict[str, Any], changes: list[Any]) -> httpx.Response:
    """Send the push that a vector describes."""
    usual: Push = device.batch([])
    batch = dict(given.get("batch", {}))
    body = {
        "epoch": usual.epoch + batch.pop("epoch_plus", 0),
        "first_dseq": usual.first_dseq,
        "prev_hash": usual.prev_hash,
        "changes": changes,
    }
    if "prev_hash" in batch:
        batch["prev_hash"] = bytes.fromhex(batch["prev_hash"])
    if batch.get("if_lease"):
        batch["if_lease"] = LEASE
    content = msgspec.msgpack.encode({**body, **batch})
    content = content[: max(0, len(content) - given.get("cut", 0))] + bytes.fromhex(given.get("after", ""))
    headers = dict(MESSAGEPACK)
    if "gzip" in given:
        content = gzip.compress(content)
        content = content[:-5] if given["gzip"] == "cut" else content
        headers |= {} if given["gzip"] == "silent" else {"content-encoding": "gzip"}
    return device.request("POST", "/api/v1/sync/push", content=content, headers=headers)
