"""A TCP proxy that can cut what passes through it, as a router that forgets its connections does."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading

# SO_LINGER with zero seconds: close() sends a reset instead of an orderly end.
RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`, until told to cut. What passes it keeps only if told to."""

    def __init__(self, target: int, *, is_recording: bool = False) -> None:
        self.target = target
        self._is_recording = is_recording
        self._recorded: dict[tuple[socket.socket, bool], bytearray] = {}
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.bytes_down = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def open(self) -> int:
        """How many connections pass through now."""
        with self._lock:
            return len(self._pairs)

    @property
    def recorded(self) -> list[bytes]:
        """What each connection has brought so far, each direction by itself."""
        with self._lock:
            return [bytes(stream) for stream in self._recorded.values()]

    def cut(self) -> int:
        """Reset every connection and return how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.shutdown(socket.SHUT_RD)
                end.close()
        return len(pairs)

    def close(self) -> None:
        """Stop listening and cut what is left."""
        self._closed = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                continue
            with self._lock:
                self._pairs.add((client, server))
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # both are sockets
                    if not data:
                        return self._end(client, server)
                    if self._is_recording:
                        with self._lock:
                            self._recorded.setdefault((client, key.fileobj is server), bytearray()).extend(data)
                    if key.fileobj is server:
                        self.bytes_down += len(data)
                    key.data.sendall(data)
        return self._end(client, server)

    def _end(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            self._pairs.discard((client, server))
        client.close()
        server.close()
