"""/v1/embeddings, as OpenAI's own client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@pytest.fixture
def script(request: pytest.FixtureRequest) -> Script:
    """Engines that make embeddings, unless the test says otherwise."""
    script = Script()
    script.can_embed = "answers" not in request.node.name
    return script


async def embed(client: AsyncOpenAI, text: Any, **more: Any) -> Any:
    return await client.embeddings.create(**{"model": "Test-Model", "input": text, **more})


@pytest.mark.parametrize("more", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
async def test_texts_have_vectors(client: AsyncOpenAI, script: Script, more: Any) -> None:
    # The client itself asks for base64, and reads it, unless it is told otherwise.
    answer = await embed(client, ["house", "a lane"], **more)
    assert [row.index for row in answer.data] == [0, 1]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("Test-Model", 3, 3)
    if "encoding_format" in more and more["encoding_format"] == "base64":
        assert [row.embedding for row in answer.data] == ["AACgQKuqqj4=", "AADAQKuqqj4="]
    else:
        assert [row.embedding for row in answer.data] == [pytest.approx([5, 1 / 3]), pytest.approx([6, 1 / 3])]


async def test_a_text_alone_has_a_vector(client: AsyncOpenAI, script: Script) -> None:
    assert (await embed(client, "house")).data[0].embedding == pytest.approx([5, 1 / 3])


async def test_a_model_that_answers_says_that_it_makes_none(client: AsyncOpenAI, script: Script) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await embed(client, "house")
    assert refused.value.code == "unsupported"
    # It goes on answering.
    await client.completions.create(model="Test-Model", prompt="Once")
    assert len(script.loads) == 1


REFUSED: dict[str, tuple[Any, dict[str, Any], type[openai.APIStatusError]]] = {
    "dimensions": ("house", {"dimensions": 8}, openai.UnprocessableEntityError),
    "tokens": ([1, 2], {}, openai.UnprocessableEntityError),
    "an empty text": (["house", ""], {}, openai.BadRequestError),
    "no texts": ([], {}, openai.BadRequestError),
    "another encoding": ("house", {"encoding_format": "hex"}, openai.BadRequestError),
    "an unknown model": ("house", {"model": "ada"}, openai.NotFoundError),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_says_why(client: AsyncOpenAI, script: Script, name: str) -> None:
    text, more, kind = REFUSED[name]
    with pytest.raises(kind) as refused:
        await embed(client, text, **more)
    assert refused.value.code
