"""Which nodes are connected, and what everybody is told about it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from shared.errors import DomovoiError
from shared.limits import MAX_FRAME_PAYLOAD_BYTES, TUNNEL_PING_AFTER_S, TUNNEL_WELCOME_S
from shared.tunnel import frames
from shared.tunnel.frames import Fault, Frame, FrameError, FrameType
from shared.tunnel.payloads import HelloPayload, ResetPayload, WelcomePayload
from shared.wire import LogNews, Node, Nodes
from sync_server.nodes.nodes import grants_of, nodes_of, note_seen
from sync_server.nodes.tunnel import Tunnel

if TYPE_CHECKING:
    from sync_server.log.news import Hub, News
    from sync_server.nodes.node_login import NodeLogins
    from sync_server.store.database import Database

log = logging.getLogger(__name__)

NORMAL_CLOSE = 1000
PROTOCOL_ERROR = 1002
POLICY_VIOLATION = 1008
REPLACED = 4000


class _Connection:
    """A tunnel and the accounts whose news it gets."""

    def __init__(self, websocket: WebSocket) -> None:
        self.accounts: set[bytes] = set()
        self.listening = ExitStack()
        self.changed = asyncio.Event()
        self.tunnel = Tunnel(websocket, self.changed.set)


class Tunnels:
    """Lets nodes in, keeps the newest connection of each (rule T2), and publishes presence."""

    def __init__(self, database: Database, logins: NodeLogins, hub: Hub) -> None:
        self._database = database
        self._logins = logins
        self._hub = hub
        self._connected: dict[bytes, _Connection] = {}
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._connected)

    def find(self, node_id: bytes) -> Tunnel | None:
        """Return the node's tunnel, or None while it is not connected."""
        connection = self._connected.get(node_id)
        return None if connection is None else connection.tunnel

    async def nodes(self, account_id: bytes) -> Nodes:
        """Return the nodes that serve the account and how they are."""
        nodes = []
        for row in await nodes_of(self._database, account_id):
            tunnel = self.find(row["node_id"])
            since_ms = row["last_seen_ms"] if tunnel is None else tunnel.since_ms
            status = None if tunnel is None else tunnel.status
            nodes.append(Node(row["node_id"].hex(), row["name"], tunnel is not None, since_ms, status, row["level"]))
        return Nodes(nodes)

    async def grants_changed(self) -> None:
        """Tell the connected nodes that they serve other accounts than before."""
        for node_id, connection in tuple(self._connected.items()):
            before = connection.accounts
            await self._listen(node_id, connection)
            connection.tunnel.poke("", 0)
            await self._publish(before | connection.accounts)

    def revocations_changed(self) -> None:
        """Have the connected nodes ask for what was revoked, within a second."""
        for connection in self._connected.values():
            connection.tunnel.poke("", 0)

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one node's WebSocket from HELLO to its end."""
        await websocket.accept()
        code = PROTOCOL_ERROR
        try:
            node_id, rest = await self._let_in(websocket)
            code = await self._run(websocket, node_id, rest)
        except DomovoiError as error:
            payload = msgspec.msgpack.encode(ResetPayload(error.code))
            with suppress(WebSocketDisconnect):
                await websocket.send_bytes(frames.encode(Frame(FrameType.GOAWAY, payload=payload)))
            code = POLICY_VIOLATION
        except (FrameError, msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
            log.warning("a tunnel broke the protocol: %s", error)
        except (TimeoutError, WebSocketDisconnect):
            code = NORMAL_CLOSE
        if websocket.client_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect):
                await websocket.close(code)

    async def _let_in(self, websocket: WebSocket) -> tuple[bytes, list[Frame]]:
        """Read HELLO and answer WELCOME; return who it is, and frames that came along."""
        async with asyncio.timeout(TUNNEL_WELCOME_S):
            received = list(frames.decode(await websocket.receive_bytes()))
        if not received or received[0].type is not FrameType.HELLO:
            raise FrameError(Fault.ORDER, "HELLO comes first")
        hello = msgspec.msgpack.decode(received[0].payload, type=HelloPayload)
        node_id = await self._logins.verify(hello.token)
        self._epoch += 1
        welcome = WelcomePayload(
            resumed=False,
            epoch=self._epoch,
            last_rx=0,
            heartbeat=TUNNEL_PING_AFTER_S,
            max_frame=MAX_FRAME_PAYLOAD_BYTES,
        )
        await websocket.send_bytes(frames.encode(Frame(FrameType.WELCOME, payload=msgspec.msgpack.encode(welcome))))
        return node_id, received[1:]

    async def _run(self, websocket: WebSocket, node_id: bytes, rest: list[Frame]) -> int:
        """Run the tunnel; return the code with which to close it."""
        connection = _Connection(websocket)
        if (older := self._connected.get(node_id)) is not None:
            older.tunnel.close()
        self._connected[node_id] = connection
        announcer = asyncio.create_task(self._announce(node_id, connection))
        try:
            await self._listen(node_id, connection)
            connection.changed.set()
            await connection.tunnel.run(rest)
        finally:
            connection.listening.close()
            announcer.cancel()
            is_current = self._connected.get(node_id) is connection
            if is_current:
                del self._connected[node_id]
                await self._note(node_id, connection.accounts)
        return NORMAL_CLOSE if is_current else REPLACED

    async def _listen(self, node_id: bytes, connection: _Connection) -> None:
        """Have the node poked for the accounts that it serves now."""
        accounts = {grant.account_id for grant in await grants_of(self._database, node_id)}
        connection.listening.close()
        for account_id in accounts:
            listener = partial(_poke, connection.tunnel, account_id.hex())
            connection.listening.enter_context(self._hub.listening(account_id, listener))
        connection.accounts = accounts

    async def _announce(self, node_id: bytes, connection: _Connection) -> None:
        """Publish presence whenever the node connects or says how it is; what piles up is said once."""
        while True:
            await connection.changed.wait()
            connection.changed.clear()
            await self._note(node_id, connection.accounts)

    async def _note(self, node_id: bytes, accounts: set[bytes]) -> None:
        """Remember when the node was there, and tell its accounts."""
        try:
            await note_seen(self._database, node_id)
            await self._publish(accounts)
        except DomovoiError as error:
            log.warning("presence of %s not published: %s", node_id.hex(), error)

    async def _publish(self, accounts: set[bytes]) -> None:
        for account_id in accounts:
            self._hub.publish(account_id, await self.nodes(account_id))


def _poke(tunnel: Tunnel, account_id: str, news: News) -> None:
    if isinstance(news, LogNews):
        tunnel.poke(account_id, news.head)
