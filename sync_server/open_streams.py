"""What a device holds open: ended when the device is revoked, its token runs out, or the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sync_server import clock

if TYPE_CHECKING:
    from sync_server.accounts.caller import Caller

Close = Callable[[], None]


class OpenStreams:
    """Every open event stream and relayed call, by device."""

    def __init__(self) -> None:
        self._closers: dict[tuple[bytes, bytes], list[Close]] = {}

    @contextmanager
    def holding(self, caller: Caller, close: Close) -> Iterator[None]:
        """Call `close` if the stream must end before the context does."""
        key = (caller.account_id, caller.device_id)
        closers = self._closers.setdefault(key, [])
        closers.append(close)
        expiry = asyncio.get_running_loop().call_later(caller.expires_s - clock.now_ms() / 1000, close)
        try:
            yield
        finally:
            expiry.cancel()
            closers.remove(close)
            if not closers and self._closers.get(key) is closers:
                del self._closers[key]

    def close_device(self, account_id: bytes, device_id: bytes) -> None:
        """End what one device holds open."""
        for close in tuple(self._closers.get((account_id, device_id), ())):
            close()

    def close_all(self) -> None:
        """End everything, so that the server can stop."""
        for closers in tuple(self._closers.values()):
            for close in tuple(closers):
                close()

    def __len__(self) -> int:
        return sum(len(closers) for closers in self._closers.values())
