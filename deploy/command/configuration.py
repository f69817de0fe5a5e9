"""Settings from defaults < pairing < `<data>/domovoi.toml` < environment < flags. Parts never read these themselves."""

from __future__ import annotations

import os
import platform
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from inference_node.server.paired_server import paired_server
from inference_node.settings import NodeSettings
from sync_server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).parents[2]
BUILT_APP = CHECKOUT / "pwa" / "dist"
FILE_NAME = "domovoi.toml"
HIGHEST_PORT = 65535
LOG_FORMATS = ("text", "json")
_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}

_ENVIRONMENT = {
    "data": "DOMOVOI_DATA",
    "host": "DOMOVOI_HOST",
    "port": "DOMOVOI_PORT",
    "node_port": "DOMOVOI_NODE_PORT",
    "node_tls_port": "DOMOVOI_NODE_TLS_PORT",
    "node_tls_cert": "DOMOVOI_NODE_TLS_CERT",
    "node_tls_key": "DOMOVOI_NODE_TLS_KEY",
    "local_network": "DOMOVOI_LOCAL_NETWORK",
    "public_url": "DOMOVOI_PUBLIC_URL",
    "server_url": "DOMOVOI_SERVER_URL",
    "database_url": "DOMOVOI_DATABASE_URL",
    "model": "DOMOVOI_MODEL",
    "engine": "DOMOVOI_ENGINE",
    "node_name": "DOMOVOI_NODE_NAME",
    "app_folder": "DOMOVOI_APP",
    "log": "DOMOVOI_LOG",
}


class ConfigurationError(Exception):
    """A setting can't be used; the message says which and what to do."""


@dataclass(frozen=True)
class Configuration:
    """Every setting a person can make. Ports are TCP ports; URLs have no path; `log` is one of LOG_FORMATS."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 8460
    node_port: int = 8461
    node_tls_port: int = 8443
    node_tls_cert: Path | None = None
    node_tls_key: Path | None = None
    local_network: bool | None = None
    public_url: str | None = None
    server_url: str | None = None
    database_url: str | None = None
    model: str | None = None
    engine: str | None = None
    node_name: str | None = None
    app_folder: Path = BUILT_APP
    log: str = "text"

    @property
    def local_url(self) -> str:
        """Where a browser on this machine finds the server."""
        return f"http://localhost:{self.port}"

    def server(self) -> ServerSettings:
        """Return the server's settings."""
        return ServerSettings(
            data=self.data,
            host=self.host,
            port=self.port,
            database_url=self.database_url,
            app_folder=self.app_folder if (self.app_folder / "index.html").exists() else None,
            public_url=self.public_url,
            node_ports=(self.node_port, self.node_tls_port),
        )

    def node(self) -> NodeSettings:
        """Return the node's settings."""
        server_url = self.server_url or self.local_url
        paired = paired_server(self.data)
        origins = dict.fromkeys(url for url in (self.local_url, self.public_url, server_url) if url)
        return NodeSettings(
            data=self.data,
            port=self.node_port,
            tls_port=self.node_tls_port,
            server_url=server_url,
            server_root=paired.root_key if paired is not None and paired.url == server_url else None,
            allowed_origins=tuple(origins),
            model=self.model,
            engine=self.engine,
            tls_chain=self.node_tls_cert,
            tls_key=self.node_tls_key,
            local_network=self.local_network,
            name=self.name,
        )

    @property
    def name(self) -> str:
        """The node's name for people."""
        return self.node_name or platform.node().partition(".")[0] or "This PC"


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Configuration:
    """Return the configuration. Raises ConfigurationError naming the setting that is wrong."""
    named = {name: environment[key] for name, key in _ENVIRONMENT.items() if environment.get(key)}
    given = {name: value for name, value in flags.items() if value is not None}
    data = Path(given.get("data") or named.get("data") or platformdirs.user_data_path("domovoi", appauthor=False))
    configuration = Configuration(data=data.expanduser().absolute())
    paired = paired_server(configuration.data)
    configuration = replace(configuration, server_url=None if paired is None else paired.url)
    for source, values in (("the file", _file(configuration.data)), ("the environment", named), ("the flags", given)):
        configuration = _with(configuration, {k: v for k, v in values.items() if k != "data"}, source)
    return configuration


def _file(data: Path) -> dict[str, Any]:
    path = data / FILE_NAME
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}. Mend it or move it away.") from error


def _with(configuration: Configuration, values: dict[str, Any], source: str) -> Configuration:
    known = {field.name for field in fields(Configuration)}
    if unknown := sorted(set(values) - known):
        raise ConfigurationError(f"Unknown setting {unknown[0]!r} in {source}. Known: {', '.join(sorted(known))}.")
    return replace(configuration, **{name: _converted(name, value, source) for name, value in values.items()})


def _converted(name: str, value: Any, source: str) -> Any:
    if name in {"port", "node_port", "node_tls_port"}:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = -1
        if not 1 <= number <= HIGHEST_PORT:
            raise ConfigurationError(f"{name} in {source} is {value!r}; it must be a port from 1 to 65535.")
        return number
    if name in {"app_folder", "node_tls_cert", "node_tls_key"}:
        return Path(value).expanduser()
    if name == "local_network":
        if str(value).lower() not in _SWITCH:
            raise ConfigurationError(f"{name} in {source} is {value!r}; it must be on or off.")
        return _SWITCH[str(value).lower()]
    if name == "log" and value not in LOG_FORMATS:
        raise ConfigurationError(f"log in {source} is {value!r}; it must be one of {', '.join(LOG_FORMATS)}.")
    return str(value)
