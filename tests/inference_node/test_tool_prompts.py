"""A model whose template knows no tools is told of them in words; one that knows them gets them as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from inference_node.accelerator import accelerated
from inference_node.endpoints.api_keys import ApiKeys
from inference_node.engines.engine import ChatMessage, Prompt, ToolCall
from inference_node.gguf.header import FOLDED
from inference_node.openai.tool_calls import ToolCallReader
from inference_node.openai.tool_prompts import with_tools_told
from shared.errors import Code, DomovoiError
from shared.runs import Ended
from shared.values import Sampling
from shared.wire import PathMessage
from tests.accel import tiny_models
from tests.inference_node.gguf_file import HEADER as KNOWING
from tests.inference_node.running_node import RunningNode

if TYPE_CHECKING:
    from pathlib import Path

HEADER = msgspec.structs.replace(KNOWING, knows_tools=False)
WEATHER = '{"type":"function","function":{"name":"get_weather"}}'
CALL = ToolCall("call_1", "get_weather", '{"city": "Paris"}')
CHAT = [
    ChatMessage("user", "How is the weather?"),
    ChatMessage("assistant", "", [CALL, CALL]),
    ChatMessage("tool", "rain", tool_call_id="call_1", name="get_weather"),
]


def test_a_template_that_knows_tools_writes_them_itself() -> None:
    prompt = Prompt(CHAT, tools=f"[{WEATHER}]")
    assert with_tools_told(prompt, KNOWING) is prompt


def test_tools_calls_and_results_become_words() -> None:
    told = with_tools_told(Prompt(CHAT, tools=f"[{WEATHER}, {WEATHER}]"), HEADER)
    assert told.tools is None
    system, question, calls, result = told.messages
    assert system.role == "system"
    assert f"<tools>\n{WEATHER}\n{WEATHER}\n</tools>" in system.content
    assert question == CHAT[0]
    assert (result.role, result.content) == ("user", "<tool_response>\nrain\n</tool_response>")
    # What the model is shown of its calls is what is read as one.
    reader = ToolCallReader(["get_weather"])
    parts = [*reader.feed(calls.content), *reader.finish()]
    assert calls.tool_calls == []
    assert [part.name for part in parts if not isinstance(part, str) and part.name] == ["get_weather"] * 2


def test_the_own_words_of_a_system_prompt_stay_first() -> None:
    told = with_tools_told(Prompt([ChatMessage("system", "Be kind."), *CHAT], tools=f"[{WEATHER}]"), HEADER)
    assert told.messages[0].content.startswith("Be kind.\n\n# Tools")
    assert len(told.messages) == len(CHAT) + 1


def test_without_tools_nothing_is_told() -> None:
    prompt = Prompt(CHAT[:1])
    assert with_tools_told(prompt, HEADER) == prompt
    raw = Prompt(text="Once upon a")
    assert with_tools_told(raw, HEADER) is raw


def test_tools_that_are_none_are_refused() -> None:
    for tools in ("{", "{}"):
        with pytest.raises(DomovoiError) as refused:
            with_tools_told(Prompt(CHAT, tools=tools), HEADER)
        assert refused.value.code == Code.BAD_REQUEST


# As Gemma 2's, and as Mistral's first ones, check what they are given.
STRICT = """{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('System role not supported') }}{%- endif -%}
{%- for message in messages -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('Roles!') }}{%- endif -%}
{{ '<start>' + message['role'] + ' ' + message['content'] + '<end>' }}
{%- endfor -%}"""


@pytest.mark.parametrize("engine", ["native", "llama_cpp"] if accelerated else ["llama_cpp"])
async def test_a_template_without_a_system_role_refuses_neither_prompt_nor_tools(tmp_path: Path, engine: str) -> None:
    node = RunningNode(tmp_path / "data", engine=engine)
    tiny_models.write(node.settings.models / "strict.gguf", tiny_models.Shape("llama", template=STRICT))
    await node.grant(node.account)
    await node.start()
    key = ApiKeys(node.settings.folder / "api-keys").create("test")
    tools = [msgspec.json.decode(WEATHER)]
    for messages, more in (
        ([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}], {}),
        ([{"role": "user", "content": "Hi"}], {"tools": tools}),
        ([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}], {"tools": tools}),
    ):
        body = {"messages": messages, "max_tokens": 4, **more}
        headers = {"Authorization": f"Bearer {key}"}
        answer = await node.http.post(f"{node.url}/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] > 0
    path = [PathMessage("system", "Be kind."), PathMessage("user", "Hi")]
    asked = node.request("Hi", path=path, sampling=Sampling(max_tokens=4))
    assert (await node.post(asked)).is_success
    ended = (await node.whole(asked.answer))[-1].event
    assert isinstance(ended, Ended)
    assert ended.state.state == "done"
    assert [model.detail for model in (await node.status()).loaded] == [FOLDED]
    await node.stop()
