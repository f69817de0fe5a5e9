"""A client that costs next to nothing, so that what is measured is the server: requests in bytes, answers unread."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a request as it is sent."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class RawClient:
    """One connection that is kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self._reader = reader
        self._writer = writer
        self._host = f"host: localhost:{port}".encode()

    @classmethod
    async def connect(cls, port: int) -> RawClient:
        """Connect to the server on this machine."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(reader, writer, port)

    async def begin(self, request: bytes) -> int:
        """Send a request and return the answer's status; the body is left where it is."""
        self._writer.write(request.replace(b"host: localhost", self._host, 1))
        self._head = await self._reader.readuntil(b"\r\n\r\n")
        return int(self._head[9:12])

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of the answer."""
        status = await self.begin(request)
        length = _LENGTH.search(self._head)
        return status, await self._reader.readexactly(int(length[1])) if length else b""

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
