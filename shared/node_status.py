"""What a node says of itself: over the tunnel, and to whom it serves."""

from __future__ import annotations

from msgspec import Struct

from shared.candidates import Candidates


class StepDown(Struct, frozen=True):
    """Why a model runs otherwise than it might: by another engine, or with less.

    `engine` failed with `code`; `what` is one of slots, context, cache, engine, and `to` what it is now.
    """

    at_ms: int
    model: str
    engine: str
    what: str
    to: str
    code: str
    detail: str = ""


class ModelStatus(Struct, frozen=True, omit_defaults=True):
    """A model that is loaded, is being loaded, or could not be.

    `state` is one of waiting (for memory), loading, ready, stalled, failed; `code` says why it failed. `done` of
    `total` bytes are loaded. `context` is in tokens, `slots` how many answers it gives at once. The texts about the
    engine are for people: "llama", "Q4_1", "AVX2 FMA"; `detail` says what is not as it should be.
    """

    name: str
    state: str
    code: str | None = None
    engine: str | None = None
    done: int = 0
    total: int = 0
    context: int = 0
    slots: int = 0
    generating: int = 0
    tokens_per_second: float | None = None
    architecture: str = ""
    quantisation: str = ""
    instructions: str = ""
    threads: int = 0
    detail: str = ""


class NodeStatus(Struct, frozen=True):
    """What a node says of itself over the tunnel, and what `GET /v1/status` shows.

    `engine_state` is one of starting, loading, ready, resting (nothing is loaded until it is asked for), failed;
    `code` says why it failed. `engine` and `model` are those that answered last. `candidates` are addresses at which
    the node answers directly, the likeliest first; `local_network` says whether its owner lets it answer on the home
    network at all. `queue` requests wait and `generating` are being answered. `loaded` are models in memory or on their
    way there, `steps` the latest steps down, the newest last.
    """

    name: str
    engine_state: str
    engine: str | None = None
    model: str | None = None
    models: list[str] = []
    candidates: Candidates = []
    queue: int = 0
    code: str | None = None
    version: str = ""
    generating: int = 0
    tokens_per_second: float | None = None
    loaded: list[ModelStatus] = []
    steps: list[StepDown] = []
    local_network: bool = False
