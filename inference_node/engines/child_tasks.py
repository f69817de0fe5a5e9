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


# So many pieces wait as they are before they become one: joined one by one, a long answer would be copied for each.
MOST_APART = 1000


class _Pieces:
    """Pieces in a row that nobody has read yet."""

    def __init__(self, first: Piece) -> None:
        self._waiting = [first]

    def add(self, piece: Piece) -> None:
        self._waiting.append(piece)
        if len(self._waiting) > MOST_APART:
            self._waiting = [self.joined()]

    def joined(self) -> Piece:
        if len(self._waiting) == 1:
            return self._waiting[0]
        text = "".join(piece.text for piece in self._waiting)
        tokens = [token for piece in self._waiting for token in piece.tokens]
        return Piece(text, sum(piece.count for piece in self._waiting), tokens)


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
        self._reports: deque[Report | _Pieces] = deque()
        self._failure: DomovoiError | None = None
        self._news = asyncio.Event()

    def put(self, report: Report) -> None:
        """Take a report. Never waits."""
        self.heard_s = time.monotonic()
        match self._reports[-1] if self._reports else None, report:
            case _Pieces() as pieces, Piece():
                pieces.add(report)
            case _, Piece():
                self._reports.append(_Pieces(report))
            case (Reading(), Reading()) | (LoadProgress(), LoadProgress()):
                self._reports[-1] = report
            case ToolCallPiece() as last, ToolCallPiece() if last.index == report.index:
                self._reports[-1] = _joined(last, report)
            case _:
                self._reports.append(report)
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
            case _Pieces():
                return report.joined()
            case Failed(code, detail):
                raise DomovoiError(code, detail or None)
            case TooLong(tokens):
                raise PromptTooLong(tokens)
            case _:
                return report


def _joined(last: ToolCallPiece, new: ToolCallPiece) -> ToolCallPiece:
    return ToolCallPiece(last.index, last.id or new.id, last.name or new.name, last.arguments + new.arguments)
