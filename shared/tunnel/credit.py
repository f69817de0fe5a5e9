"""Credit: how much DATA may be under way, of a stream and of the whole session (rules N9, N10)."""

from __future__ import annotations

from shared.tunnel.frames import Fault, FrameError
from shared.tunnel.limits import MAX_FRAME_PAYLOAD_BYTES, STREAM_CREDIT_BYTES


class SendCredit:
    """How many bytes of DATA a sender may still send, of `total`."""

    def __init__(self, total: int = STREAM_CREDIT_BYTES) -> None:
        self._total = total
        self.available = total

    @property
    def outstanding(self) -> int:
        """Bytes that were sent and not granted again."""
        return self._total - self.available

    def take(self, wanted: int) -> int:
        """Use up to `wanted` bytes of credit, at most one frame's worth, and return how many were granted."""
        granted = min(wanted, self.available, MAX_FRAME_PAYLOAD_BYTES)
        self.available -= granted
        return granted

    def grant(self, credit: int) -> None:
        """Add what the receiver consumed. Raises FrameError when it grants more than was ever sent."""
        if credit <= 0 or self.available + credit > self._total:
            raise FrameError(Fault.CREDIT, "credit out of range")
        self.available += credit


class ReceiveCredit:
    """What a receiver owes its sender, of `total` bytes; replenished at half, or in smaller steps."""

    def __init__(self, total: int = STREAM_CREDIT_BYTES) -> None:
        self._total = total
        self._outstanding = 0
        self._owed = 0
        self.unconsumed = 0

    def received(self, size: int) -> None:
        """Count DATA that came in. Raises FrameError when the sender overran its credit."""
        self._outstanding += size
        self.unconsumed += size
        if self._outstanding > self._total:
            raise FrameError(Fault.CREDIT, "sender overran its credit")

    def consumed(self, size: int, step: int | None = None) -> int:
        """Count DATA handed on, and return the credit to grant now (0: not yet, less than `step` are owed)."""
        self._owed += size
        self.unconsumed -= size
        if not self._owed or self._owed < (self._total // 2 if step is None else step):
            return 0
        credit, self._owed = self._owed, 0
        self._outstanding -= credit
        return credit
