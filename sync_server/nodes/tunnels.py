"""Which nodes are connected, and what everybody is told about it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from shared.candidates import same_nat
from shared.errors import DomovoiError
from shared.node_status import NodeStatus
from shared.wire import LogNews, Node, Nodes
from sync_server import clock
from sync_server.nodes.nodes import grants_of, nodes_of, note_seen
from sync_server.tunnel.hub import TunnelHub

if TYPE_CHECKING:
    from shared.wire import Departure
    from sync_server.log.news import Hub, News
    from sync_server.nodes.node_login import NodeLogins
    from sync_server.store.database import Database
    from sync_server.tunnel.link import Link

log = logging.getLogger(__name__)

# A node that changes its transport is not away, seconds. Calls wait that long for it, and it stays awake for its apps.
CHANGING_S = 3.0


class _Connection:
    """A node that is there, and the accounts whose news it gets."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.since_ms = clock.now_ms()
        self.status: NodeStatus | None = None
        # What carries it and where from, as was told last.
        self.way: tuple[str | None, str] = (None, "")
        self.accounts: set[bytes] = set()
        self.listening = ExitStack()
        self.changed = asyncio.Event()
        self.leaving: asyncio.TimerHandle | None = None
        self.announcer: asyncio.Task[None] | None = None


class Tunnels:
    """Knows who is connected through `transports`, and publishes presence."""

    def __init__(self, database: Database, logins: NodeLogins, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._connected: dict[bytes, _Connection] = {}
        self._goodbyes: set[asyncio.Task[None]] = set()
        self.transports = TunnelHub(logins.verify, self._on_status, self._on_change)

    def __len__(self) -> int:
        return len(self._connected)

    def find(self, node_id: bytes) -> Link | None:
        """Return the node's end of its session, or None while it is not connected."""
        connection = self._connected.get(node_id)
        return None if connection is None else connection.link

    def close(self) -> None:
        """End every session: the server stops."""
        self.transports.close()

    async def nodes(self, account_id: bytes, address: str) -> Nodes:
        """Return the nodes that serve the account and how they are, for a device that is seen at an address."""
        return self.as_seen_from(await self._nodes(account_id), address)

    def as_seen_from(self, nodes: Nodes, address: str) -> Nodes:
        """Return the same nodes, and which of them may be in the household of a device that is seen at an address."""
        links = {node_id.hex(): connection.link for node_id, connection in self._connected.items()}
        return Nodes(
            [
                replace(node, same_nat=node.node_id in links and same_nat(links[node.node_id].address, address))
                for node in nodes.nodes
            ]
        )

    async def _nodes(self, account_id: bytes) -> Nodes:
        nodes = []
        for row in await nodes_of(self._database, account_id):
            connection = self._connected.get(row["node_id"])
            since_ms = row["last_seen_ms"] if connection is None else connection.since_ms
            status = None if connection is None else connection.status
            awake = connection is not None
            transport = None if connection is None else connection.link.transport
            departure = None if awake else row["departure"]
            known = (row["node_id"].hex(), row["name"], awake, since_ms, status, row["level"], transport)
            nodes.append(Node(*known, departure=departure))
        return Nodes(nodes)

    async def grants_changed(self, *accounts: bytes) -> None:
        """Tell the connected nodes that they serve other accounts than before, and everybody whom it concerns.

        `accounts` are those that have other nodes than before: one that is away tells nobody itself.
        """
        await self._publish(set(accounts))
        for node_id, connection in tuple(self._connected.items()):
            before = connection.accounts
            await self._listen(node_id, connection)
            connection.link.poke("", 0)
            await self._publish(before | connection.accounts)

    def revocations_changed(self) -> None:
        """Have the connected nodes ask for what was revoked, within a second."""
        for connection in self._connected.values():
            connection.link.poke("", 0)

    # For the transports.

    def _on_status(self, node_id: bytes, payload: bytes) -> None:
        connection = self._connected.get(node_id)
        try:
            status = msgspec.msgpack.decode(payload, type=NodeStatus)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("the status of %s can't be read: %s", node_id.hex(), error)
            return
        if connection is not None:
            connection.status = status
            connection.changed.set()

    def _on_change(self, node_id: bytes) -> None:
        connection = self._connected.get(node_id)
        link = self.transports.find(node_id)
        if link is None:
            if connection is not None:
                self._await_return(node_id, connection)
            return
        if connection is None:
            connection = self._connected[node_id] = _Connection(link)
            connection.announcer = asyncio.create_task(self._announce(node_id, connection))
        if connection.leaving is not None:
            connection.leaving.cancel()
            connection.leaving = None
        if connection.way != (link.transport, link.address):
            connection.way = (link.transport, link.address)
            connection.changed.set()

    def _await_return(self, node_id: bytes, connection: _Connection) -> None:
        """Give the node time to come back, unless it has said that it goes."""
        if connection.leaving is not None:
            connection.leaving.cancel()
        wait_s = 0.0 if connection.link.is_over else CHANGING_S
        connection.leaving = asyncio.get_running_loop().call_later(wait_s, self._leave, node_id, connection)

    def _leave(self, node_id: bytes, connection: _Connection) -> None:
        """The node has not come back in time."""
        del self._connected[node_id]
        connection.link.refuse_waiting()
        connection.listening.close()
        if connection.announcer is not None:
            connection.announcer.cancel()
        goodbye = asyncio.create_task(self._note(node_id, connection.accounts, connection.link.departure))
        self._goodbyes.add(goodbye)
        goodbye.add_done_callback(self._goodbyes.discard)

    # Presence.

    async def _listen(self, node_id: bytes, connection: _Connection) -> None:
        """Have the node poked for the accounts that it serves now."""
        accounts = {grant.account_id for grant in await grants_of(self._database, node_id)}
        connection.listening.close()
        if self._connected.get(node_id) is not connection:
            return
        for account_id in accounts:
            listener = partial(_poke, connection.link, account_id.hex())
            connection.listening.enter_context(self._hub.listening(account_id, listener))
        connection.accounts = accounts

    async def _announce(self, node_id: bytes, connection: _Connection) -> None:
        """Publish presence whenever the node connects or says how it is; what piles up is said once."""
        while True:
            try:
                await self._listen(node_id, connection)
                break
            except DomovoiError as error:
                log.warning("the accounts of %s can't be read: %s", node_id.hex(), error)
                await asyncio.sleep(CHANGING_S)
        connection.changed.set()
        while True:
            await connection.changed.wait()
            connection.changed.clear()
            await self._note(node_id, connection.accounts)

    async def _note(self, node_id: bytes, accounts: set[bytes], departure: Departure | None = None) -> None:
        """Remember when the node was there, and how it has gone if it has; tell its accounts."""
        try:
            await note_seen(self._database, node_id, departure)
            await self._publish(accounts)
        except DomovoiError as error:
            log.warning("presence of %s not published: %s", node_id.hex(), error)

    async def _publish(self, accounts: set[bytes]) -> None:
        for account_id in accounts:
            self._hub.publish(account_id, await self._nodes(account_id))


def _poke(link: Link, account_id: str, news: News) -> None:
    if isinstance(news, LogNews):
        link.poke(account_id, news.head)
