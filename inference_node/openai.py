"""The OpenAI-compatible API for other programs on this PC. Its errors have OpenAI's shape."""

from __future__ import annotations

import asyncio
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from inference_node.callers import require_key
from inference_node.content import JSON, read_struct
from inference_node.engine import Begun, Finished, Piece
from inference_node.event_stream import EventStream
from inference_node.openai_wire import (
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    ErrorBody,
    ErrorReply,
    ModelCard,
    ModelList,
    Reply,
    Usage,
    finish_reason,
)
from inference_node.services import services_of
from shared.errors import DomovoiError
from shared.limits import MAX_ANSWER_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from msgspec import Struct
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from inference_node.engine import EngineEvent

DEFAULT_NAME = "default"
_DONE = b"data: [DONE]\n\n"


async def models(request: Request) -> ASGIApp:
    """List the models of this node."""
    try:
        require_key(request)
        found = services_of(request).store.list()
        return _json(ModelList([ModelCard(model.name, int(model.path.stat().st_mtime)) for model in found]))
    except DomovoiError as error:
        return _refusal(error)


async def chat_completions(request: Request) -> ASGIApp:
    """Continue a conversation, at once or as a stream of chunks."""
    try:
        require_key(request)
        wanted = await read_struct(request, ChatRequest, MAX_ANSWER_BODY_BYTES)
        prompt = wanted.prompt()
        completions = services_of(request).completions
        model = completions.resolve(None if wanted.model == DEFAULT_NAME else wanted.model)
        answer = _Answer(completions.events(model, prompt), model.name)
        await answer.begin()
        if wanted.stream:
            has_usage = wanted.stream_options is not None and wanted.stream_options.include_usage
            return EventStream(answer.chunks(has_usage))
        return await _unless_gone(request, answer)
    except DomovoiError as error:
        return _refusal(error)


class _Answer:
    """One completion on its way. The engine's refusals come before its first event, so `begin` finds them."""

    def __init__(self, events: AsyncGenerator[EngineEvent], model: str) -> None:
        self._events = events
        self._model = model
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._prompt_tokens = 0

    async def begin(self) -> None:
        """Wait until the engine has accepted the prompt. Raises DomovoiError."""
        first = await anext(self._events)
        if isinstance(first, Begun):
            self._prompt_tokens = first.prompt_tokens

    async def whole(self) -> ChatCompletion:
        """Return the whole answer. Raises DomovoiError."""
        pieces: list[str] = []
        async for event in self._events:
            if isinstance(event, Piece):
                pieces.append(event.text)
            elif isinstance(event, Finished):
                choice = Choice(Reply("".join(pieces)), finish_reason(event.reason))
        return ChatCompletion(self._id, self._created, self._model, [choice], self._usage(event))

    async def chunks(self, has_usage: bool) -> AsyncIterator[bytes]:
        """Yield the answer's events, `[DONE]` last; an engine that dies says so in an event of its own."""
        yield self._chunk(Delta(role="assistant", content=""))
        try:
            async for event in self._events:
                if isinstance(event, Piece):
                    yield self._chunk(Delta(content=event.text))
                elif isinstance(event, Finished):
                    yield self._chunk(Delta(), finish_reason(event.reason))
                    if has_usage:
                        yield _event(ChatChunk(self._id, self._created, self._model, [], self._usage(event)))
        except DomovoiError as error:
            yield _event(_error_reply(error))
        finally:
            # Not left to the garbage collector: closing it is what stops the engine.
            await self._events.aclose()
        yield _DONE

    def _chunk(self, delta: Delta, reason: str | None = None) -> bytes:
        return _event(ChatChunk(self._id, self._created, self._model, [ChunkChoice(delta, reason)]))

    def _usage(self, last: EngineEvent) -> Usage:
        completed = last.completion_tokens if isinstance(last, Finished) else 0
        return Usage(self._prompt_tokens, completed, self._prompt_tokens + completed)


async def _unless_gone(request: Request, answer: _Answer) -> Response:
    """Return the whole answer; when the caller leaves first, stop the engine and return what nobody reads."""
    collecting = asyncio.create_task(answer.whole())
    leaving = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return _json(collecting.result()) if collecting.done() else Response(status_code=HTTPStatus.NO_CONTENT)
    finally:
        leaving.cancel()
        collecting.cancel()
        await asyncio.gather(leaving, collecting, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(body: Struct) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(body)


def _json(body: Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type=JSON, headers={"cache-control": "no-store"})


def _refusal(error: DomovoiError) -> Response:
    return _json(_error_reply(error), error.status)


def _error_reply(error: DomovoiError) -> ErrorReply:
    kind = "server_error" if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    return ErrorReply(ErrorBody(error.detail, kind, error.code))
