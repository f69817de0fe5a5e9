"""Bodies of /api/v1/nodes/{id}/people: who uses a PC, and who manages it."""

from __future__ import annotations

from msgspec import Struct

from shared.wire import Level


class NodePerson(Struct, frozen=True):
    """An account that a node serves. `is_you` is the caller's; others' ids are for who manages the node alone."""

    username: str
    level: Level
    is_you: bool
    account_id: str | None = None


class NodePeople(Struct, frozen=True):
    """GET /api/v1/nodes/{id}/people: all of them for who manages the node; for others themselves and who does."""

    people: list[NodePerson]


class ManagerChange(Struct, frozen=True):
    """POST /api/v1/nodes/{id}/manager: who manages the node from now on, and the caller's password."""

    account_id: str
    password: str
