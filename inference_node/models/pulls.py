"""Fetching models for the app: each pull goes on by itself, whoever watches, until it is done or stopped."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec
from sse_starlette import ServerSentEvent

from inference_node.models import pulling
from inference_node.models.pulling import PYPI
from shared.errors import Code, DomovoiError
from shared.library_wire import PullState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from inference_node.models.catalogue import CatalogueModel

log = logging.getLogger(__name__)

# A watcher is told this often at most.
TELL_EVERY_S = 0.25


class Pulls:
    """The pulls of this node. `on_done` is called when a model has come."""

    def __init__(self, models: Path, on_done: Callable[[], None], index_url: str = PYPI) -> None:
        self._models = models
        self._on_done = on_done
        self._index_url = index_url
        self._pulls: dict[str, _Pull] = {}

    def states(self) -> list[PullState]:
        """Return how each pull since the node's start goes or went."""
        return [pull.state for pull in self._pulls.values()]

    def start(self, model: CatalogueModel) -> PullState:
        """Begin to fetch a model, or go on; one that runs already is left to run."""
        file = model.file.name
        pull = self._pulls.get(file)
        if pull is None or pull.state.state != "running":
            pull = self._pulls[file] = _Pull(PullState(file, "running", 0, model.download_bytes))
            pull.task = asyncio.create_task(self._run(pull, model))
        return pull.state

    async def stop(self, file: str) -> None:
        """Stop a pull; what came is kept. Raises DomovoiError `model_missing` for one that there is not."""
        await _cancel(self._find(file))

    async def follow(self, file: str) -> AsyncGenerator[ServerSentEvent, None]:
        """Yield `progress` events, the newest state at once, up to the end of the pull."""
        pull = self._find(file)
        while True:
            state, changed = pull.state, pull.changed
            yield ServerSentEvent(msgspec.json.encode(state).decode(), event="progress")
            if state.state != "running":
                return
            await changed.wait()
            if pull.state.state == "running":
                await asyncio.sleep(TELL_EVERY_S)

    def require(self, file: str) -> None:
        """Raise DomovoiError `model_missing` unless there is such a pull."""
        self._find(file)

    async def close(self) -> None:
        """Stop all pulls; each goes on where it was when it is started again."""
        await asyncio.gather(*(_cancel(pull) for pull in self._pulls.values()))

    async def _run(self, pull: _Pull, model: CatalogueModel) -> None:
        def progress(done: int, total: int) -> None:
            pull.change(msgspec.structs.replace(pull.state, done=done, total=total))

        try:
            await pulling.pull(self._models, model, progress, self._index_url)
        except DomovoiError as error:
            log.warning("fetching %s failed: %s", model.file.name, error)
            pull.end("failed", error)
        except asyncio.CancelledError:
            pull.end("stopped")
            raise
        except Exception:
            log.exception("fetching %s failed", model.file.name)
            pull.end("failed", DomovoiError(Code.INTERNAL))
        else:
            pull.end("done")
            self._on_done()

    def _find(self, file: str) -> _Pull:
        pull = self._pulls.get(file)
        if pull is None:
            raise DomovoiError(Code.MODEL_MISSING, "Nothing of that name is being fetched.")
        return pull


class _Pull:
    """One pull. `changed` is set, and replaced, at each change of the state."""

    def __init__(self, state: PullState) -> None:
        self.state = state
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def change(self, state: PullState) -> None:
        self.state = state
        self.changed.set()
        self.changed = asyncio.Event()

    def end(self, state: str, error: DomovoiError | None = None) -> None:
        code, detail = (error.code, error.detail) if error else (None, None)
        done = self.state.total if state == "done" else self.state.done
        self.change(msgspec.structs.replace(self.state, state=state, done=done, code=code, detail=detail))


async def _cancel(pull: _Pull) -> None:
    if pull.task is not None:
        pull.task.cancel()
        await asyncio.gather(pull.task, return_exceptions=True)
