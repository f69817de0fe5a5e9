"""Tasks that an engine process has under way, as the node sees them: what came and was not read yet, and since when."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from inference_node.engines.engine import LoadProgress, Piece, PromptTooLong, Reading, ToolCallPiece
from inference_node.engines.messages import End, Failed, TooLong
from shared.errors import DomovoiError

if TYPE_CHECKING:
    from inference_node.engines.messages import Report


class ChildTask:
    """One task and its reports. Reports of one kind in a row are kept as one, so that a slow reader costs nobody
    anything: what waits for it is never more than its answer.
    """

    def __init__(self, number: int, patience_s: float, *, is_loading: bool = False) -> None:
        self.number = number
        self.patience_s = patience_s
        self.heard_s = time.monotonic()
        # What loads may keep the whole process from answering.
        self.is_loading = is_loading
        self.has_ended = asyncio.Event()
        self._reports: deque[Report] = deque()
        self._failure: DomovoiError | None = None
        self._news = asyncio.Event()

    def put(self, report: Report) -> None:
        """Take a report. Never waits."""
        self.heard_s = time.monotonic()
        joined = _joined(self._reports[-1], report) if self._reports else None
        if joined is None:
            self._reports.append(report)
        else:
            self._reports[-1] = joined
        if isinstance(report, End):
            self.has_ended.set()
        self._news.set()

    def fail(self, failure: DomovoiError) -> None:
        """End the task; reports that are here already come first."""
        self._failure = failure
        self.has_ended.set()
        self._news.set()

    async def get(self) -> Report:
        """Return the next report. Raises what the task failed with; a cancelled call loses nothing."""
        while not self._reports:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        report = self._reports.popleft()
        match report:
            case Failed(code, detail):
                raise DomovoiError(code, detail or None)
            case TooLong(tokens):
                raise PromptTooLong(tokens)
            case _:
                return report


def _joined(last: Report, new: Report) -> Report | None:
    """Return one report that says what both say, or None where there is none."""
    match last, new:
        case (Reading(), Reading()) | (LoadProgress(), LoadProgress()):
            return new
        case Piece(), Piece():
            return Piece(last.text + new.text, last.count + new.count, last.tokens + new.tokens)
        case ToolCallPiece(), ToolCallPiece() if last.index == new.index:
            return ToolCallPiece(last.index, last.id or new.id, last.name or new.name, last.arguments + new.arguments)
        case _:
            return None
