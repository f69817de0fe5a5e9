"""A real node in a thread with an event loop of its own, so that tests and server may block beside it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from inference_node.server.identity import enrol
from tests.inference_node.running_node import WITHIN_S, RunningNode
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

_T = TypeVar("_T")


class NodeThread:
    """A node with a scripted engine that shares the data folder of the server at `server_url`."""

    def __init__(self, data: Path, server_url: str, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="node", daemon=True)
        self._thread.start()
        self.node = self.run(self._start(data, server_url, settings))
        self.url = self.node.url
        self.node_id = self.node.identity.node_id
        self.models = self.node.settings.models

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in the node's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WITHIN_S)

    def stop(self) -> None:
        """Stop the node as a cancelled task does, and wait."""
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), "the node does not stop"
        self._loop.close()

    async def _stop(self) -> None:
        await self.node.stop()
        # sse-starlette leaves a watcher behind that would wait for ever.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _start(self, data: Path, server_url: str, settings: dict[str, Any]) -> RunningNode:
        self.script = Script(context=10_000)
        self.script.can_embed = True
        node = RunningNode(data, make_engine=self.script.make_engine, server_url=server_url, **settings)
        node.add_scripted_model()
        enrol(node.settings.data, node.identity)
        await node.start()
        return node
