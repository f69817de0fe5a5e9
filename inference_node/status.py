"""How the node is, in the words that it says over the tunnel, on /v1/status and on /healthz."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from msgspec import Struct

from inference_node import metrics
from shared.errors import Code, DomovoiError
from shared.wire import NodeStatus

if TYPE_CHECKING:
    from inference_node.keeper import Keeper
    from inference_node.turns import Turns

ENGINE = "llama_cpp"


class Health(Struct, frozen=True):
    """GET /healthz, which asks for no token and so tells no more."""

    engine_state: str


class Status:
    """Puts the status together. `candidates` are base addresses at which the node may be reached directly."""

    def __init__(self, name: str, keeper: Keeper, turns: Turns, candidates: list[str]) -> None:
        self._name = name
        self._keeper = keeper
        self._turns = turns
        self._candidates = candidates
        self._version = version("domovoi")

    def now(self) -> NodeStatus:
        """Return the status at this moment."""
        engine = self._keeper.state
        return NodeStatus(
            name=self._name,
            engine_state=engine.state,
            engine=ENGINE,
            model=engine.model,
            models=[model.name for model in self._keeper.store.list()],
            candidates=self._candidates,
            queue=self._turns.waiting,
            code=engine.code,
            version=self._version,
        )

    def health(self) -> Health:
        """Return that all is well. Raises DomovoiError with the reason unless an engine is loaded and alive."""
        engine = self._keeper.state
        if engine.state != "ready":
            raise DomovoiError(engine.code or Code.ENGINE_UNAVAILABLE, f"The engine is {engine.state}.")
        return Health(engine.state)

    def measure(self) -> None:
        """Set the gauges that /metrics shows."""
        metrics.waiting.set(self._turns.waiting)
        metrics.engine_ready.set(self._keeper.state.state == "ready")
