"""News of accounts, from those who change something to those who hold a stream open. In this process only.

News of the log goes to every stream of the account, the pusher's too, but to that without the changes: it has them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.wire import DevicesNews, LogNews, Nodes

News = LogNews | Nodes | DevicesNews
Listener = Callable[[News], None]

# With at most 16 kB inline each, a stream that is not read holds half a megabyte.
MAX_WAITING = 32
# Devices that are greeted at once. When all of them come back after a restart, each is served whole, in its turn: were
# all served a little at a time, none would have its stream before the last one, and the database would be waited for
# until it is given up.
GREETED_AT_ONCE = 16


class Hub:
    """Who listens to which account."""

    def __init__(self) -> None:
        self._listeners: dict[bytes, list[tuple[Listener, bytes | None]]] = {}
        # Held while a reader is told where it begins.
        self.greeting = asyncio.Semaphore(GREETED_AT_ONCE)

    @contextmanager
    def listening(self, account_id: bytes, listener: Listener, device_id: bytes | None = None) -> Iterator[None]:
        """Call `listener` with the account's news, which must not block, until the context ends.

        `device_id` says who listens, if that is one device.
        """
        listeners = self._listeners.setdefault(account_id, [])
        listeners.append((listener, device_id))
        try:
            yield
        finally:
            listeners.remove((listener, device_id))
            if not listeners and self._listeners.get(account_id) is listeners:
                del self._listeners[account_id]

    def publish(self, account_id: bytes, news: News, writer: bytes | None = None) -> None:
        """Hand the news to every listener of the account. `writer` is the device whose changes they are."""
        for listener, device_id in tuple(self._listeners.get(account_id, ())):
            is_writer = device_id is not None and device_id == writer
            listener(
                LogNews(news.epoch, news.prev_head, news.head) if is_writer and isinstance(news, LogNews) else news
            )

    def has_listeners(self, account_id: bytes) -> bool:
        """Say whether anybody listens to the account."""
        return account_id in self._listeners


class Mailbox:
    """News that a slow reader has not taken yet, bounded: what does not fit becomes 'pull from here to there'."""

    def __init__(self) -> None:
        self._log: deque[LogNews] = deque()
        self._presence: Nodes | None = None
        self._devices: DevicesNews | None = None
        self._changed = asyncio.Event()
        self._is_closed = False

    def put(self, news: News) -> None:
        """Add news. Only the latest presence is kept, and of devices too."""
        if isinstance(news, Nodes):
            self._presence = news
        elif isinstance(news, DevicesNews):
            self._devices = news
        elif len(self._log) < MAX_WAITING:
            self._log.append(news)
        else:
            prev_head = min(self._log[0].prev_head, news.prev_head)
            head = max(news.head, *(waiting.head for waiting in self._log))
            self._log.clear()
            self._log.append(LogNews(news.epoch, prev_head, head))
        self._changed.set()

    async def take(self) -> list[News] | None:
        """Wait for news and return all of it; None when the mailbox was closed."""
        await self._changed.wait()
        if self._is_closed:
            return None
        self._changed.clear()
        news: list[News] = [*self._log]
        self._log.clear()
        news += [latest for latest in (self._presence, self._devices) if latest is not None]
        self._presence = self._devices = None
        return news

    def close(self) -> None:
        """End the reader."""
        self._is_closed = True
        self._changed.set()
