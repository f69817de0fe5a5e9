"""/v1/completions, as OpenAI's own client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from tests.inference_node.scripted_engine import Script


async def complete(client: AsyncOpenAI, **more: Any) -> Any:
    return await client.completions.create(**{"model": "Test-Model", "prompt": "Once upon", **more})


async def test_a_text_is_continued(client: AsyncOpenAI, script: Script) -> None:
    answer = await complete(client)
    (choice,) = answer.choices
    assert (choice.text, choice.index, choice.finish_reason, choice.logprobs) == (script.answer, 0, "stop", None)
    assert (answer.object, answer.model) == ("text_completion", "Test-Model")
    assert answer.usage.completion_tokens == 2
    (prompt,) = script.prompts
    assert (prompt.text, prompt.messages) == ("Once upon", [])
    assert prompt.sampling.max_tokens == 16


async def test_a_streamed_text(client: AsyncOpenAI, script: Script) -> None:
    stream = await complete(client, stream=True, stream_options={"include_usage": True})
    *parts, last = [chunk async for chunk in stream]
    assert "".join(part.choices[0].text for part in parts) == script.answer
    assert parts[-1].choices[0].finish_reason == "stop"
    assert (last.choices, last.usage.completion_tokens) == ([], 2)


async def test_several_texts_have_several_continuations(client: AsyncOpenAI, script: Script) -> None:
    answer = await complete(client, prompt=["One", "Two words"], n=2, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert sorted((prompt.text, prompt.sampling.seed) for prompt in script.prompts) == [
        *(("One", seed) for seed in (1, 2)),
        *(("Two words", seed) for seed in (1, 2)),
    ]
    # Each text is counted once: a word and one more, two words and one more.
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 8)


async def test_the_prompt_comes_back_where_it_is_asked_for(client: AsyncOpenAI, script: Script) -> None:
    assert (await complete(client, echo=True)).choices[0].text == f"Once upon{script.answer}"
    stream = [chunk async for chunk in await complete(client, echo=True, stream=True)]
    assert "".join(chunk.choices[0].text for chunk in stream) == f"Once upon{script.answer}"


@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_come_with_their_probabilities(client: AsyncOpenAI, script: Script, *, stream: bool) -> None:
    answer = await complete(client, logprobs=2, stream=stream)
    parts = [chunk.choices[0] async for chunk in answer] if stream else answer.choices
    known = [part.logprobs for part in parts if part.logprobs is not None]
    assert [token for part in known for token in part.tokens] == ["Yes, ", "indeed."]
    assert [logprob for part in known for logprob in part.token_logprobs] == [-0.5, -0.5]
    assert [offset for part in known for offset in part.text_offset] == [0, 5]
    tops = [top for part in known for top in part.top_logprobs]
    assert tops[0] == {"Yes, ": -0.5, "0": -2.0}
    none = (await complete(client, logprobs=0)).choices[0].logprobs
    assert (none.tokens, none.top_logprobs) == (["Yes, ", "indeed."], None)


REFUSED: dict[str, tuple[dict[str, Any], type[openai.APIStatusError]]] = {
    "a suffix": ({"suffix": "the end"}, openai.UnprocessableEntityError),
    "the best of several": ({"best_of": 3}, openai.UnprocessableEntityError),
    "a prompt's logprobs": ({"echo": True, "logprobs": 1}, openai.UnprocessableEntityError),
    "tokens": ({"prompt": [1, 2, 3]}, openai.UnprocessableEntityError),
    "texts of tokens": ({"prompt": [[1, 2], [3]]}, openai.UnprocessableEntityError),
    "nothing": ({"prompt": ""}, openai.BadRequestError),
    "no texts": ({"prompt": []}, openai.BadRequestError),
    "too many texts": ({"prompt": ["a"] * 9, "n": 2}, openai.BadRequestError),
    "an unknown model": ({"model": "gpt-3"}, openai.NotFoundError),
    "a long text": ({"prompt": "word " * 500}, openai.BadRequestError),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_says_why(client: AsyncOpenAI, script: Script, name: str) -> None:
    more, kind = REFUSED[name]
    with pytest.raises(kind) as refused:
        await complete(client, **more)
    assert refused.value.code
    assert script.prompts == []
