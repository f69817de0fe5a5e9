from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_node.engines.engine import ToolCallPiece
from inference_node.openai.tool_calls import Part, ToolCallReader
from tests.effort import examples

TOOLS = ["get_weather", "get_time"]


def read(text: str, *cuts: int) -> tuple[str, list[tuple[str, str]]]:
    """Return the plain text and the calls of an answer that comes in pieces, cut at these places."""
    reader = ToolCallReader(TOOLS)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    parts: list[Part] = []
    for start, end in itertools.pairwise(places):
        parts += reader.feed(text[start:end])
    parts += reader.finish()
    said = "".join(part for part in parts if isinstance(part, str))
    pieces = [part for part in parts if isinstance(part, ToolCallPiece)]
    calls: dict[int, tuple[str, str]] = {}
    for piece in pieces:
        # The name comes once, with an id, before any arguments.
        assert bool(piece.name) == bool(piece.id) == (piece.index not in calls)
        name, arguments = calls.get(piece.index, (piece.name, ""))
        calls[piece.index] = (name, arguments + piece.arguments)
    assert list(calls) == list(range(len(calls)))
    return said, list(calls.values())


PARIS = ("get_weather", '{"city": "Paris }</tool_call> \\" {"}')
CASES: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "text": ("The sun shines.", "The sun shines.", []),
    "text with braces": ('{"city": "Paris"}', '{"city": "Paris"}', []),
    "marked": (f'<tool_call>\n{{"name": "get_weather", "arguments": {PARIS[1]}}}\n</tool_call>', "", [PARIS]),
    "text before": (
        'Let me see.\n<tool_call>{"name": "x", "arguments": {}}</tool_call>',
        "Let me see.\n",
        [("x", "{}")],
    ),
    "two": (
        '<tool_call>{"name": "a", "arguments": {}}</tool_call>\n<tool_call>{"name": "b", "arguments": {"n": [1]}}'
        "</tool_call>",
        "",
        [("a", "{}"), ("b", '{"n": [1]}')],
    ),
    "text after": ('<tool_call>{"name": "a", "arguments": {}}</tool_call>\nDone.', "\nDone.", [("a", "{}")]),
    "arguments first": (
        '<tool_call>{"arguments": {"n": 1}, "name": "a"}</tool_call>',
        "",
        [("a", '{"n":1}')],
    ),
    "arguments as a string": ('<tool_call>{"name": "a", "arguments": "{}"}</tool_call>', "", [("a", "{}")]),
    "no JSON": ("<tool_call>weather!</tool_call> So.", "<tool_call>weather!</tool_call> So.", []),
    "never closed": ('<tool_call>{"name": "a"}', "", [("a", "{}")]),
    "cut in the arguments": ('<tool_call>{"name": "a", "arguments": {"x', "", [("a", '{"x')]),
    "cut before the name": ('<tool_call>{"na', '<tool_call>{"na', []),
    "bare": (f'{{"name": "get_weather", "parameters": {PARIS[1]}}}', "", [PARIS]),
    "bare, tagged": ('<|python_tag|>{"name": "get_time", "parameters": {}}', "", [("get_time", "{}")]),
    "bare, no arguments": ('{"name": "get_time"}', "", [("get_time", "{}")]),
    "bare, two": (
        '{"name": "get_time", "parameters": {}}; {"name": "get_time", "parameters": {}}',
        "",
        [("get_time", "{}")] * 2,
    ),
    "bare, no tool": ('{"name": "Anna", "parameters": {}}', '{"name": "Anna", "parameters": {}}', []),
    "Mistral's list": (
        f'[TOOL_CALLS] [{{"name": "get_weather", "arguments": {PARIS[1]}, "id": "a1b2c3d4e"}}, {{"name": "b", '
        '"arguments": {}}]',
        "",
        [PARIS, ("b", "{}")],
    ),
    "Mistral's list, arguments first": ('[TOOL_CALLS][{"arguments": {"n": 1}, "name": "a"}]', "", [("a", '{"n":1}')]),
    "Mistral's list after text": ('So.[TOOL_CALLS][{"name": "a", "arguments": {}}]', "So.", [("a", "{}")]),
    "Mistral's names": (
        f"[TOOL_CALLS]get_weather[ARGS]{PARIS[1]}[TOOL_CALLS]get_time[CALL_ID]a1b2c3d4e[ARGS]{{}}",
        "",
        [PARIS, ("get_time", "{}")],
    ),
    "Mistral's marker alone": ("[TOOL_CALLS] are what I make.", "[TOOL_CALLS]are what I make.", []),
    "Mistral's list, cut": ('[TOOL_CALLS] [{"na', '[TOOL_CALLS]{"na', []),
    "brackets": ("[TOOL] and [TOOL_CALL] are text.", "[TOOL] and [TOOL_CALL] are text.", []),
    "bare, in the middle": (
        'So: {"name": "get_time", "parameters": {}}',
        'So: {"name": "get_time", "parameters": {}}',
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_calls_are_found(name: str) -> None:
    text, said, calls = CASES[name]
    assert read(text) == (said, calls)


@examples(20)
@given(st.sampled_from(sorted(CASES)), st.lists(st.integers(0, 200)))
def test_where_the_text_is_cut_makes_no_difference(name: str, cuts: list[int]) -> None:
    text, said, calls = CASES[name]
    assert read(text, *cuts) == (said, calls)


@examples(20)
@given(st.text(alphabet='<tool_cal>/{}"name: ,\\argumentsx\n', max_size=60), st.lists(st.integers(0, 60)))
def test_no_text_is_lost(text: str, cuts: list[int]) -> None:
    said, calls = read(text, *cuts)
    assert (said, calls) == read(text)
    if not calls:
        assert said == text


NAMES = st.text("ab_", min_size=1)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@examples(20)
@given(st.lists(st.tuples(NAMES, st.dictionaries(st.text(), VALUES)), min_size=1, max_size=4), st.data())
def test_arguments_come_as_they_were_written(calls: list[tuple[str, dict[str, Any]]], data: st.DataObject) -> None:
    written = [(name, json.dumps(arguments)) for name, arguments in calls]
    marked = [f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>' for name, arguments in written]
    text = "\n".join(marked)
    assert read(text, *data.draw(st.lists(st.integers(0, len(text))))) == ("", written)


def test_arguments_do_not_wait_for_the_end() -> None:
    reader = ToolCallReader(TOOLS)
    reader.feed('<tool_call>{"name": "get_weather", "arguments": {"city": ')
    assert reader.feed('"Pa') == [ToolCallPiece(0, arguments='"Pa')]


def test_text_does_not_wait_for_the_end() -> None:
    reader = ToolCallReader(TOOLS)
    assert reader.feed("The ") == ["The "]
    assert reader.feed("sun <") == ["sun "]
    assert reader.feed("3 ") == ["<3 "]
    assert ToolCallReader(TOOLS).feed('{"name": "Ann') == ['{"name": "Ann']
