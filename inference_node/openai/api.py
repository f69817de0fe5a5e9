"""The OpenAI-compatible API for other programs on this PC: what is asked at which address, and how answers travel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.responses import Response
from starlette.routing import Route

from inference_node.endpoints.answers import SEND_WITHIN_S, STREAM_HEADERS
from inference_node.endpoints.content import JSON, read
from inference_node.endpoints.door import bearer
from inference_node.engines.engine import PromptTooLong
from inference_node.openai.chat import ChatAnswer
from inference_node.openai.chat_wire import ChatRequest
from inference_node.openai.choices import Desk
from inference_node.openai.completions import CompletionRequest, TextAnswer, completion_prompts
from inference_node.openai.embeddings import EmbeddingsRequest, embeddings_list
from inference_node.openai.errors import error_answer, with_openai_errors
from inference_node.openai.models import ModelCards, model_card
from inference_node.openai.prompts import chat_prompts
from shared.errors import Code, DomovoiError
from shared.limits import EVENT_STREAM_PING_S, MAX_ANSWER_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from inference_node.endpoints.api_keys import ApiKeys
    from inference_node.engines.engine import Embeddings
    from inference_node.loading.keeper import Keeper
    from inference_node.loading.ready import Ready
    from inference_node.openai.choices import Choices
    from inference_node.runs.turns import Turns

log = logging.getLogger(__name__)

# nginx's word for it; nobody is there to read it.
HUNG_UP = 499


class OpenAiApi:
    """The endpoints."""

    def __init__(self, keys: ApiKeys, keeper: Keeper, turns: Turns) -> None:
        self._keys = keys
        self._store = keeper.store
        self._desk = Desk(keeper, turns)

    def routes(self) -> list[Route]:
        """Return the routes."""
        endpoints = [
            ("GET", "/v1/models", self.models),
            ("GET", "/v1/models/{model}", self.model),
            ("POST", "/v1/chat/completions", self.chat),
            ("POST", "/v1/completions", self.completions),
            ("POST", "/v1/embeddings", self.embeddings),
        ]
        return [Route(path, with_openai_errors(endpoint), methods=[method]) for method, path, endpoint in endpoints]

    async def models(self, request: Request) -> Response:
        """List the models; each can be asked for by its id."""
        self._require_key(request)
        return _json(ModelCards([model_card(model) for model in self._store.list()]))

    async def model(self, request: Request) -> Response:
        """Show one model."""
        self._require_key(request)
        return _json(model_card(self._store.find(request.path_params["model"])))

    async def chat(self, request: Request) -> Response:
        """Answer a chat."""
        owner = self._require_key(request)
        body = await read(request, ChatRequest, MAX_ANSWER_BODY_BYTES)
        prompts = chat_prompts(body, owner)
        choices = self._desk.ask(owner, self._known_model(body.model), prompts)
        answer = ChatAnswer(body, choices)
        return await _answered(request, choices, answer.chunks() if body.stream else answer.whole())

    async def completions(self, request: Request) -> Response:
        """Continue a text."""
        owner = self._require_key(request)
        body = await read(request, CompletionRequest, MAX_ANSWER_BODY_BYTES)
        prompts = completion_prompts(body, owner)
        choices = self._desk.ask(owner, self._known_model(body.model), prompts)
        answer = TextAnswer(body, prompts, choices)
        return await _answered(request, choices, answer.chunks() if body.stream else answer.whole())

    async def embeddings(self, request: Request) -> Response:
        """Say where texts lie."""
        owner = self._require_key(request)
        body = await read(request, EmbeddingsRequest, MAX_ANSWER_BODY_BYTES)
        texts = body.texts

        async def embed(ready: Ready) -> tuple[Embeddings, str] | None:
            # What the model can't do is no failure of its engine, and no reason to take another.
            can_embed = ready.loaded.can_embed
            try:
                return (await ready.engine.embed(texts), ready.model.path.stem) if can_embed else None
            except PromptTooLong as error:
                detail = f"A text takes {error.tokens} tokens of {ready.context}. Shorten it."
                raise DomovoiError(Code.CONTEXT_TOO_LONG, detail) from error

        async def work() -> Response:
            made = await self._desk.once(owner, self._known_model(body.model), embed)
            if made is None:
                raise DomovoiError(Code.UNSUPPORTED, "It answers and makes no embeddings. Choose another model.")
            return _json(embeddings_list(body, *made))

        return await while_connected(request, work())

    def _known_model(self, name: str | None) -> str | None:
        """Refuse an unknown model before it waits for its turn. Many programs insist on sending a name: "default"
        means ours, as saying nothing does.
        """
        if name in {None, "", "default"}:
            return None
        self._store.find(name)
        return name

    def _require_key(self, request: Request) -> str:
        """Return the name of the key's owner in the queue and in the engine's memory."""
        secret = bearer(request)
        if not secret:
            raise DomovoiError(Code.TOKEN_MISSING, "Send an API key made on this PC: domovoi keys create.")
        key = self._keys.find(secret)
        if key is None:
            raise DomovoiError(Code.TOKEN_INVALID, "This API key is not known. Make one: domovoi keys create.")
        self._keys.note_use(key)
        return f"api {key.id}"


class AnswerStream(EventSourceResponse):
    """A streamed answer. However it ends, what is still being made ends with it."""

    def __init__(self, frames: AsyncGenerator[bytes, None], choices: Choices) -> None:
        super().__init__(frames, headers=STREAM_HEADERS, ping=EVENT_STREAM_PING_S, send_timeout=SEND_WITHIN_S)
        self._choices = choices

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("a program took nothing of its answer for %s s and was cut off", SEND_WITHIN_S)
        finally:
            self._choices.leave()


async def _answered(
    request: Request, choices: Choices, answer: AsyncGenerator[object, None] | Coroutine[None, None, object]
) -> Response:
    """Return the answer, whole or streamed.

    What is wrong with a request shows before the first word, while there is still a status to send.
    """

    async def work() -> Response:
        if isinstance(answer, AsyncGenerator):
            return AnswerStream(_frames(await anext(answer), answer), choices)
        return _json(await answer)

    return await while_connected(request, work())


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


async def _frames(first: object, rest: AsyncGenerator[object, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield _frame(first)
        try:
            async for chunk in rest:
                yield _frame(chunk)
        except DomovoiError as error:
            yield _frame(error_answer(error))
            return
        except Exception:
            log.exception("an answer for a program failed")
            yield _frame(error_answer(DomovoiError(Code.INTERNAL)))
            return
    yield b"data: [DONE]\n\n"


def _frame(value: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, {"Cache-Control": "no-store"}, JSON)
