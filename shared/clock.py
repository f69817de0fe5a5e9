"""Hybrid logical clocks (rules C1-C6): ms since 1970 (6 bytes), counter (2), device id (8), big-endian.

A clock is a `bytes` of 16, compared as bytes, so that the order is the same in every language and store.
Source of the construction: Kulkarni et al., "Logical Physical Clocks" (2014).
"""

from __future__ import annotations

from shared.limits import CLOCK_BYTES, DEVICE_ID_BYTES, MAX_CLOCK_COUNTER, MAX_CLOCK_MS

ZERO = bytes(CLOCK_BYTES)


def pack(milliseconds: int, counter: int, device: bytes) -> bytes:
    """Return the 16-byte clock. Raises ValueError when a part does not fit."""
    if not 0 <= milliseconds <= MAX_CLOCK_MS or not 0 <= counter <= MAX_CLOCK_COUNTER:
        raise ValueError("clock out of range")
    if len(device) != DEVICE_ID_BYTES:
        raise ValueError(f"a device id has {DEVICE_ID_BYTES} bytes")
    return milliseconds.to_bytes(6, "big") + counter.to_bytes(2, "big") + device


def milliseconds(clock: bytes) -> int:
    """Return the clock's milliseconds since 1970."""
    return int.from_bytes(clock[:6], "big")


def counter(clock: bytes) -> int:
    """Return the clock's counter within its millisecond."""
    return int.from_bytes(clock[6:8], "big")


def device(clock: bytes) -> bytes:
    """Return the id of the device that made the clock."""
    return clock[8:]


def tick(last: bytes, now_ms: int, device_id: bytes) -> bytes:
    """Return a clock greater than `last`, at `now_ms` or later, made by `device_id`.

    `last` is the greatest clock this device has made or seen. When its counter is spent, the next
    millisecond is taken (C3). Raises ValueError past the year 10889, where 48 bits end.
    """
    now_ms = max(0, min(now_ms, MAX_CLOCK_MS))
    if now_ms > milliseconds(last):
        return pack(now_ms, 0, device_id)
    if counter(last) < MAX_CLOCK_COUNTER:
        return pack(milliseconds(last), counter(last) + 1, device_id)
    return pack(milliseconds(last) + 1, 0, device_id)


def observe(last: bytes, seen: bytes, now_ms: int, max_ahead_ms: int) -> bytes:
    """Return the greater of `last` and `seen`, ignoring a `seen` too far ahead of `now_ms` (C5).

    One device with a broken calendar must not drag every other clock into the future.
    """
    if milliseconds(seen) > now_ms + max_ahead_ms:
        return last
    return max(last, seen)
