"""The JSON Schema of every body, event and value, from the Structs themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from shared import (
    candidates,
    change,
    errors,
    invitation_wire,
    key_wire,
    library_wire,
    node_status,
    pairing_wire,
    people_wire,
    renewal_wire,
    runs,
    sealed_wire,
    values,
    wire,
)

_VALUES = (values.Header, values.Request, values.State, values.Attachment)
_EVENTS = (runs.Started, runs.Text, runs.Notice, runs.Ended)
_WIRES = (
    *(wire, invitation_wire, library_wire, key_wire, pairing_wire, people_wire, renewal_wire, sealed_wire),
    *(candidates, node_status),
)
_BODIES = tuple(
    member
    for module in _WIRES
    for member in vars(module).values()
    if isinstance(member, type) and issubclass(member, msgspec.Struct) and member.__module__ == module.__name__
)
_ARRAYS = (change.Change, change.PulledChange)
STRUCTS: tuple[type[msgspec.Struct], ...] = (*_ARRAYS, *_VALUES, *_EVENTS, *_BODIES, errors.Problem)


def protocol_schema() -> dict[str, Any]:
    """Return one JSON Schema (2020-12) document whose `$defs` are all the Structs of the protocol."""
    _, definitions = msgspec.json.schema_components(STRUCTS)
    for struct in _ARRAYS:
        # The schema of an array forgets its members' names; twins want them.
        members = definitions[struct.__name__]["prefixItems"]
        for name, member in zip(struct.__struct_fields__, members, strict=True):
            member["title"] = name
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The Domovoi protocol, version 1",
        "$defs": dict(sorted(definitions.items())),
    }
