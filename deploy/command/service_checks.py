"""The findings about what Domovoi keeps and where it listens, whether it runs just now or not."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import psutil
from cryptography import x509
from sqlalchemy import literal, select

from deploy.command.configuration import FILE_NAME
from deploy.command.findings import Finding
from inference_node.network.certificate import Certificate, CertificateError, tls_context
from inference_node.network.interfaces import read_table
from inference_node.network.local_network import LocalNetwork
from inference_node.network.ranking import rank
from inference_node.network.seen_at import seen_at
from inference_node.network.telling import NOT_YET, SWITCH_ON, WHENCE, of_outside
from inference_node.server.identity import ensure_identity
from shared.errors import DomovoiError, StartupError
from sync_server.store.database import Database
from sync_server.store.dialect import SQLite, dialect_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploy.command.configuration import Configuration

ANSWER_WITHIN_S = 3.0
LISTENS = "Start Domovoi. If it runs, pair it first, or let the firewall pass."
DAY_S = 86_400
SOON_DAYS = 14


def data(configuration: Configuration) -> Iterator[Finding]:
    """Yield the data folder: there, writable, private; settings; the node's identity."""
    folder = configuration.data
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Finding("data", "stop", f"{folder} can't be written to", "Give yourself permission, or set DOMOVOI_DATA.")
    elif place != folder:
        yield Finding("data", "ok", f"{folder} will be made at the first start")
    elif os.name == "posix" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        yield Finding("data", "warning", f"{folder} can be read by others", f"chmod 700 {folder}")
    else:
        yield Finding("data", "ok", f"{folder}, and nobody else's")
    if (folder / FILE_NAME).exists():
        yield Finding("data", "ok", f"{FILE_NAME} is read")
    if (folder / "node" / "identity.pem").exists():
        yield _identity(configuration)


async def database(configuration: Configuration) -> Finding:
    """Say whether the server's database answers."""
    try:
        dialect = dialect_for(configuration.database_url, configuration.data)
    except StartupError as error:
        return Finding("database", "stop", "the address can't be used", str(error))
    name = f"SQLite, {dialect.path}" if isinstance(dialect, SQLite) else "MySQL or MariaDB"
    if isinstance(dialect, SQLite) and not dialect.path.exists():
        return Finding("database", "ok", f"{name}, will be made at the first start")
    opened = Database(dialect)
    try:
        await opened.open()
        await opened.one(select(literal(1)))
    except DomovoiError:
        return Finding("database", "stop", f"{name} does not answer", dialect.advice)
    finally:
        await opened.close()
    return Finding("database", "ok", f"{name}, answers")


async def ports(configuration: Configuration) -> Iterator[Finding]:
    """Return both ports: free, Domovoi's, or another program's."""
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_WITHIN_S) as client:
        return iter(
            [
                await _port(client, "server", configuration.port, "--port", "DOMOVOI_PORT"),
                await _port(client, "node", configuration.node_port, "--node-port", "DOMOVOI_NODE_PORT"),
            ]
        )


async def addresses(configuration: Configuration) -> Iterator[Finding]:
    """Return under which addresses the server is, or would be, reached."""
    found = [Finding("address", "ok", f"{configuration.local_url} on this machine")]
    if configuration.host not in {"127.0.0.1", "localhost", "::1"}:
        found += [Finding("address", "ok", f"http://{address}:{configuration.port}") for address in _own_addresses()]
    if configuration.public_url is not None:
        found.append(await _public(configuration.public_url))
    return iter(found)


def direct(configuration: Configuration) -> Iterator[Finding]:
    """Yield at which addresses other devices find this PC's node, why not at others, and whether it listens there."""
    node = configuration.node()
    is_on = LocalNetwork(node.local_network_choice, node.local_network).is_on
    table = read_table()
    for found in rank(table):
        where = f"{found.address} ({found.interface})"
        if found.kind == "loopback":
            continue
        if found.reason:
            yield Finding("network", "note", f"{where} is not offered: {found.reason}")
        elif not is_on:
            yield Finding("network", "note", f"{where}: {WHENCE[found.kind]}; this PC does not answer there")
        elif _is_open(found.address, node.port):
            yield Finding("network", "ok", f"http://{found.host}:{node.port} answers here: {WHENCE[found.kind]}")
        else:
            yield Finding("network", "note", f"{where}: {WHENCE[found.kind]}; nobody listens there now", LISTENS)
    if not is_on:
        yield Finding("network", "note", "answering on the home network is off", SWITCH_ON)
    if node.certificate is not None:
        yield _own_certificate(node.certificate, node.tls_port, is_on=is_on)
    yield _outside(node.seen_at, {row.address for row in table})


def _outside(path: Path, own: set[str]) -> Finding:
    """Say where the server saw this PC at when it last let it in."""
    seen = seen_at(path)
    if seen is None:
        return Finding("network", "note", f"{NOT_YET}", "Start Domovoi, and pair this PC: domovoi node pair.")
    at = datetime.fromtimestamp(seen.at_ms / 1000, UTC).astimezone()
    return Finding("network", "ok", f"{of_outside(seen.address, own, seen.server_url)} ({at:%d %b %Y, %H:%M})")


def _own_certificate(certificate: Certificate, port: int, *, is_on: bool) -> Finding:
    try:
        certificate.load_into(tls_context())
        names = certificate.names()
    except CertificateError as error:
        return Finding("network", "warning", f"the certificate can't be used: {error}", "Check both files.")
    if not names:
        what = f"{certificate.chain} names no host: browsers can't call this PC by it"
        return Finding("network", "warning", what, "Get one for a name of this PC; a wildcard is none.")
    what = ", ".join(f"https://{name}:{port}" for name in names)
    return Finding("network", "ok", f"{what}: by certificate", "" if is_on else SWITCH_ON)


def _is_open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), ANSWER_WITHIN_S).close()
    except OSError:
        return False
    return True


def certificates(folder: Path) -> Iterator[Finding]:
    """Yield the certificates in the data folder and when each runs out; nginx keeps its own."""
    for path in sorted([*folder.glob("keys/*.crt"), *folder.glob("tls/*.crt"), *folder.glob("tls/*.pem")]):
        try:
            until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except (ValueError, OSError) as error:
            yield Finding("certificate", "warning", f"{path.name} can't be read: {error}", "Make it anew.")
            continue
        days = (until.timestamp() - time.time()) / DAY_S
        what = f"{path.name} is good until {until:%d %b %Y}"
        is_late = days < SOON_DAYS
        yield Finding("certificate", "warning" if is_late else "ok", what, "Renew it." if is_late else "")


def _identity(configuration: Configuration) -> Finding:
    try:
        identity = ensure_identity(configuration.data, configuration.name)
    except StartupError as error:
        return Finding("data", "stop", "the node's identity can't be used", str(error))
    return Finding("data", "ok", f"this node is {identity.name}, {identity.node_id[:8]}…")


async def _port(client: httpx.AsyncClient, part: str, port: int, flag: str, variable: str) -> Finding:
    if _is_free(port):
        return Finding("port", "ok", f"{part}: {port} is free; the {part} does not run")
    taken = Finding(
        "port",
        "stop",
        f"{part}: {port} is taken by another program",
        f"Stop it, or choose another port with {flag} or {variable}.",
    )
    try:
        answer = await client.get(f"http://localhost:{port}/healthz")
        said = answer.json()
    except (httpx.HTTPError, ValueError):
        return taken
    if not isinstance(said, dict) or not {"status", "engine_state", "code"} & said.keys():
        return taken
    if answer.is_success:
        return Finding("port", "ok", f"{part}: runs on {port}, and is well")
    return Finding("port", "warning", f"{part}: runs on {port}: {said.get('title')}", str(said.get("detail", "")))


def _is_free(port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno not in {errno.EADDRINUSE, errno.EACCES}
    return True


async def _public(url: str) -> Finding:
    try:
        async with httpx.AsyncClient(timeout=ANSWER_WITHIN_S) as client:
            answer = await client.get(f"{url}/healthz")
    except httpx.HTTPError as error:
        return Finding(
            "address",
            "warning",
            f"{url} does not answer from here: {error}",
            "Check that the proxy runs, its certificate, and the name's address. Some routers are deaf from inside.",
        )
    if answer.is_success:
        return Finding("address", "ok", f"{url} answers")
    return Finding("address", "warning", f"{url} answers with {answer.status_code}", "Check the proxy; see deploy/.")


def _own_addresses() -> list[str]:
    families = {socket.AF_INET}
    listed = (entry for entries in psutil.net_if_addrs().values() for entry in entries)
    return sorted({entry.address for entry in listed if entry.family in families and entry.address != "127.0.0.1"})
