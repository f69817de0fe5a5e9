"""Keeps what the node publishes true to the machine: looks at its addresses, and opens and closes doors there."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from inference_node.network.certificate import CertificateError, tls_context
from inference_node.network.interfaces import read_table
from inference_node.network.listeners import Listeners, Place
from inference_node.network.ranking import Found, usable
from inference_node.network.seen_at import keep_seen_at
from inference_node.network.telling import of_addresses, of_outside
from inference_node.tunnel.sleep import watch_sleep
from shared.candidates import Candidate
from shared.limits import MAX_CANDIDATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from inference_node.network.certificate import Certificate
    from inference_node.network.interfaces import InterfaceAddress
    from inference_node.network.local_network import LocalNetwork

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0


class Network:
    """Listens where its owner lets it, and knows at which addresses it is found (rules D).

    `is_paired` says whether anybody is served at all; `on_moved` is called when the machine has other addresses than
    before, `on_candidates` when those that are published change. Where this PC is found it tells its owner in the log,
    and what the server says of it is kept in `seen_at`.
    """

    def __init__(  # noqa: PLR0913  # named, all of them
        self,
        application: ASGIApp,
        *,
        port: int,
        tls_port: int,
        origins: Iterable[str],
        certificate: Certificate | None,
        allowed: LocalNetwork,
        is_paired: Callable[[], bool],
        server_url: str,
        seen_at: Path,
        on_moved: Callable[[], None],
        on_candidates: Callable[[], None],
        read: Callable[[], list[InterfaceAddress]] = read_table,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._port = port
        self._tls_port = tls_port
        self._certificate = certificate
        self._allowed = allowed
        self._is_paired = is_paired
        self._server_url = server_url
        self._seen_at = seen_at
        self._on_moved = on_moved
        self._on_candidates = on_candidates
        self._read = read
        self._look_every_s = look_every_s
        self._tls = tls_context()
        self._listeners = Listeners(application, origins, self._tls)
        self._addresses: list[Found] | None = None
        self._names: list[str] = []
        self._mark: tuple[int, ...] | None = None
        self._trouble = ""
        # All that the machine has, offered or not; what the server said; and what the owner was told.
        self._own: set[str] = set()
        self._outside = ""
        self._told: list[str] = []
        self._bell = asyncio.Event()
        self.candidates = [Candidate("http", "localhost", port, "loopback")]

    @property
    def is_allowed(self) -> bool:
        """Whether the owner lets it answer on the network at home."""
        return self._allowed.is_on

    def allow(self, *, is_on: bool) -> None:
        """Do as the owner says from now on. Raises DomovoiError where a setting says otherwise."""
        self._allowed.switch(is_on=is_on)
        self.look()

    def look(self) -> None:
        """Look at once: something has changed."""
        self._bell.set()

    def seen_from_outside(self, address: str) -> None:
        """The server says where it sees this PC at; an older one says nothing."""
        if not address:
            return
        keep_seen_at(self._seen_at, self._server_url, address)
        self._outside = address
        self.look()

    async def run(self) -> None:
        """Look every few seconds and after each sleep, until cancelled; then close the doors."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(watch_sleep(self.look))
                group.create_task(self._keep_looking())
        finally:
            await self._listeners.close()

    async def _keep_looking(self) -> None:
        while True:
            await self._refresh()
            try:
                async with asyncio.timeout(self._look_every_s):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()

    async def _refresh(self) -> None:
        try:
            table = await asyncio.to_thread(self._read)
        except OSError as error:
            log.warning("this machine's addresses can't be read: %s", error)
            return
        addresses = usable(table)
        self._own = {row.address for row in table}
        has_moved = self._addresses is not None and set(self._addresses) != set(addresses)
        self._addresses = addresses
        await self._listeners.listen_at(self._wanted(addresses))
        candidates = self._candidates(addresses)
        if has_moved:
            self._on_moved()
        if candidates != self.candidates:
            self.candidates = candidates
            self._on_candidates()
        self._tell(addresses)

    def _tell(self, addresses: list[Found]) -> None:
        """Tell the owner where this PC is found, and again whatever of it has changed."""
        lines = [f"found {line}" for line in self._lines(addresses)]
        for line in lines:
            if line not in self._told:
                log.info(line)
        self._told = lines

    def _lines(self, addresses: list[Found]) -> Iterator[str]:
        listening = {place.address for place in self._listeners.places if not place.is_tls}
        is_allowed, is_paired = self._allowed.is_on, self._is_paired()
        yield from of_addresses(addresses, listening, self._port, is_allowed=is_allowed, is_paired=is_paired)
        yield from (f"from the network at home, by its name: {named.base}" for named in self._named())
        if self._outside:
            yield of_outside(self._outside, self._own, self._server_url)

    def _wanted(self, addresses: list[Found]) -> list[Place]:
        if not self._allowed.is_on or not self._is_paired():
            return []
        self._read_certificate()
        plain = [Place(found.address, self._port, frozenset({found.host})) for found in addresses]
        if not self._names:
            return plain
        names = frozenset(self._names)
        return [*plain, *(Place(found.address, self._tls_port, names, is_tls=True) for found in addresses)]

    def _read_certificate(self) -> None:
        """Take the certificate again if its files are others than before; keep the old one if the new can't be used."""
        if self._certificate is None:
            return
        try:
            mark = self._certificate.mark
            if mark != self._mark:
                self._certificate.load_into(self._tls)
                self._names = self._certificate.names()
                self._mark = mark
            self._trouble = ""
        except CertificateError as error:
            if str(error) != self._trouble:
                log.warning("the certificate can't be used: %s", error)
            self._trouble = str(error)

    def _candidates(self, addresses: list[Found]) -> list[Candidate]:
        listening = {place.address for place in self._listeners.places if not place.is_tls}
        plain = [
            Candidate("http", found.host, self._port, found.kind) for found in addresses if found.address in listening
        ]
        return [*self._named(), *plain, Candidate("http", "localhost", self._port, "loopback")][:MAX_CANDIDATES]

    def _named(self) -> list[Candidate]:
        hosts = {host for place in self._listeners.places if place.is_tls for host in place.hosts}
        return [Candidate("https", name, self._tls_port, "name") for name in self._names if name in hosts]
