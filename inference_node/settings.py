"""What a node can be told; made by `deploy.command`, never read from the environment here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PORT = 8461


@dataclass(frozen=True)
class NodeSettings:
    """Settings of one node.

    `allowed_origins` are the exact origins of the app; `model` is a model's name, file name or the path of a
    .gguf file, None for the default; `engine` is the name of an engine, None for the best that works here.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    server_url: str = "http://localhost:8460"
    allowed_origins: tuple[str, ...] = ("http://localhost:8460",)
    model: str | None = None
    engine: str | None = None
    name: str = "This PC"
