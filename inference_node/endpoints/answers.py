"""/v1/answers: start, watch, stop. The same in the clear on loopback and inside sealed calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sse_starlette import EventSourceResponse
from starlette.responses import Response
from starlette.routing import Route

from inference_node.endpoints.content import read, respond
from inference_node.engines.engine import ChatMessage
from inference_node.runs.run import Asked
from shared.errors import Code, DomovoiError
from shared.identifiers import from_hex
from shared.limits import EVENT_STREAM_PING_S, MAX_ANSWER_BODY_BYTES
from shared.runs import parse_event_id
from shared.wire import AnswerStarted, StartAnswer

if TYPE_CHECKING:
    from starlette.requests import Request

    from inference_node.log.claims import Claims
    from inference_node.runs.runs import Runs

Authenticate = Callable[["Request"], Awaitable[bytes]]

# A watcher that takes nothing for this long is cut off; it comes back for the rest (S3).
SEND_WITHIN_S = 30
# When the node stops, its watchers have this long to get the last event: less than main.GRACE_S.
LAST_EVENT_WITHIN_S = 2.0
# "no-transform": a proxy that compresses would hold events back.
STREAM_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


class Answers:
    """The endpoints. `authenticate` returns the caller's account or raises DomovoiError."""

    def __init__(self, runs: Runs, claims: Claims, node_id: bytes, authenticate: Authenticate) -> None:
        self._runs = runs
        self._claims = claims
        self._node_id = node_id
        self._authenticate = authenticate

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/answers", self.start, methods=["POST"]),
            Route("/v1/answers/{answer}/events", self.events, methods=["GET"]),
            Route("/v1/answers/{answer}/stop", self.stop, methods=["POST"]),
        ]

    async def start(self, request: Request) -> Response:
        """Start an answer or attach to its run (Q2)."""
        account = await self._authenticate(request)
        body = await read(request, StartAnswer, MAX_ANSWER_BODY_BYTES)
        if body.request.node != self._node_id:
            raise DomovoiError(Code.BAD_REQUEST, "The request names another node, or none. Ask the one it names.")
        await self._claims.require_runnable(account, body.answer, body.conversation)
        state = await self._runs.start(
            Asked(
                account=account,
                answer=body.answer,
                conversation=body.conversation,
                model=body.request.model,
                sampling=body.request.sampling,
                path=[ChatMessage(message.role, message.text) for message in body.path],
            )
        )
        return respond(request, AnswerStarted(body.answer, state))

    async def events(self, request: Request) -> Response:
        """Stream the run's events after the last one that the watcher has seen (S3)."""
        account = await self._authenticate(request)
        answer = _answer_id(request)
        after = _last_seen(request, answer)
        run = self._runs.find(account, answer)
        if run is None:
            is_known = await self._runs.state(account, answer) is not None
            raise DomovoiError(Code.EVENTS_GONE if is_known else Code.ANSWER_UNKNOWN)
        run.replay.require(after)
        return EventSourceResponse(
            run.replay.follow(after),
            headers=STREAM_HEADERS,
            ping=EVENT_STREAM_PING_S,
            send_timeout=SEND_WITHIN_S,
            shutdown_grace_period=LAST_EVENT_WITHIN_S,
        )

    async def stop(self, request: Request) -> Response:
        """Stop the run. A run that has ended stays as it is."""
        account = await self._authenticate(request)
        answer = _answer_id(request)
        if not self._runs.stop(account, answer) and await self._runs.state(account, answer) is None:
            raise DomovoiError(Code.ANSWER_UNKNOWN)
        return Response(status_code=204)


def _answer_id(request: Request) -> bytes:
    try:
        return from_hex(request.path_params["answer"])
    except ValueError as error:
        raise DomovoiError(Code.ANSWER_UNKNOWN) from error


def _last_seen(request: Request, answer: bytes) -> int:
    """Return the number of the last event seen; 0 when none was."""
    header = request.headers.get("last-event-id")
    after = request.query_params.get("after", "0")
    try:
        if header:
            return parse_event_id(header, answer)
        if not after.isascii() or not after.isdigit():
            raise ValueError("not a number")
        return int(after)
    except ValueError as error:
        raise DomovoiError(Code.BAD_REQUEST, "Last-Event-ID or after does not name an event of this answer.") from error
