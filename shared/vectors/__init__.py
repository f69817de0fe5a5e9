"""Test vectors that both languages must reproduce. The JSON files beside this module are made from it.

A file is `{"comment", "vectors": [{"id", "comment", "input", "result"}]}`; bytes are lower-case hex, a change is
an object with its members. Expected results are worked out by the Python twin and held by tests of its own, with
the hash chain checked against an independent computation (tests/shared/test_vectors.py).
"""

from __future__ import annotations

import random
from typing import Any

from shared import canonical, clock, messages, runs, values
from shared.change import Change, ConversationField, EntityType, MessageField, PulledChange, cell_key
from shared.digest import digest
from shared.identifiers import uuid7
from shared.merge import merge
from shared.segments import pack_segment
from shared.vectors import sealed_calls

SEED = 8460
Vector = dict[str, Any]

_DEVICES = [bytes([n]) * 8 for n in (1, 2, 0xFF)]
_TEXTS = ["", "Hello", "Привет, дом", "日本語", "🔥 тёплый очаг", "e\u0301 \u202eflip", "line\nline\r\n\ttab", "\x00"]


def generated_vectors() -> dict[str, dict[str, Any]]:
    """Return file name → document."""
    return {
        "clock": {"comment": "C1-C5: tick and observe", "vectors": _clock_vectors()},
        "canonical": {"comment": "L4, L5: canonical bytes and chain", "vectors": _canonical_vectors()},
        "merge": {"comment": "L6: any order gives the same cells", "vectors": _merge_vectors()},
        "purge": {
            "comment": "L18: any order gives the same cells, and a purge leaves one",
            "vectors": _purge_vectors(),
        },
        "digest": {"comment": "L20: how many cells, and the XOR of their hashes", "vectors": _digest_vectors()},
        "segments": {"comment": "L23: a segment and its cells", "vectors": _segment_vectors()},
        "values": {"comment": "V1-V3: MessagePack to value; null where unreadable", "vectors": _value_vectors()},
        "messages": {"comment": "M1-M6, Q3: fold, branch and runnable", "vectors": _message_vectors()},
        "sealed_calls": {"comment": "H1, H2: what is in a sealed call", "vectors": sealed_calls.call_vectors()},
        "sealed_replies": {"comment": "H5: chunks; null where refused", "vectors": sealed_calls.reply_vectors()},
        "sealing_keys": {"comment": "H3: the key; null where refused", "vectors": sealed_calls.key_vectors()},
        "events": {"comment": "S1: event ids; null where refused", "vectors": _event_vectors()},
    }


def describe(change: Change) -> Vector:
    """Return a change as JSON with hex bytes."""
    return {
        name: value.hex() if isinstance(value := getattr(change, name), bytes) else value
        for name in Change.__struct_fields__
    }


def _clock_vectors() -> list[Vector]:
    one = _DEVICES[0]
    ticks = [
        ("first", clock.ZERO, 1_700_000_000_000),
        ("time moved on", clock.pack(1000, 7, _DEVICES[1]), 1001),
        ("same millisecond", clock.pack(1000, 7, _DEVICES[1]), 1000),
        ("time went back", clock.pack(1000, 7, _DEVICES[1]), 3),
        ("counter is spent", clock.pack(1000, 0xFFFF, one), 1000),
        ("negative time", clock.pack(5, 0, one), -1),
        ("past 48 bits", clock.pack(5, 0, one), 2**48),
    ]
    result = [
        _vector(
            f"tick-{n}",
            comment,
            {"last": last.hex(), "now_ms": now, "device": one.hex()},
            clock.tick(last, now, one).hex(),
        )
        for n, (comment, last, now) in enumerate(ticks)
    ]
    observed = [
        ("older", clock.pack(2000, 0, one), clock.pack(1000, 0, _DEVICES[1])),
        ("newer", clock.pack(1000, 0, one), clock.pack(2000, 0, _DEVICES[1])),
        ("at the bound", clock.pack(1000, 0, one), clock.pack(61_000, 0, _DEVICES[1])),
        ("beyond the bound", clock.pack(1000, 0, one), clock.pack(61_001, 0, _DEVICES[1])),
        ("device decides", clock.pack(1000, 3, one), clock.pack(1000, 3, _DEVICES[2])),
    ]
    return result + [
        _vector(
            f"observe-{n}",
            comment,
            {"last": last.hex(), "seen": seen.hex(), "now_ms": 1000, "max_ahead_ms": 60_000},
            clock.observe(last, seen, 1000, 60_000).hex(),
        )
        for n, (comment, last, seen) in enumerate(observed)
    ]


def _canonical_vectors() -> list[Vector]:
    rng = random.Random(SEED)
    changes = [_random_change(rng, values.encode(text)) for text in _TEXTS]
    changes.append(
        Change(
            clk=b"\xff" * 16,
            etype=65535,
            eid=b"\xff" * 16,
            field=65535,
            scope=bytes(16),
            kid=2**32 - 1,
            value=bytes(range(256)) * 3,
        )
    )
    vectors = [
        _vector(
            f"bytes-{n}",
            "one change",
            {"dseq": dseq, "change": describe(change)},
            canonical.canonical_bytes(dseq, change).hex(),
        )
        for n, (dseq, change) in enumerate(
            zip([1, 2, 255, 256, 65536, 2**32, 2**40, 2**53 - 1, 7], changes, strict=True)
        )
    ]
    hashes = canonical.fold_hashes(canonical.FIRST_HASH, 1, changes)
    vectors.append(
        _vector(
            "chain",
            "the chain from dseq 1",
            {"previous": canonical.FIRST_HASH.hex(), "first_dseq": 1, "changes": [describe(c) for c in changes]},
            [value.hex() for value in hashes],
        )
    )
    return vectors


def _merge_vectors() -> list[Vector]:
    vectors = []
    for n in range(8):
        rng = random.Random(SEED + n)
        entities = [rng.randbytes(16) for _ in range(3)]
        changes = [
            Change(
                clk=clock.pack(rng.randrange(4), rng.randrange(2), rng.choice(_DEVICES)),
                etype=rng.choice([2, 3, 99]),
                eid=rng.choice(entities),
                field=rng.randrange(3),
                scope=entities[0],
                kid=0,
                value=values.encode(rng.choice(_TEXTS)),
            )
            for _ in range(16)
        ]
        cells: dict[Any, Change] = {}
        merge(cells, changes)
        ordered = [describe(cells[key]) for key in sorted(cells)]
        vectors.append(
            _vector(f"merge-{n}", "few clocks, so equal ones occur", [describe(c) for c in changes], ordered)
        )
    return vectors


def _purge_vectors() -> list[Vector]:
    vectors = []
    for n in range(6):
        rng = random.Random(SEED * 3 + n)
        changes = [_scoped_change(rng) for _ in range(16)]
        cells: dict[Any, Change] = {}
        merge(cells, changes)
        ordered = [describe(cells[key]) for key in sorted(cells)]
        vectors.append(_vector(f"purge-{n}", "some conversations end", [describe(c) for c in changes], ordered))
    return vectors


def _scoped_change(rng: random.Random) -> Change:
    """Return a change whose entity always has the same conversation; some are purges."""
    number = rng.randrange(3)
    scope = bytes([number]) * 16
    is_purge = rng.random() < 0.1
    etype = EntityType.CONVERSATION if is_purge else rng.choice([EntityType.CONVERSATION, EntityType.MESSAGE])
    return Change(
        clk=clock.pack(rng.randrange(6), rng.randrange(2), rng.choice(_DEVICES)),
        etype=etype,
        eid=scope if etype == EntityType.CONVERSATION else bytes([number]) * 15 + bytes([rng.randrange(2)]),
        field=ConversationField.PURGED if is_purge else rng.randrange(1, 4),
        scope=scope,
        kid=0,
        value=values.encode(rng.choice(_TEXTS)),
    )


def _digest_vectors() -> list[Vector]:
    vectors = []
    for n, count in enumerate((0, 1, 2, 9)):
        rng = random.Random(SEED * 4 + n)
        cells: dict[Any, Change] = {}
        merge(cells, [_scoped_change(rng) for _ in range(count)])
        folded = digest((cell.clk, cell.etype, cell.eid, cell.field) for cell in cells.values())
        result = {"count": folded[0], "digest": folded[1].hex()}
        vectors.append(_vector(f"digest-{n}", "tombstones do not count", [describe(c) for c in cells.values()], result))
    return vectors


def _segment_vectors() -> list[Vector]:
    vectors = []
    for n, entities in enumerate((1, 2, 5)):
        rng = random.Random(SEED * 5 + n)
        scope = rng.randbytes(16)
        cells = [
            (rng.randbytes(16), 3, eid, field, scope, 0, values.encode(rng.choice(_TEXTS)), rng.randrange(2**53))
            for eid in (rng.randbytes(16) for _ in range(entities))
            for field in range(1, rng.randrange(2, 5))
        ]
        result = [describe(PulledChange(*cell)) | {"seq": cell[7]} for cell in cells]
        vectors.append(_vector(f"segment-{n}", "some entities", pack_segment(cells).hex(), result))
    return vectors


def _value_vectors() -> list[Vector]:
    parent = uuid7(1_700_000_000_000, bytes(10))
    samples: list[tuple[str, bytes, Any]] = [
        ("header", values.encode(values.Header(role="user")), {"role": "user", "parent": None}),
        (
            "header",
            values.encode(values.Header(role="assistant", parent=parent)),
            {"role": "assistant", "parent": parent.hex()},
        ),
        ("header", values.encode({"role": "user", "parent": None, "later": [1]}), {"role": "user", "parent": None}),
        ("header", values.encode({"role": "owner", "parent": None}), None),
        ("header", values.encode({"parent": None}), None),
        ("header", values.encode({"role": "user", "parent": b"short"}), None),
        ("header", b"", None),
        ("header", b"\xc1", None),
        ("text", values.encode("Привет"), "Привет"),
        ("text", values.encode(7), None),
        ("text", b"\xa2\xed\xa0", None),
        ("flag", values.encode(True), True),
        ("flag", values.encode(1), None),
        ("state", values.encode(values.State(state="done", completion_tokens=3)), "done"),
        ("state", values.encode({"state": "dreaming"}), None),
        ("main_node", values.encode(parent), parent.hex()),
        ("main_node", values.encode(None), "whichever"),
        ("main_node", values.encode(b"short"), None),
        ("main_node", values.encode(parent.hex()), None),
        ("asleep_policy", values.encode("wait"), "wait"),
        ("asleep_policy", values.encode("another"), "another"),
        ("asleep_policy", values.encode("ask"), "ask"),
        ("asleep_policy", values.encode("sleep"), None),
        ("asleep_policy", values.encode(1), None),
    ]
    return [
        _vector(f"value-{n}", kind, {"kind": kind, "bytes": data.hex()}, result)
        for n, (kind, data, result) in enumerate(samples)
    ]


def _message_vectors() -> list[Vector]:
    vectors = []
    for n in range(16):
        rng = random.Random(SEED * 2 + n)
        conversation = uuid7(1_700_000_000_000, rng.randbytes(10))
        cells = _random_conversation(rng, conversation)
        folded = messages.fold(cells)
        leaf_cell = next((c for c in cells if c.etype == EntityType.CONVERSATION), None)
        leaf = values.decode(leaf_cell.value, bytes) if leaf_cell else None
        result = {
            "messages": sorted(identifier.hex() for identifier in folded),
            "path": [message.id.hex() for message in messages.active_path(folded, leaf)],
            "roots": [message.id.hex() for message in messages.children(folded, None)],
            "runnable": sorted(
                m.id.hex() for m in folded.values() if m.header.role == "assistant" and messages.is_runnable(folded, m)
            ),
        }
        vectors.append(_vector(f"tree-{n}", "a random conversation", [describe(c) for c in cells], result))
    return vectors


def _random_conversation(rng: random.Random, conversation: bytes) -> list[Change]:
    last = clock.ZERO
    cells: list[Change] = []

    def write(etype: int, eid: bytes, field: int, value: object) -> None:
        nonlocal last
        last = clock.tick(last, 1_700_000_000_000 + rng.randrange(50), rng.choice(_DEVICES))
        cells.append(
            Change(clk=last, etype=etype, eid=eid, field=field, scope=conversation, kid=0, value=values.encode(value))
        )

    known: list[bytes | None] = [None]
    for step in range(rng.randrange(2, 14)):
        identifier = uuid7(1_700_000_000_000 + step, rng.randbytes(10))
        role: values.Role = rng.choice(("user", "assistant", "assistant"))
        parent = rng.choice([*known, known[-1], known[-1]])
        if rng.random() < 0.93:
            write(EntityType.MESSAGE, identifier, MessageField.HEADER, values.Header(role=role, parent=parent))
        write(EntityType.MESSAGE, identifier, MessageField.BODY, rng.choice(_TEXTS))
        if role == "assistant" and rng.random() < 0.8:
            state: values.AnswerState = rng.choice(("running", "done", "done", "stopped", "failed", "interrupted"))
            write(EntityType.MESSAGE, identifier, MessageField.STATE, values.State(state=state))
        if rng.random() < 0.15:
            write(EntityType.MESSAGE, identifier, MessageField.DELETED, rng.random() < 0.8)
        known.append(identifier)
    if rng.random() < 0.8:
        write(EntityType.CONVERSATION, conversation, ConversationField.ACTIVE_LEAF, rng.choice([k for k in known if k]))
    by_cell = {cell_key(cell): cell for cell in cells}
    shuffled = list(by_cell.values())
    rng.shuffle(shuffled)
    return shuffled


def _event_vectors() -> list[Vector]:
    answer = uuid7(1_700_000_000_000, bytes(10))
    samples = [f"{answer.hex()}:{n}" for n in (1, 42, 9_007_199_254_740_991)]
    samples += [f"{answer.hex()}:", f"{answer.hex()}", f"{'00' * 16}:3", f"{answer.hex()}:-1", f"{answer.hex()}:²", ""]
    result = []
    for n, text in enumerate(samples):
        try:
            number: int | None = runs.parse_event_id(text, answer)
        except ValueError:
            number = None
        result.append(_vector(f"event-{n}", "", {"text": text, "answer": answer.hex()}, number))
    return result


def _random_change(rng: random.Random, value: bytes) -> Change:
    return Change(
        clk=rng.randbytes(16),
        etype=rng.randrange(65536),
        eid=rng.randbytes(16),
        field=rng.randrange(65536),
        scope=rng.randbytes(16),
        kid=0,
        value=value,
    )


def _vector(identifier: str, comment: str, given: Any, result: Any) -> Vector:
    return {"id": identifier, "comment": comment, "input": given, "result": result}
