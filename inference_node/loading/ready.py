"""A loaded engine and what is known of it: who uses it, how fast it is, and whether it still says anything."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from shared.node_status import ModelStatus

if TYPE_CHECKING:
    from inference_node.engines.engine import Engine, LoadedModel
    from inference_node.models.models import ModelFile

# An engine that owes a sign of life for so long is reported as stalled; it is killed later (child_engine.TimeLimits).
SUSPECT_S = 15.0
# How much the latest answer counts in the speed that is shown.
NEWEST_SHARE = 0.3


class Ready:
    """A loaded engine. While it has users it is neither unloaded nor replaced."""

    def __init__(self, engine: Engine, model: ModelFile, loaded: LoadedModel, *, suspect_s: float = SUSPECT_S) -> None:
        self.engine = engine
        self.model = model
        self.loaded = loaded
        self.users = 0
        self.used_s = time.monotonic()
        # About to be unloaded for another model: who comes now waits behind it.
        self.is_leaving = False
        # It failed; it is unloaded when its last user is gone.
        self.is_lost = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.tokens_per_second: float | None = None
        self._suspect_s = suspect_s

    @property
    def context(self) -> int:
        """How many tokens prompt and answer may have together."""
        return self.loaded.context

    @property
    def is_stalled(self) -> bool:
        """Whether it says nothing although it should."""
        return self.engine.pulse().silent_s > self._suspect_s

    def take(self, users: int = 1) -> Ready:
        """Count new users; return itself."""
        self.users += users
        self.used_s = time.monotonic()
        if self.users:
            self.idle.clear()
        return self

    def give_back(self) -> None:
        """Count a user less."""
        self.users -= 1
        self.used_s = time.monotonic()
        if self.users == 0:
            self.idle.set()

    def measured(self, tokens_per_second: float) -> None:
        """Take note how fast an answer came."""
        before = self.tokens_per_second
        share = NEWEST_SHARE if before is not None else 1.0
        self.tokens_per_second = (before or 0.0) * (1 - share) + tokens_per_second * share

    def status(self) -> ModelStatus:
        """Return how it is."""
        loaded = self.loaded
        return ModelStatus(
            self.model.name,
            "stalled" if self.is_stalled else "ready",
            engine=self.engine.name,
            context=loaded.context,
            slots=loaded.slots,
            generating=self.users,
            tokens_per_second=round(self.tokens_per_second, 1) if self.tokens_per_second else None,
            architecture=loaded.architecture,
            quantisation=loaded.quantisation,
            instructions=loaded.instructions,
            threads=loaded.threads,
            detail=self.model.header.remark,
        )
