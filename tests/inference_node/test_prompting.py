from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.engines.engine import ChatMessage, Finished, LoadedModel, Prompt
from inference_node.loading.ready import Ready
from inference_node.models.models import ModelFile
from inference_node.runs.prompting import Begun, answer
from shared.errors import Code, DomovoiError
from shared.values import Role, Sampling
from tests.inference_node.gguf_file import HEADER
from tests.inference_node.scripted_engine import Script

MODEL = ModelFile(Path(__file__), "Test", 0, HEADER, Sampling(temperature=0.2, top_p=0.9))
CONTEXT = 200


def ask(script: Script, messages: list[ChatMessage], sampling: Sampling = Sampling()) -> int:  # noqa: B008  # frozen
    """Have the messages answered and return how many were left out."""

    async def play() -> int:
        engine = script.make_engine()
        engine.is_loaded = True
        ready = Ready(engine, MODEL, LoadedModel(script.context))
        first, *rest = [event async for event in answer(ready, Prompt(messages, sampling))]
        assert isinstance(first, Begun)
        assert isinstance(rest[-1], Finished)
        return first.dropped

    return asyncio.run(play())


def tokens(messages: list[ChatMessage]) -> int:
    return sum(len(message.content.split()) + 1 for message in messages)


def conversation(sizes: list[int], *, has_system: bool) -> list[ChatMessage]:
    """Return questions and answers of so many words, the last one a question."""
    roles: list[Role] = ["user" if (len(sizes) - n) % 2 else "assistant" for n in range(len(sizes))]
    turns = [ChatMessage(role, "word " * size) for role, size in zip(roles, sizes, strict=True)]
    return [ChatMessage("system", "Be kind."), *turns] if has_system else turns


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.booleans(), st.integers(1, 40))
def test_what_fits_stays_and_the_oldest_goes(sizes: list[int], has_system: bool, max_tokens: int) -> None:
    script = Script(context=CONTEXT)
    messages = conversation(sizes, has_system=has_system)
    dropped = ask(script, messages, Sampling(max_tokens=max_tokens))
    (prompt,) = script.prompts
    start = int(has_system)
    assert prompt.messages == messages[:start] + messages[start + dropped :]
    room = min(max_tokens, CONTEXT // 4)
    if dropped:
        assert tokens(messages) > CONTEXT - room
    if len(prompt.messages) > start + 1:
        assert prompt.messages[start].role == "user" or not dropped
        assert tokens(prompt.messages) <= CONTEXT - room


def test_no_more_is_left_out_than_must_be() -> None:
    script = Script(context=CONTEXT)
    messages = conversation([9] * 31, has_system=False)
    dropped = ask(script, messages)
    # Two messages are a turn; one turn more would not have fitted.
    assert tokens(messages[dropped - 2 :]) > CONTEXT - CONTEXT // 4 >= tokens(messages[dropped:])


def test_a_last_message_that_barely_fits_is_answered_shortly() -> None:
    script = Script(context=CONTEXT)
    assert ask(script, conversation([5, 5, CONTEXT - 10], has_system=False)) == 2


def test_a_last_message_that_does_not_fit_is_too_long() -> None:
    with pytest.raises(DomovoiError) as refused:
        ask(Script(context=CONTEXT), conversation([5, 5, CONTEXT + 1], has_system=True))
    assert refused.value.code == Code.CONTEXT_TOO_LONG


def test_what_the_request_leaves_open_is_the_models_own() -> None:
    script = Script(context=CONTEXT)
    ask(script, conversation([3], has_system=False), Sampling(temperature=1.0))
    assert script.prompts[0].sampling == Sampling(temperature=1.0, top_p=0.9)
