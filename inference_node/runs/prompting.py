"""Making a conversation fit the model: the oldest messages after the system prompt are left out first."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import structs

from inference_node.engines.engine import PromptTooLong
from inference_node.runs.pace import Pace
from shared.errors import Code, DomovoiError
from shared.values import Sampling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from inference_node.engines.engine import ChatMessage, EngineEvent, Generation, Prompt
    from inference_node.gguf.header import GgufHeader
    from inference_node.loading.ready import Ready

# Room for the answer, in tokens, unless it is limited to less; never more than a quarter of the context.
ANSWER_ROOM = 1024
# The first guess at what to leave out goes by bytes and leaves out too little rather than too much.
GUESS_MARGIN = 1.1


class Begun(NamedTuple):
    """The prompt fits: how many of the oldest messages were left out, and the answer that is being made."""

    dropped: int
    generation: Generation


async def answer(ready: Ready, prompt: Prompt) -> AsyncGenerator[Begun | EngineEvent, None]:
    """Yield `Begun`, then the engine's events. The engine itself counts the tokens.

    The prompt's `room` is set here. Raises DomovoiError `context_too_long` when the last message alone is too long,
    and what the engine raises.
    """
    messages = prompt.messages
    sampling = with_defaults(prompt.sampling, ready.model.sampling)
    kept = messages
    room = min(sampling.max_tokens or ANSWER_ROOM, ready.context // 4)
    while True:
        prompt = structs.replace(prompt, messages=kept, sampling=sampling, room=room)
        fitting = for_template(prompt, ready.model.header)
        async with aclosing(ready.engine.generate(fitting)) as generation:
            try:
                first = await anext(generation)
            except PromptTooLong as error:
                shorter = _without_oldest(kept, error.tokens, ready.context - room)
                if shorter is not None:
                    kept = shorter
                elif room > 1:
                    # The last message alone: a short answer is better than none.
                    room = 1
                else:
                    raise DomovoiError(Code.CONTEXT_TOO_LONG) from error
                continue
            yield Begun(len(messages) - len(kept), generation)
            pace = Pace(ready)
            pace.note(first)
            yield first
            async for event in generation:
                pace.note(event)
                yield event
            return


def for_template(prompt: Prompt, header: GgufHeader) -> Prompt:
    """Return the prompt as the model's template takes it: some know no system prompt, and would refuse all of it."""
    if not (header.refuses_system and prompt.messages and prompt.messages[0].role == "system"):
        return prompt
    system, *messages = prompt.messages
    if messages and messages[0].role == "user":
        messages[0] = structs.replace(messages[0], content=f"{system.content}\n\n{messages[0].content}")
    else:
        messages.insert(0, structs.replace(system, role="user"))
    return structs.replace(prompt, messages=messages)


def with_defaults(asked: Sampling, default: Sampling) -> Sampling:
    """Return what is asked, and the model's default where nothing is."""
    return Sampling(**{**msgspec.to_builtins(default), **msgspec.to_builtins(asked)})


def _without_oldest(messages: list[ChatMessage], tokens: int, budget: int) -> list[ChatMessage] | None:
    """Return the messages without at least one turn, or None when only the last message is left."""
    start = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    sizes = [len(message.content.encode()) for message in messages]
    excess = sum(sizes) * (1 - GUESS_MARGIN * budget / tokens)
    end, dropped_bytes = start, 0
    # What stays begins with a question, or the model would answer an answer.
    while end < len(messages) - 1 and (end == start or dropped_bytes < excess or messages[end].role != "user"):
        dropped_bytes += sizes[end]
        end += 1
    return messages[:start] + messages[end:] if end > start else None
