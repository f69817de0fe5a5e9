"""Nodes that introduce themselves through the data folder, as `domovoi up` has its own do.

Whoever can write there could replace the database too, so a file in `<data>/enrolment` needs no further proof.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from shared import private_files
from shared.errors import DomovoiError
from shared.identifiers import from_hex, node_id
from shared.jws import base64url, from_base64url, public_key_from
from shared.limits import NODE_ID_BYTES
from sync_server.accounts.names import checked_device_name
from sync_server.nodes.nodes import NodeKey, add_shared_node
from sync_server.store.database import Database, DuplicateKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)


class _Enrolment(Struct):
    node_id: str
    name: str
    public_key: str


def introduce_server(folder: Path, root: bytes) -> None:
    """Leave the server's root key for nodes that share the data folder: they need not take anybody's word for it."""
    private_files.make_folder(folder)
    private_files.replace(folder / "server-root", base64url(root).encode())


async def enrol_from(folder: Path, database: Database) -> None:
    """Store every node of the folder that is not known yet. Raises DomovoiError database_unavailable."""
    for key in _read(folder):
        try:
            await database.transact(lambda connection, key=key: add_shared_node(connection, key))  # type: ignore[misc]
        except DuplicateKey:
            continue
        log.info("node %s (%s) enrolled", key.node_id.hex(), key.name)


def checked_key(node_id_hex: str, name: str, public_key: str) -> NodeKey:
    """Return a node's key. Raises ValueError for one that can't be a node's own, DomovoiError for a bad name."""
    identifier, raw = from_hex(node_id_hex, NODE_ID_BYTES), from_base64url(public_key)
    public_key_from(raw)
    if node_id(raw) != identifier:
        raise ValueError("the id is not that of the key")
    return NodeKey(identifier, checked_device_name(name), raw)


def _read(folder: Path) -> Iterator[NodeKey]:
    for path in sorted(folder.glob("*.json")):
        try:
            enrolment = msgspec.json.decode(path.read_bytes(), type=_Enrolment)
            yield checked_key(enrolment.node_id, enrolment.name, enrolment.public_key)
        except (OSError, ValueError, DomovoiError) as error:
            log.warning("%s is not a node's enrolment: %s", path.name, error)
