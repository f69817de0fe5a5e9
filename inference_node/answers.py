"""Answers over HTTP: start, watch, stop. The same on the loopback and the remote application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from inference_node.callers import account_of
from inference_node.content import answer, read_struct
from inference_node.event_stream import EventStream
from inference_node.services import services_of
from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.limits import MAX_ANSWER_BODY_BYTES, MAX_SEQUENCE
from shared.runs import parse_event_id
from shared.wire import AnswerStarted, StartAnswer

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST_DIGITS = len(str(MAX_SEQUENCE))


async def start(request: Request) -> Response:
    """Start an answer, or attach to the run that there is."""
    account_id = await account_of(request)
    wanted = await read_struct(request, StartAnswer, MAX_ANSWER_BODY_BYTES)
    state = await services_of(request).claims.start(account_id, wanted)
    return answer(request, AnswerStarted(wanted.answer, state))


async def events(request: Request) -> EventStream:
    """Stream the run's events after the last one seen, then as they come, until it has ended."""
    services = services_of(request)
    account_id, answer_id = await account_of(request), _answer_id(request)
    run = services.runs.find(account_id, answer_id)
    if run is None:
        is_known = await services.records.find(account_id, answer_id) is not None
        raise DomovoiError(Code.EVENTS_GONE if is_known else Code.ANSWER_UNKNOWN)
    return EventStream(run.replay.watch(_after(request, answer_id)))


async def stop(request: Request) -> Response:
    """Stop a run. One that has ended is stopped already."""
    services = services_of(request)
    account_id, answer_id = await account_of(request), _answer_id(request)
    is_running = await services.runs.stop(account_id, answer_id)
    if not is_running and await services.records.find(account_id, answer_id) is None:
        raise DomovoiError(Code.ANSWER_UNKNOWN)
    return Response(status_code=204)


def _answer_id(request: Request) -> bytes:
    try:
        return from_hex(request.path_params["answer_id"])
    except ValueError as error:
        raise DomovoiError(Code.ANSWER_UNKNOWN) from error


def _after(request: Request, answer_id: bytes) -> int:
    last_event = request.headers.get("last-event-id")
    text = request.query_params.get("after", "0")
    try:
        if last_event:
            return parse_event_id(last_event, answer_id)
        if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
            raise ValueError("not a number")
        return int(text)
    except ValueError as error:
        raise DomovoiError(Code.BAD_REQUEST, "Last-Event-ID or after does not name an event of this answer.") from error
