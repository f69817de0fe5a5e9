"""What the node says of itself: over the tunnel, over HTTP, and as its health."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING

from msgspec import Struct
from starlette.responses import Response

from inference_node.callers import require_either
from inference_node.content import answer
from inference_node.services import services_of
from shared.errors import Code, DomovoiError
from shared.wire import NodeStatus

if TYPE_CHECKING:
    from starlette.requests import Request

    from inference_node.engine_keeper import EngineKeeper
    from inference_node.models import ModelStore
    from inference_node.turns import Turns


class Health(Struct, frozen=True):
    """GET /healthz."""

    status: str


class Status:
    """Puts the node's status together; `changed` is set when it may have become another."""

    def __init__(self, name: str, keeper: EngineKeeper, store: ModelStore, turns: Turns, address: str) -> None:
        self.changed = asyncio.Event()
        self._name = name
        self._keeper = keeper
        self._store = store
        self._turns = turns
        self._address = address

    def current(self) -> NodeStatus:
        """Return the status now."""
        keeper = self._keeper
        return NodeStatus(
            name=self._name,
            engine_state=keeper.state,
            engine=keeper.engine_name,
            model=keeper.model.name if keeper.model else None,
            models=[model.name for model in self._store.list()],
            candidates=[self._address],
            queue=len(self._turns),
            code=keeper.code,
            version=version("domovoi"),
        )

    def check_health(self) -> None:
        """Raise DomovoiError unless the node can answer: the engine's failure, or that it is not ready yet."""
        if self._keeper.state == "failed":
            raise DomovoiError(Code.ENGINE_UNAVAILABLE, f"The engine can't run: {self._keeper.code}.")
        if self._keeper.state != "ready":
            raise DomovoiError(Code.ENGINE_UNAVAILABLE, "The model is being loaded. Try again in a moment.")


async def healthz(request: Request) -> Response:
    """Say whether the node can answer: not that a process lives, but that the engine does."""
    services_of(request).status.check_health()
    return answer(request, Health("ready"))


async def status(request: Request) -> Response:
    """Say how the node is."""
    await require_either(request)
    return answer(request, services_of(request).status.current())


async def metrics(request: Request) -> Response:
    """Return the numbers for Prometheus."""
    return Response(services_of(request).metrics.text(), media_type="text/plain; version=0.0.4")
