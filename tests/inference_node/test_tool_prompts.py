"""A model whose template knows no tools is told of them in words; one that knows them gets them as they are."""

from __future__ import annotations

import msgspec
import pytest

from inference_node.engines.engine import ChatMessage, Prompt, ToolCall
from inference_node.openai.tool_calls import ToolCallReader
from inference_node.openai.tool_prompts import with_tools_told
from shared.errors import Code, DomovoiError
from tests.inference_node.gguf_file import HEADER as KNOWING

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
