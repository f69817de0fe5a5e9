"""How the node is, in the words that it says over the tunnel, on /v1/status and on /healthz."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from msgspec import Struct

from inference_node import metrics
from shared.errors import Code, DomovoiError
from shared.node_status import NodeStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.loading.keeper import Keeper
    from inference_node.network.network import Network
    from inference_node.runs.turns import Turns


class Health(Struct, frozen=True):
    """GET /healthz, which asks for no token and so tells no more."""

    engine_state: str


class Status:
    """Puts the status together. `network` returns where the node listens; asked later, as it serves this status."""

    def __init__(self, name: str, keeper: Keeper, turns: Turns, network: Callable[[], Network]) -> None:
        self._name = name
        self._keeper = keeper
        self._turns = turns
        self._network = network
        self._version = version("domovoi")

    @property
    def network(self) -> Network:
        """Where the node listens."""
        return self._network()

    def now(self) -> NodeStatus:
        """Return the status at this moment."""
        engine = self._keeper.state
        loaded = self._keeper.statuses()
        network = self.network
        return NodeStatus(
            name=self._name,
            engine_state=engine.state,
            engine=engine.engine,
            model=engine.model,
            models=[model.name for model in self._keeper.store.list()],
            candidates=network.candidates,
            queue=self._turns.waiting,
            code=engine.code,
            version=self._version,
            generating=self._turns.current,
            tokens_per_second=next((row.tokens_per_second for row in loaded if row.name == engine.model), None),
            loaded=loaded,
            steps=self._keeper.steps,
            local_network=network.is_allowed,
        )

    def health(self) -> Health:
        """Return that all is well. Raises DomovoiError with the reason unless an engine is alive, or none is wanted."""
        engine = self._keeper.state
        if engine.state not in {"ready", "resting"}:
            is_on_its_way = engine.state in {"starting", "loading"}
            failure = Code(engine.code or Code.ENGINE_UNAVAILABLE)
            raise DomovoiError(Code.ENGINE_LOADING if is_on_its_way else failure, f"The engine is {engine.state}.")
        return Health(engine.state)

    def measure(self) -> None:
        """Set the gauges that /metrics shows."""
        metrics.waiting.set(self._turns.waiting)
        metrics.generating.set(self._turns.current)
        metrics.models_loaded.set(sum(row.state in {"ready", "stalled"} for row in self._keeper.statuses()))
        metrics.engine_ready.set(self._keeper.state.state == "ready")
