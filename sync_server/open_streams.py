"""What a device holds open: ended when the device is revoked, its token runs out, or the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from sync_server import clock

if TYPE_CHECKING:
    from sync_server.accounts.caller import Caller

Close = Callable[[], None]
_Closers = dict[tuple[bytes, bytes], list[Close]]


class OpenStreams:
    """Every open event stream and relayed call, by device, and relayed calls by node too."""

    def __init__(self) -> None:
        self._by_device: _Closers = {}
        self._by_node: _Closers = {}

    @contextmanager
    def holding(self, caller: Caller, close: Close, node_id: bytes | None = None) -> Iterator[None]:
        """Call `close` if the stream, which may lead to a node, must end before the context does."""
        loop = asyncio.get_running_loop()
        with ExitStack() as held:
            held.enter_context(_kept(self._by_device, (caller.account_id, caller.device_id), close))
            if node_id is not None:
                held.enter_context(_kept(self._by_node, (caller.account_id, node_id), close))
            expiry = loop.call_later(caller.expires_s - clock.now_ms() / 1000, close)
            held.callback(expiry.cancel)
            yield

    def close_device(self, account_id: bytes, device_id: bytes) -> None:
        """End what one device holds open."""
        for close in tuple(self._by_device.get((account_id, device_id), ())):
            close()

    def close_node(self, account_id: bytes, node_id: bytes) -> None:
        """End what all devices of the account hold open at one node."""
        for close in tuple(self._by_node.get((account_id, node_id), ())):
            close()

    def close_all(self) -> None:
        """End everything, so that the server can stop."""
        for closers in tuple(self._by_device.values()):
            for close in tuple(closers):
                close()

    def __len__(self) -> int:
        return sum(len(closers) for closers in self._by_device.values())


@contextmanager
def _kept(all_closers: _Closers, key: tuple[bytes, bytes], close: Close) -> Iterator[None]:
    closers = all_closers.setdefault(key, [])
    closers.append(close)
    try:
        yield
    finally:
        closers.remove(close)
        if not closers and all_closers.get(key) is closers:
            del all_closers[key]
