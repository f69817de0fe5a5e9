"""What a node has to be told. Built by the command; no part of the node reads files or environment for it."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference_node.network.certificate import Certificate

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PORT = 8461
DEFAULT_TLS_PORT = 8443
DEFAULT_SERVER_URL = "http://localhost:8460"


@dataclass(frozen=True)
class NodeSettings:
    """Settings of one node.

    `server_root` is the root key of the server that it was paired with, 32 raw bytes, None for one that shares the data
    folder or has not been met; `allowed_origins` are the exact origins of the app; `model` is a file name or its stem
    in `<data>/models`, or the path of a GGUF file; `engine` is the name of an engine. None means the default of each.
    `tls_chain` and `tls_key` are the PEM files of a certificate of the owner's; `local_network` says whether the node
    answers on the network at home, None leaves that to the app.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    tls_port: int = DEFAULT_TLS_PORT
    server_url: str = DEFAULT_SERVER_URL
    server_root: bytes | None = None
    allowed_origins: tuple[str, ...] = ()
    model: str | None = None
    engine: str | None = None
    tls_chain: Path | None = None
    tls_key: Path | None = None
    local_network: bool | None = None
    name: str = field(default_factory=platform.node)

    @property
    def folder(self) -> Path:
        """Where the node keeps what is its own."""
        return self.data / "node"

    @property
    def chosen_model(self) -> Path:
        """Where the node keeps which model was made the default."""
        return self.folder / "default-model"

    @property
    def calibrations(self) -> Path:
        """Where the node keeps how fast its engines are."""
        return self.folder / "calibrations.json"

    @property
    def local_network_choice(self) -> Path:
        """Where the node keeps whether it may answer on the network at home."""
        return self.folder / "local-network"

    @property
    def seen_at(self) -> Path:
        """Where the node keeps where the server sees this PC."""
        return self.folder / "seen-at.json"

    @property
    def certificate(self) -> Certificate | None:
        """The owner's certificate, if there is one."""
        return Certificate(self.tls_chain, self.tls_key) if self.tls_chain and self.tls_key else None

    @property
    def models(self) -> Path:
        """Where model files are found."""
        return self.data / "models"
