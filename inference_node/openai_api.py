"""/v1/models and /v1/chat/completions for other programs on this PC, as OpenAI's clients expect them."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET
from sse_starlette import EventSourceResponse
from starlette.responses import Response
from starlette.routing import Route

from inference_node import clock, metrics
from inference_node.answers import SEND_WITHIN_S, STREAM_HEADERS
from inference_node.content import JSON, read
from inference_node.door import bearer
from inference_node.engine import ChatMessage, Finished, Piece, Prompt
from inference_node.openai_wire import (
    ChatOutput,
    ChatRequest,
    Choice,
    Completion,
    ErrorAnswer,
    ErrorBody,
    ModelCard,
    ModelCards,
    Usage,
)
from inference_node.prompting import answer
from shared.errors import EXPLANATIONS, Code, DomovoiError
from shared.limits import EVENT_STREAM_PING_S, MAX_ANSWER_BODY_BYTES
from shared.values import Sampling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from starlette.requests import Request

    from inference_node.api_keys import ApiKeys
    from inference_node.keeper import Keeper, Ready
    from inference_node.turns import Ticket, Turns

FIRST_SERVER_ERROR = 500
UNAUTHORIZED = 401
# nginx's word for it; nobody is there to read it.
HUNG_UP = 499


class OpenAiApi:
    """Takes turns with people's answers: a program is one more account in the queue."""

    def __init__(self, keys: ApiKeys, keeper: Keeper, turns: Turns) -> None:
        self._keys = keys
        self._keeper = keeper
        self._turns = turns

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/models", _with_openai_errors(self.models), methods=["GET"]),
            Route("/v1/chat/completions", _with_openai_errors(self.chat), methods=["POST"]),
        ]

    async def models(self, request: Request) -> Response:
        """List the models; each can be asked for by its id."""
        self._require_key(request)
        files = self._keeper.store.list()
        cards = [ModelCard(file.path.stem, int(file.path.stat().st_mtime)) for file in files]
        return _json(ModelCards(cards))

    async def chat(self, request: Request) -> Response:
        """Answer a chat, streamed or whole."""
        owner = self._require_key(request)
        body = await read(request, ChatRequest, MAX_ANSWER_BODY_BYTES)
        return await while_connected(request, self._answer(owner, body))

    async def _answer(self, owner: str, body: ChatRequest) -> Response:
        ticket = self._turns.take(owner)
        try:
            await ticket.wait()
            ready = await self._keeper.acquire(_known_model(body.model))
        except BaseException:
            ticket.release()
            raise
        chat = _Chat(self._keeper, ready, ticket, owner, body)
        if not body.stream:
            return _json(await chat.whole())
        chunks = chat.chunks()
        # What is wrong with the request shows before the first word, while there is still a status to send.
        first = await anext(chunks)
        return EventSourceResponse(
            _frames(first, chunks), headers=STREAM_HEADERS, ping=EVENT_STREAM_PING_S, send_timeout=SEND_WITHIN_S
        )

    def _require_key(self, request: Request) -> str:
        secret = bearer(request)
        if not secret:
            raise DomovoiError(Code.TOKEN_MISSING, "Send an API key made on this PC: domovoi keys create.")
        key = self._keys.find(secret)
        if key is None:
            raise DomovoiError(Code.TOKEN_INVALID, "This API key is not known. Make one: domovoi keys create.")
        return f"api {key.name}"


class _Chat:
    """One answer for a program. It ends, and gives the engine back, when the program hangs up."""

    def __init__(self, keeper: Keeper, ready: Ready, ticket: Ticket, owner: str, body: ChatRequest) -> None:
        self._keeper = keeper
        self._ready = ready
        self._ticket = ticket
        self._owner = owner
        self._body = body
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(clock.now_s())

    async def whole(self) -> Completion:
        """Return the answer in one piece."""
        pieces: list[str] = []
        finished: Finished | None = None
        async with aclosing(self._events()) as events:
            async for event in events:
                if isinstance(event, Piece):
                    pieces.append(event.text)
                else:
                    finished = event
        message = ChatOutput(role="assistant", content="".join(pieces))
        choice = Choice(0, _finish_reason(finished), message=message)
        return self._completion([choice], finished, is_chunk=False)

    async def chunks(self) -> AsyncGenerator[Completion, None]:
        """Yield the answer as it comes."""
        finished: Finished | None = None
        is_first = True
        async with aclosing(self._events()) as events:
            async for event in events:
                if is_first:
                    yield self._chunk(ChatOutput(role="assistant", content=""))
                    is_first = False
                if isinstance(event, Piece):
                    yield self._chunk(ChatOutput(content=event.text))
                else:
                    finished = event
        yield self._completion([Choice(0, _finish_reason(finished), delta=ChatOutput())], None, is_chunk=True)
        if self._body.stream_options is not None and self._body.stream_options.include_usage:
            yield self._completion([], finished, is_chunk=True)

    async def _events(self) -> AsyncGenerator[Piece | Finished, None]:
        body = self._body
        sampling = Sampling(
            temperature=body.temperature,
            top_p=body.top_p,
            max_tokens=body.max_completion_tokens or body.max_tokens,
            seed=body.seed,
        )
        messages = [
            ChatMessage("system" if message.role == "developer" else message.role, message.text)
            for message in body.messages
        ]
        prompt = Prompt(messages, sampling, body.stops, owner=self._owner)
        metrics.runs_started.inc()
        try:
            async with aclosing(answer(self._ready, prompt)) as events:
                async for event in events:
                    if isinstance(event, Piece | Finished):
                        yield event
            self._keeper.worked()
        except DomovoiError as error:
            if error.code == Code.ENGINE_FAILED:
                self._keeper.lost(self._ready)
            raise
        finally:
            self._keeper.release(self._ready)
            self._ticket.release()

    def _chunk(self, delta: ChatOutput) -> Completion:
        return self._completion([Choice(0, None, delta=delta)], None, is_chunk=True)

    def _completion(self, choices: list[Choice], finished: Finished | None, *, is_chunk: bool) -> Completion:
        usage: Usage | msgspec.UnsetType = UNSET
        if finished is not None:
            prompt, completion = finished.prompt_tokens, finished.completion_tokens
            usage = Usage(prompt, completion, prompt + completion)
        return Completion(
            id=self._id,
            object="chat.completion.chunk" if is_chunk else "chat.completion",
            created=self._created,
            model=self._ready.model.path.stem,
            choices=choices,
            usage=usage,
        )


async def while_connected(request: Request, work: Coroutine[None, None, Response]) -> Response:
    """Return what `work` returns, or cancel it when the caller hangs up before."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else Response(status_code=HUNG_UP)
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _known_model(name: str | None) -> str | None:
    """Many programs insist on sending a name: "default" means ours, as saying nothing does."""
    return None if name in {None, "", "default"} else name


def _finish_reason(finished: Finished | None) -> Literal["stop", "length"]:
    return "length" if finished is not None and finished.reason == "length" else "stop"


async def _frames(first: Completion, rest: AsyncGenerator[Completion, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield _frame(first)
        try:
            async for chunk in rest:
                yield _frame(chunk)
        except DomovoiError as error:
            yield _frame(_error_answer(error))
            return
    yield b"data: [DONE]\n\n"


def _frame(value: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)


def _error_answer(error: DomovoiError) -> ErrorAnswer:
    if error.status == UNAUTHORIZED:
        kind = "authentication_error"
    else:
        kind = "server_error" if error.status >= FIRST_SERVER_ERROR else "invalid_request_error"
    message = f"{EXPLANATIONS[error.code].title} {error.detail}"
    return ErrorAnswer(ErrorBody(message=message, type=kind, code=error.code))


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, {"Cache-Control": "no-store"}, JSON)


def _with_openai_errors(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except DomovoiError as error:
            return _json(_error_answer(error), error.status)

    return guarded
