"""Requests that no client of ours sends: hosts, origins, headers, paths, queries, lengths, ranges."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from shared import bounded_http
from sync_server import main
from tests.security.calling import NO_PROBLEM
from tests.security.raw_http import WITHIN_S, request_of, sent, verdict_of_answer, verdict_of_request
from tests.security.vectors import Vector, spelt_out, table
from tests.sync_server.running_server import RunningServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.security.household import Household
    from tests.security.ledger import Ledger
    from tests.security.route_tables import Place

OUTSIDE = "what lies outside"
BOTH = ["server", "loopback"]
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"


@pytest.mark.usefixtures("nothing_is_lost")
def test_every_request_of_the_table(household: Household, ledger: Ledger) -> None:
    wrong = [line for vector in table("http") for line in _tried(household, ledger, vector)]
    assert wrong == []


def _tried(household: Household, ledger: Ledger, vector: Vector) -> list[str]:
    wrong = []
    for place in vector.input.get("at", BOTH):
        verdict = verdict_of_request(household, place, vector.input)
        is_wrong = verdict != vector.verdict
        is_unhandled = verdict.startswith("500") or NO_PROBLEM in verdict
        ledger.note("requests", wrongly_accepted=is_wrong and verdict[0] == "2", unhandled=is_unhandled)
        if is_wrong:
            wrong.append(f"{vector.id} at {place} ({vector.comment}): {verdict}, not {vector.verdict}")
    return wrong


def test_no_address_leads_out_of_the_apps_folder(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    (folder / "assets" / "a.b").mkdir(parents=True)
    (folder / "index.html").write_text("the app")
    (tmp_path / "outside.txt").write_text(OUTSIDE)
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    server = RunningServer(tmp_path / "data", app_folder=folder)
    try:
        wrong = []
        for vector in table("app_files"):
            request = request_of(spelt_out(vector.input)).replace(b"PORT", str(server.port).encode())
            answer = sent(server.port, request)
            verdict = verdict_of_answer(answer)
            is_unhandled = verdict.startswith("500") or NO_PROBLEM in verdict
            is_shown = OUTSIDE.encode() in answer
            ledger.note("files of the app", wrongly_accepted=is_shown, unhandled=is_unhandled)
            if is_shown or is_unhandled or vector.verdict not in {"", verdict}:
                wrong.append(f"{vector.id} ({vector.comment}): {verdict}, not {vector.verdict}")
    finally:
        server.stop()
    assert wrong == []


@pytest.mark.parametrize("place", BOTH)
@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc", WHOLE + b"GET /h"])
def test_W3_a_head_that_does_not_come_to_its_end_is_not_waited_for(
    household: Household, monkeypatch: pytest.MonkeyPatch, place: Place, begun: bytes
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_WITHIN_S", 0.1)
    port = urlsplit(household.url(place)).port or 0
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as connection:
        connection.sendall(begun.replace(b"PORT", str(port).encode()))
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    assert answer.count(b"HTTP/1.1 200") == begun.count(WHOLE)


SLOW_BODY = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("place", BOTH)
@pytest.mark.parametrize(
    "begun",
    [
        SLOW_BODY + b"Content-Length: 100\r\n\r\n",
        SLOW_BODY + b'Content-Length: 100\r\n\r\n{"user',
        SLOW_BODY + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        # Answered before it is read, and then still not there.
        SLOW_BODY.replace(b"/api/v1/auth/login", b"/nowhere") + b"Content-Length: 100\r\n\r\n",
        # Nothing but line ends: neither a head nor a body.
        WHOLE + b"\r\n",
    ],
)
def test_W3_a_body_that_stops_arriving_is_not_waited_for(
    household: Household, monkeypatch: pytest.MonkeyPatch, place: Place, begun: bytes
) -> None:
    monkeypatch.setattr(bounded_http, "BODY_WITHIN_S", 0.1)
    monkeypatch.setattr(bounded_http, "HEAD_WITHIN_S", 0.1)
    port = urlsplit(household.url(place)).port or 0
    # It ends, and nobody says that all is well.
    answer = sent(port, begun.replace(b"PORT", str(port).encode()), within_s=30.0)
    assert answer.count(b"HTTP/1.1 200") == begun.count(WHOLE)


def test_W3_one_connection_too_many_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(bounded_http, "TOLD", 2)
    server = RunningServer(tmp_path / "data")
    whole = WHOLE.replace(b"PORT", str(server.port).encode())
    try:
        with ExitStack() as held:
            for _ in range(3):
                held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=WITHIN_S))
            assert verdict_of_answer(sent(server.port, whole)) == "503 too_busy"
            for _ in range(2):
                held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=WITHIN_S))
            assert verdict_of_answer(sent(server.port, whole)) == "cut"
        # Who was there before goes on, and there is room again when they have gone.
        client = server.client()
        assert any(client.get("/healthz").status_code == 200 for _ in range(1000))
    finally:
        server.stop()
