"""/v1/completions, the older of OpenAI's APIs: raw text is continued, without the model's template."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from inference_node import clock
from inference_node.engines.engine import Finished, Piece, Prompt
from inference_node.openai.prompts import require_no_bias
from inference_node.openai.wire import MOST_CHOICES, AnswerRequest, Usage, usage
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from inference_node.engines.engine import Token
    from inference_node.openai.choices import Choices

# OpenAI's default for this API.
MOST_TOKENS = 16
MOST_ALTERNATIVES = 20


class CompletionRequest(AnswerRequest, frozen=True, kw_only=True):
    """POST /v1/completions. Members that are not named here are ignored."""

    prompt: str | list[str | int | list[int]]
    logprobs: Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class TextLogprobs(Struct, frozen=True):
    """The tokens of a text, with where each begins in it, in characters."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class TextChoice(Struct, frozen=True):
    """One of the texts, or what is new of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None


class TextCompletion(Struct, frozen=True, kw_only=True):
    """Answer to POST /v1/completions, or an event of one. `created` is in seconds since 1970."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | UnsetType | None = UNSET
    object: Literal["text_completion"] = "text_completion"


def completion_prompts(body: CompletionRequest, owner: str) -> list[Prompt]:
    """Return a prompt for each choice, those of one text together. Raises DomovoiError `bad_request`, `unsupported`."""
    require_no_bias(body)
    texts = _texts(body)
    if len(texts) * body.count > MOST_CHOICES:
        raise DomovoiError(
            Code.BAD_REQUEST, f"These are more than {MOST_CHOICES} texts. Ask for some of them at a time."
        )
    if body.suffix:
        raise DomovoiError(Code.UNSUPPORTED, "Text before a suffix can't be filled in here. Leave suffix out.")
    if body.best_of not in {None, 1, body.count}:
        raise DomovoiError(Code.UNSUPPORTED, "best_of is not done here. Leave it out and choose among n.")
    if body.echo and body.logprobs is not None:
        raise DomovoiError(Code.UNSUPPORTED, "A prompt's own logprobs are not known here. Leave echo or logprobs out.")
    most_tokens = body.max_tokens or MOST_TOKENS
    return [
        Prompt(
            sampling=body.sampling(choice, most_tokens),
            stop=body.stops,
            owner=owner,
            text=text,
            logprobs=body.logprobs,
        )
        for text in texts
        for choice in range(body.count)
    ]


def _texts(body: CompletionRequest) -> list[str]:
    given = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) < len(given):
        raise DomovoiError(Code.UNSUPPORTED, "Tokens are not the same for every model. Send the prompt as text.")
    if not texts or not all(texts):
        raise DomovoiError(Code.BAD_REQUEST, "There is nothing to continue. Send a prompt.")
    return texts


class TextAnswer:
    """The answer to one request."""

    def __init__(self, body: CompletionRequest, prompts: list[Prompt], choices: Choices) -> None:
        self._body = body
        self._prompts = prompts
        self._choices = choices
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(clock.now_s())
        self._ended: dict[int, Finished] = {}

    async def chunks(self) -> AsyncGenerator[TextCompletion, None]:
        """Yield the answer as it comes."""
        counts = None if self._body.includes_usage else UNSET
        async with aclosing(self._parts()) as parts:
            async for part in parts:
                yield self._completion([part], counts)
        if self._body.includes_usage:
            yield self._completion([], usage(self._ended, self._body.count))

    async def whole(self) -> TextCompletion:
        """Return the answer in one piece."""
        collected: list[list[TextChoice]] = [[] for _ in self._prompts]
        async with aclosing(self._parts()) as parts:
            async for part in parts:
                collected[part.index].append(part)
        choices = [_joined(parts) for parts in collected]
        return self._completion(choices, usage(self._ended, self._body.count))

    async def _parts(self) -> AsyncGenerator[TextChoice, None]:
        begun: dict[int, int] = {}
        async with aclosing(self._choices.events()) as events:
            async for index, event in events:
                if index not in begun:
                    begun[index] = 0
                    yield TextChoice(index, self._prompts[index].text or "" if self._body.echo else "")
                match event:
                    case Piece(text=text, tokens=tokens):
                        yield TextChoice(index, text, _logprobs(tokens, begun[index]) if tokens else None)
                        begun[index] += sum(len(token.text) for token in tokens)
                    case Finished(reason=reason):
                        self._ended[index] = event
                        yield TextChoice(index, "", finish_reason="length" if reason == "length" else "stop")

    def _completion(self, choices: list[TextChoice], counts: Usage | UnsetType | None) -> TextCompletion:
        return TextCompletion(
            id=self._id, created=self._created, model=self._choices.model, choices=choices, usage=counts
        )


def _joined(parts: list[TextChoice]) -> TextChoice:
    known = [part.logprobs for part in parts if part.logprobs is not None]
    logprobs = None
    if known:
        logprobs = TextLogprobs(
            [token for one in known for token in one.tokens],
            [logprob for one in known for logprob in one.token_logprobs],
            None if known[0].top_logprobs is None else [top for one in known for top in one.top_logprobs or ()],
            [offset for one in known for offset in one.text_offset],
        )
    return TextChoice(parts[0].index, "".join(part.text for part in parts), logprobs, parts[-1].finish_reason)


def _logprobs(tokens: list[Token], start: int) -> TextLogprobs:
    offsets = []
    for token in tokens:
        offsets.append(start)
        start += len(token.text)
    has_alternatives = any(token.alternatives for token in tokens)
    tops = [{other.text: other.logprob for other in token.alternatives} for token in tokens]
    return TextLogprobs(
        [token.text for token in tokens],
        [token.logprob for token in tokens],
        tops if has_alternatives else None,
        offsets,
    )
