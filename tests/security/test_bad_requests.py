"""Requests that no client of ours sends: hosts, origins, headers, paths, queries, lengths, ranges."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from shared import bounded_http
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
