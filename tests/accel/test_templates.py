"""Chat templates write in Rust, character for character, what they write in Python's Jinja, which they are made for."""

from __future__ import annotations

import importlib.util
import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

# In the checkout `accel` alone is found as a namespace package even where nothing was built.
if importlib.util.find_spec("accel._native") is None:
    pytest.skip("accel is not built here: install Rust (cargo), then `make accel`", allow_module_level=True)

import accel
from tests.effort import examples

TEMPLATES = sorted((Path(__file__).parent / "templates").glob("*.jinja"))
every_template = pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content} | more


def call(name: str, arguments: dict[str, Any], identifier: str = "abcdefghi") -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'Tells what it\'s like & how <warm> … "now".',
        "parameters": {"type": "object", "properties": {"where": {"type": "string"}, "days": {"minimum": 1.0}}},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {}, "return": {"type": "string"}}}
QUESTION = message("user", "  Wie ist das Wetter in Köln? 👍🏽\n")
CALLING = {
    "role": "assistant",
    "tool_calls": [call("weather", {"where": "Köln", "days": 2, "exact": True, "at": None})],
}
RESULT = message("tool", '{"sky": "grau"}', tool_call_id="abcdefghi", name="weather")

CHATS: dict[str, dict[str, Any]] = {
    "question": {"messages": [QUESTION]},
    "system": {"messages": [message("system", "Be <kind>.\n"), QUESTION]},
    "turns": {"messages": [QUESTION, message("assistant", " Grau. "), message("user", "Und morgen?")]},
    "turns after system": {
        "messages": [message("system", "Be kind."), QUESTION, message("assistant", "Grau."), message("user", "Und?")]
    },
    "thoughts": {
        "messages": [QUESTION, message("assistant", "<think>\nhm\n</think>\n\nGrau."), message("user", "Und?")]
    },
    "continued": {"messages": [QUESTION, message("assistant", "Gr")], "add_generation_prompt": False},
    "no thoughts": {"messages": [QUESTION], "options": {"enable_thinking": False}},
    "tools": {"messages": [QUESTION], "tools": [WEATHER, CLOCK]},
    "a call": {"messages": [QUESTION, CALLING, RESULT], "tools": [WEATHER]},
    "two calls": {
        "messages": [
            QUESTION,
            {"role": "assistant", "tool_calls": [call("clock", {}), call("clock", {"a": [1]})]},
            *[RESULT, RESULT, message("assistant", "Grau.", reasoning_content="hm"), message("user", "Ja?")],
        ],
        "tools": [CLOCK],
    },
    "a short id": {"messages": [QUESTION, {"role": "assistant", "tool_calls": [call("clock", {}, "1")]}]},
    "parts": {"messages": [message("user", [{"type": "text", "text": " Hi "}, {"type": "image"}])]},
    "a result in parts": {"messages": [QUESTION, CALLING, message("tool", {"sky": 1.5}, tool_call_id="abcdefghi")]},
    "out of turn": {"messages": [message("assistant", "Hi"), message("assistant", "Hi")]},
    "nothing": {"messages": []},
}


class RefusedError(Exception):
    """The template raised an exception."""


def refuse(reason: str) -> None:
    raise RefusedError(reason)


def to_json(value: Any, **style: Any) -> str:
    return json.dumps(value, **({"ensure_ascii": False} | style))


@cache
def compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return environment.from_string(template)


def in_python(template: str, chat: dict[str, Any]) -> str | None:
    """Return the prompt as transformers has it; None when the template refuses the chat."""
    names = {"add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
    names |= {"messages": chat["messages"], "tools": chat.get("tools")} | chat.get("options", {})
    names["add_generation_prompt"] = chat.get("add_generation_prompt", True)
    try:
        return compiled(template).render(names)
    except (RefusedError, TypeError, jinja2.UndefinedError):
        return None


def in_rust(template: str, chat: dict[str, Any]) -> str | None:
    asked = json.dumps({"add_generation_prompt": True} | chat).encode()
    try:
        return accel.render_template(template, asked, bos_token="<s>", eos_token="</s>")
    except accel.BadRequest:
        return None


@every_template
@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS.keys())
def test_a_prompt_is_the_same(template: Path, chat: dict[str, Any]) -> None:
    source = template.read_text()
    assert in_rust(source, chat) == in_python(source, chat)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
turns = st.lists(st.builds(message, st.sampled_from(["system", "user", "assistant"]), texts), max_size=5)


@every_template
@examples(25)
@given(messages=turns)
def test_any_text_is_the_same(template: Path, messages: list[dict[str, Any]]) -> None:
    source = template.read_text()
    assert in_rust(source, {"messages": messages}) == in_python(source, {"messages": messages})


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)
styles = st.sampled_from(["", "indent=2", "indent=4, sort_keys=True", "ensure_ascii=True", "separators=(',', ':')"])


@examples(50)
@given(value=values, style=styles)
def test_any_json_is_the_same(value: Any, style: str) -> None:
    source = f"{{{{ value | tojson({style}) }}}}"
    chat = {"messages": [], "options": {"value": value}}
    assert in_rust(source, chat) == in_python(source, chat)


def test_the_date_is_today() -> None:
    source = "{{ strftime_now('%d %b %Y, %A, %j') }}"
    before = in_python(source, CHATS["nothing"])
    assert in_rust(source, CHATS["nothing"]) in {before, in_python(source, CHATS["nothing"])}


def test_what_a_template_says_when_it_refuses_reaches_the_caller() -> None:
    gemma = next(path for path in TEMPLATES if path.stem == "gemma3").read_text()
    with pytest.raises(accel.BadRequest, match="roles must alternate"):
        accel.render_template(gemma, json.dumps(CHATS["out of turn"]).encode())


def test_a_template_that_is_none_is_not_supported() -> None:
    with pytest.raises(accel.Unsupported, match="chat template"):
        accel.render_template("{% for %}", b'{"messages": []}')
