"""The node's tunnel to the server: how a phone far away reaches a PC that nobody can call (rules T, N)."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import TYPE_CHECKING

import msgspec

from inference_node.server.backoff import Backoff
from inference_node.server.server_api import Unreachable
from inference_node.tunnel.client import Client
from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.limits import ACCOUNT_ID_BYTES
from shared.tunnel.machine import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from inference_node.endpoints.status import Status
    from inference_node.server.grants import Grants
    from shared.tunnel.payloads import PokePayload

log = logging.getLogger(__name__)

NOT_PAIRED = (
    "this PC is not paired with %s. Choose House, Add a PC in the app there, and run here: domovoi node pair %s"
)


class Tunnel:
    """Stays connected, and serves what comes through. `on_poke` is called with an account, or None for all.

    `on_seen` is called with where the server sees this PC at, each time it has let it in.
    """

    def __init__(
        self,
        server_url: str,
        grants: Grants,
        status: Status,
        application: ASGIApp,
        on_poke: Callable[[bytes | None], None],
        on_seen: Callable[[str], None],
    ) -> None:
        self._url = server_url
        self._grants = grants
        self._status = status
        self._application = application
        self._on_poke = on_poke
        self._on_seen = on_seen
        self._client: Client | None = None
        self._told = b""
        self._grants_wanted = asyncio.Event()
        self._refusal: Code | None = None

    def status_changed(self) -> None:
        """Tell the server how the node is now, if it is otherwise than was told last."""
        status = msgspec.msgpack.encode(self._status.now())
        if self._client is not None and status != self._told and self._client.tell_status(status):
            self._told = status

    def network_changed(self) -> None:
        """The machine has other addresses: what is connected is asked at once, what waits is tried (rule N12)."""
        if self._client is not None:
            self._client.network_changed()

    async def run(self) -> None:
        """Connect, and connect again, for ever."""
        self._client = Client(self._url, self._application, self, Random())  # noqa: S311  # spreads waits, no secret
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refresh_grants())
            group.create_task(self._client.run())

    # For the client.

    def assertion(self) -> str:
        """Sign a login that can be used once."""
        return self._grants.assertion()

    def welcomed(self) -> None:
        """Tell the status anew, and look at grants and logs: what was poked while the node was away is lost."""
        self._told = b""
        self.status_changed()
        self._grants_wanted.set()
        if self._client is not None:
            self._on_seen(self._client.seen_at)

    def poked(self, poke: PokePayload) -> None:
        """Look at an account's log, or at the grants."""
        if not poke.account_id:
            self._grants_wanted.set()
            return
        try:
            self._on_poke(from_hex(poke.account_id, ACCOUNT_ID_BYTES))
        except ValueError:
            log.warning("the server poked for an account that is none")

    def denied(self) -> None:
        """Log in until it works, and then try the tunnel again."""
        self._grants_wanted.set()

    def _note_refusal(self, error: DomovoiError) -> None:
        """Say it once: the node asks again and again, and until it is paired the answer is the same."""
        if error.code is not self._refusal:
            if error.code is Code.NODE_UNKNOWN:
                log.warning(NOT_PAIRED, self._url, self._url)
            else:
                log.warning("the server refuses this node: %s", error.detail)
        self._refusal = error.code

    async def _refresh_grants(self) -> None:
        """Log in when something says so; until it works, again and again."""
        backoff = Backoff()
        while True:
            await self._grants_wanted.wait()
            self._grants_wanted.clear()
            try:
                await self._grants.refresh()
                self._refusal = None
                backoff.reset()
                if self._client is not None:
                    self._client.credentials_changed()
            except (DomovoiError, Unreachable) as error:
                if isinstance(error, DomovoiError):
                    self._note_refusal(error)
                else:
                    log.info("can't log in to the server: %s", error)
                await asyncio.sleep(backoff.next())
                # Without a tunnel, connecting will ask for it, except where connecting waits for this.
                if self._client is not None and self._client.state in _ASKING:
                    self._grants_wanted.set()


_ASKING = {State.WS_UP, State.SUSPECT, State.LP_UP, State.SWITCH, State.AUTH_STOP}
