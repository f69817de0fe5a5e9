"""Leases of answers that were asked of any node (rules Q9, Q10): claimed before a run, renewed while it goes on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from inference_node.server.server_api import ServerApi, Unreachable
from shared.errors import Code, DomovoiError
from shared.limits import LEASE_S
from shared.wire import LeaseRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inference_node.runs.runs import Runs
    from inference_node.server.grants import Grants

log = logging.getLogger(__name__)

RENEW_EVERY_S = LEASE_S / 3


class Leases:
    """The leases of this node. `catch_up` reads an account's log up to now."""

    def __init__(
        self, server: ServerApi, grants: Grants, runs: Runs, catch_up: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._server = server
        self._grants = grants
        self._runs = runs
        self._catch_up = catch_up
        # (account, answer) → token
        self._kept: dict[tuple[bytes, bytes], bytes] = {}

    async def claim(self, account: bytes, answer: bytes) -> bytes | None:
        """Return the token of the answer's lease, with all in the log that came before it; None when there is none."""
        try:
            access = await self._grants.token(account)
            if access is None:
                return None
            lease = await self._server.lease(access, LeaseRequest(answer, "claim"))
            await self._catch_up(account)
        except (DomovoiError, Unreachable) as error:
            log.info("answer %s is not this node's: %s", answer.hex(), error)
            return None
        return lease.token

    def keep(self, account: bytes, answer: bytes, token: bytes) -> None:
        """Renew the lease for as long as the answer's run goes on."""
        self._kept[account, answer] = token

    async def release(self, account: bytes, answer: bytes, token: bytes) -> None:
        """Leave the answer to others. If they can't be told, the lease runs out."""
        self._kept.pop((account, answer), None)
        try:
            access = await self._grants.token(account)
            await self._server.lease(access or "", LeaseRequest(answer, "release", token))
        except (DomovoiError, Unreachable) as error:
            log.info("the lease of %s was not released: %s", answer.hex(), error)

    async def run(self) -> None:
        """Renew what is kept, for ever."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            await self.renew()

    async def renew(self) -> None:
        """Renew every lease of a run that goes on, and stop the runs whose lease has gone to another node."""
        for (account, answer), token in tuple(self._kept.items()):
            if not self._runs.is_open(account, answer):
                self._kept.pop((account, answer), None)
                continue
            try:
                access = await self._grants.token(account)
                await self._server.lease(access or "", LeaseRequest(answer, "renew", token))
            except (DomovoiError, Unreachable) as error:
                log.info("the lease of %s was not renewed: %s", answer.hex(), error)
                if isinstance(error, DomovoiError) and error.code is Code.LEASE_LOST:
                    self._kept.pop((account, answer), None)
                    self._runs.stop(account, answer)
