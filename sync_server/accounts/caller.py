"""Who calls, once that is proved."""

from __future__ import annotations

from typing import NamedTuple


class Caller(NamedTuple):
    """A device and until when its token lets it in, in seconds since 1970."""

    account_id: bytes
    device_id: bytes
    expires_s: int
