"""The change record and the one registry of entity types and fields (rules L1-L3)."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

from shared.limits import CLOCK_BYTES, ENTITY_ID_BYTES, MAX_SEQUENCE, MAX_VALUE_BYTES

U16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Sequence = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]
EntityId = Annotated[bytes, Meta(min_length=ENTITY_ID_BYTES, max_length=ENTITY_ID_BYTES)]
ClockBytes = Annotated[bytes, Meta(min_length=CLOCK_BYTES, max_length=CLOCK_BYTES)]
Value = Annotated[bytes, Meta(max_length=MAX_VALUE_BYTES)]


class EntityType(IntEnum):
    """What a change writes to. Numbers are never reused."""

    SETTING = 1
    CONVERSATION = 2
    MESSAGE = 3
    ATTACHMENT = 4


class SettingField(IntEnum):
    """Fields of the account's settings, one entity whose id and scope are `SETTINGS_ID` (rules A)."""

    MAIN_NODE = 1
    ASLEEP_POLICY = 2


class ConversationField(IntEnum):
    """Fields of a conversation; its id is also its scope."""

    TITLE = 1
    ACTIVE_LEAF = 2
    DELETED = 3
    PINNED = 4
    ARCHIVED = 5
    PURGED = 6


class MessageField(IntEnum):
    """Fields of a message; its scope is the conversation."""

    HEADER = 1
    BODY = 2
    REQUEST = 3
    STATE = 4
    STOP = 5
    DELETED = 6


class AttachmentField(IntEnum):
    """Fields of an attachment; its scope is the conversation. BLOB is never encrypted: the server reads it (B6)."""

    INFO = 1
    BLOB = 2
    DELETED = 3


class Change(Struct, array_like=True, frozen=True):
    """One write of one field of one entity. Its `dseq` is its place in the device's log.

    On the wire it is an array of seven: at most 60 bytes of MessagePack beyond a value of up to 255 bytes.
    """

    clk: ClockBytes
    etype: U16
    eid: EntityId
    field: U16
    scope: EntityId
    kid: U32
    value: Value


class PulledChange(Change, array_like=True, frozen=True):
    """A change as the server gives it out, with the account's sequence number."""

    seq: Sequence


SETTINGS_ID = bytes(ENTITY_ID_BYTES)

CellKey = tuple[int, bytes, int]


def cell_key(change: Change) -> CellKey:
    """Return (entity type, entity id, field): the cell that the change writes."""
    return (change.etype, change.eid, change.field)


def is_purge(change: Change) -> bool:
    """Say whether the change ends its conversation for ever (rule L18), whatever its value."""
    is_field = change.etype == EntityType.CONVERSATION and change.field == ConversationField.PURGED
    return is_field and change.eid == change.scope
