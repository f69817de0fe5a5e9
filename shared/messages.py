"""The message tree of a conversation, folded from its cells (rules M1-M6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from shared import values
from shared.change import Change, EntityType, MessageField
from shared.values import Header, Request, State

if TYPE_CHECKING:
    from collections.abc import Iterable


class Message(Struct, frozen=True):
    """One message. `created` is the clock of its header, which also orders siblings."""

    id: bytes
    conversation: bytes
    created: bytes
    header: Header
    body: str
    request: Request | None
    state: State | None
    stop: bool
    deleted: bool


def fold(cells: Iterable[Change]) -> dict[bytes, Message]:
    """Return the messages whose header is known, by id; other entities are passed over (M1)."""
    fields_by_id: dict[bytes, dict[int, Change]] = {}
    for cell in cells:
        if cell.etype == EntityType.MESSAGE:
            fields_by_id.setdefault(cell.eid, {})[cell.field] = cell
    folded = (_message(identifier, fields) for identifier, fields in fields_by_id.items())
    return {message.id: message for message in folded if message is not None}


def _message(identifier: bytes, fields: dict[int, Change]) -> Message | None:
    header_cell = fields.get(MessageField.HEADER)
    header = values.decode(header_cell.value, Header) if header_cell else None
    if header_cell is None or header is None:
        return None

    def read(field: MessageField, kind: type[values._T]) -> values._T | None:
        cell = fields.get(field)
        return values.decode(cell.value, kind) if cell else None

    return Message(
        id=identifier,
        conversation=header_cell.scope,
        created=header_cell.clk,
        header=header,
        body=read(MessageField.BODY, str) or "",
        request=read(MessageField.REQUEST, Request),
        state=read(MessageField.STATE, State),
        stop=read(MessageField.STOP, bool) or False,
        deleted=read(MessageField.DELETED, bool) or False,
    )


def path_to(messages: dict[bytes, Message], leaf: bytes | None) -> list[Message] | None:
    """Return root to leaf, or None while an ancestor has not arrived (M2) or the parents form a ring."""
    path: list[Message] = []
    seen: set[bytes] = set()
    while leaf is not None:
        message = messages.get(leaf)
        if message is None or leaf in seen:
            return None
        seen.add(leaf)
        path.append(message)
        leaf = message.header.parent
    path.reverse()
    return path


def children(messages: dict[bytes, Message], parent: bytes | None) -> list[Message]:
    """Return the live children of `parent` (None: the roots) in order of creation (M3)."""
    found = [m for m in messages.values() if m.header.parent == parent and not m.deleted]
    return sorted(found, key=lambda message: (message.created, message.id))


def newest_leaf(messages: dict[bytes, Message], start: bytes | None) -> bytes | None:
    """Return the leaf reached from `start` by always taking the newest live child (M4)."""
    while below := children(messages, start):
        start = below[-1].id
    return start


def active_path(messages: dict[bytes, Message], active_leaf: bytes | None) -> list[Message]:
    """Return the branch to show: through `active_leaf` and on to the newest leaf below it (M5).

    A leaf that is missing, deleted or cut off from its root is ignored: the newest branch is shown.
    """
    path = path_to(messages, active_leaf) if active_leaf else None
    if not path or any(message.deleted for message in path):
        active_leaf = None
    leaf = newest_leaf(messages, active_leaf)
    return path_to(messages, leaf) or []


def is_runnable(messages: dict[bytes, Message], answer: Message) -> bool:
    """Say whether a queued answer may start: the answer before it is done or stopped (Q3)."""
    path = path_to(messages, answer.header.parent)
    if path is None or any(message.deleted for message in path):
        return False
    before = [message for message in path if message.header.role == "assistant"]
    if not before:
        return True
    state = before[-1].state
    return state is not None and state.state in values.CONTINUABLE_STATES
