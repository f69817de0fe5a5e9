"""Requests byte by byte: clients of others repair what they send."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.security.calling import verdict_of_parts
from tests.security.vectors import spelt_out

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.security.route_tables import Place

WITHIN_S = 5.0


def verdict_of_request(household: Household, place: Place, given: dict[str, Any]) -> str:
    """Send what a vector describes and return what came of it."""
    port = urlsplit(household.url(place)).port or 0
    request = request_of(spelt_out(given), **_token(household, place, given))
    for name, value in {
        "PORT": str(port),
        "NODE": household.thread.node_id,
        "SHA256": household.places["sha256"],
        "ANSWER": household.places["answer"],
    }.items():
        request = request.replace(name.encode(), value.encode())
    return verdict_of_answer(sent(port, request))


def _token(household: Household, place: Place, given: dict[str, Any]) -> dict[str, str]:
    if given.get("token"):
        return {"token": household.own_token(place)}
    return {"token": household.places["api_key"]} if given.get("api_key") else {}


def request_of(given: dict[str, Any], token: str | None = None) -> bytes:
    """Return the bytes of a request that a vector describes, with what stands in words spelt out."""
    headers = [(name, value) for name, value in given.get("headers", [])]
    host = given.get("host", "localhost:PORT")
    if host is not None:
        headers.insert(0, ("Host", host))
    if token is not None:
        headers.append(("Authorization", f"Bearer {token}"))
    body = str(given.get("body", "")).encode("latin-1")
    names = {name.lower() for name, _ in headers}
    if body and not names & {"content-length", "transfer-encoding"}:
        headers.append(("Content-Length", str(len(body))))
    headers.append(("Connection", "close"))
    lines = [given["line"], *(f"{name}: {value}" for name, value in headers)]
    head = "\r\n".join(lines).encode("latin-1" if given.get("latin") else "utf-8")
    return head + b"\r\n\r\n" + body


def sent(port: int, request: bytes, within_s: float = WITHIN_S, host: str = "127.0.0.1") -> bytes:
    """Return all that comes back; nothing where the connection is cut instead."""
    answer = b""
    with socket.create_connection((host, port), timeout=within_s) as connection:
        try:
            connection.sendall(request)
            while piece := connection.recv(65_536):
                answer += piece
        except (ConnectionError, TimeoutError):
            pass
    return answer


def verdict_of_answer(answer: bytes) -> str:
    """Return status and code of all that came back."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    if not head:
        return "cut"
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return verdict_of_parts(int(lines[0].split(" ")[1]), headers.get("content-type", ""), body)
