"""A proxy with faults on a machine of the town, run beside a test that does not await."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.tunnel.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.network.namespaces import Namespace

WITHIN_S = 30.0


@contextmanager
def proxy_on(network: Namespace, port: int, target: int) -> Iterator[FaultProxy]:
    """Yield a proxy at a port there, before another port there. Its attributes may be set at any time."""
    loop, proxy, listens = asyncio.new_event_loop(), FaultProxy(target, port), threading.Event()

    def run() -> None:
        with network.inside():
            loop.run_until_complete(proxy.start())
            listens.set()
            loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert listens.wait(WITHIN_S)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(WITHIN_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WITHIN_S)
        loop.close()
