"""Answers to a chat as OpenAI's clients read them: whole, or chunk by chunk."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import UNSET

from inference_node import clock
from inference_node.engines.engine import Finished, Piece, ToolCallPiece
from inference_node.openai.chat_wire import (
    AssistantCall,
    CallDelta,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatLogprobs,
    ChatMessageOutput,
    FunctionCall,
    TokenAlternative,
    TokenLogprob,
    ToolCallDelta,
)
from inference_node.openai.prompts import callable_functions
from inference_node.openai.tool_calls import ToolCallReader, new_call_id
from inference_node.openai.wire import usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from inference_node.engines.engine import EngineEvent, Token
    from inference_node.openai.chat_wire import ChatRequest, FinishReason
    from inference_node.openai.choices import Choices
    from inference_node.openai.tool_calls import Part


class ChatAnswer:
    """The answer to one request."""

    def __init__(self, body: ChatRequest, choices: Choices) -> None:
        self._body = body
        self._choices = choices
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(clock.now_s())
        self._ended: dict[int, Finished] = {}

    async def chunks(self) -> AsyncGenerator[ChatChunk, None]:
        """Yield the answer as it comes."""
        async with aclosing(self._deltas()) as deltas:
            async for choice in deltas:
                yield self._chunk([choice])
        if self._body.includes_usage:
            yield self._chunk([])

    async def whole(self) -> ChatCompletion:
        """Return the answer in one piece."""
        collected = [_Collected() for _ in range(self._body.count)]
        async with aclosing(self._deltas()) as deltas:
            async for choice in deltas:
                collected[choice.index].add(choice)
        return ChatCompletion(
            id=self._id,
            created=self._created,
            model=self._choices.model,
            choices=[one.choice(index) for index, one in enumerate(collected)],
            usage=usage(self._ended, self._body.count),
        )

    async def _deltas(self) -> AsyncGenerator[ChatChunkChoice, None]:
        names = [function.name for function in callable_functions(self._body)]
        readers: dict[int, _ChoiceReader] = {}
        async with aclosing(self._choices.events()) as events:
            async for index, event in events:
                if index not in readers:
                    readers[index] = _ChoiceReader(index, names)
                    yield ChatChunkChoice(index, ChatDelta("assistant", ""))
                if isinstance(event, Finished):
                    self._ended[index] = event
                for choice in readers[index].read(event):
                    yield choice

    def _chunk(self, choices: list[ChatChunkChoice]) -> ChatChunk:
        counts = usage(self._ended, self._body.count) if not choices else None
        return ChatChunk(
            id=self._id,
            created=self._created,
            model=self._choices.model,
            choices=choices,
            usage=counts if self._body.includes_usage else UNSET,
        )


class _ChoiceReader:
    """Turns the events of one choice into deltas. `tools` are the names of what may be called."""

    def __init__(self, index: int, tools: list[str]) -> None:
        self._index = index
        self._calls = ToolCallReader(tools) if tools else None
        self._begun: set[int] = set()

    def read(self, event: EngineEvent) -> Iterator[ChatChunkChoice]:
        """Yield what the event has brought; at the end also what was held back until then."""
        match event:
            case Piece(text=text, tokens=tokens):
                deltas = self._deltas([text] if self._calls is None else self._calls.feed(text))
                yield from self._choices(deltas, tokens)
            case ToolCallPiece():
                yield from self._choices(self._deltas([event]), [])
            case Finished(reason=reason):
                yield from self._choices(self._deltas(self._calls.finish() if self._calls else []), [])
                finish: FinishReason = "length" if reason == "length" else "tool_calls" if self._begun else "stop"
                yield ChatChunkChoice(self._index, ChatDelta(), finish)

    def _choices(self, deltas: list[ChatDelta], tokens: list[Token]) -> Iterator[ChatChunkChoice]:
        """Yield the deltas, the first with the tokens: the text may be held back, they are not."""
        if tokens and not deltas:
            deltas = [ChatDelta(content="")]
        for n, delta in enumerate(deltas):
            logprobs = ChatLogprobs([_token(token) for token in tokens]) if tokens and n == 0 else None
            yield ChatChunkChoice(self._index, delta, logprobs=logprobs)

    def _deltas(self, parts: list[Part]) -> list[ChatDelta]:
        return [
            ChatDelta(tool_calls=[self._call(part)]) if isinstance(part, ToolCallPiece) else ChatDelta(content=part)
            for part in parts
            if part != ""
        ]

    def _call(self, piece: ToolCallPiece) -> ToolCallDelta:
        """Id and name come with the first piece of a call, and only there."""
        if piece.index in self._begun:
            return ToolCallDelta(piece.index, CallDelta(arguments=piece.arguments))
        self._begun.add(piece.index)
        function = CallDelta(piece.name, piece.arguments)
        return ToolCallDelta(piece.index, function, piece.id or new_call_id(), "function")


class _Collected:
    """One choice, put together again."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._tokens: list[TokenLogprob] = []
        self._finish: FinishReason = "stop"

    def add(self, choice: ChatChunkChoice) -> None:
        """Take the next piece."""
        self._texts.append(choice.delta.content or "")
        for call in choice.delta.tool_calls or ():
            self._calls.setdefault(call.index, []).append(call)
        if choice.logprobs is not None:
            self._tokens.extend(choice.logprobs.content)
        self._finish = choice.finish_reason or self._finish

    def choice(self, index: int) -> ChatChoice:
        """Return the whole."""
        calls = [_joined(pieces) for pieces in self._calls.values()]
        text = "".join(self._texts)
        message = ChatMessageOutput(None if calls and not text else text, tool_calls=calls or UNSET)
        logprobs = ChatLogprobs(self._tokens) if self._tokens else None
        return ChatChoice(index, message, self._finish, logprobs)


def _joined(pieces: list[ToolCallDelta]) -> AssistantCall:
    arguments = "".join(piece.function.arguments or "" for piece in pieces)
    return AssistantCall(pieces[0].id or "", FunctionCall(pieces[0].function.name or "", arguments))


def _token(token: Token) -> TokenLogprob:
    alternatives = [TokenAlternative(other.text, other.logprob, list(other.data)) for other in token.alternatives]
    return TokenLogprob(token.text, token.logprob, list(token.data), alternatives)
