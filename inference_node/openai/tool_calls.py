"""Tool calls in an answer's text, for engines that leave them there. They are found as the text comes.

Three formats are known: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, of Hermes and Qwen, and what follows
`[TOOL_CALLS]`, of Mistral, anywhere in the text; and a bare `{"name": …, "parameters": {…}}`, of Llama 3, where an
answer begins with it. Mistral's models write a list of such objects, newer ones `name[ARGS]{…}`. Anything else is text.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from inference_node.engines.engine import ToolCallPiece

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
# Mistral's, and what stands between a name and its arguments.
CALLS = "[TOOL_CALLS]"
_NAMED = re.compile(r"\s*([\w.-]+)(?:\[CALL_ID\][^\[{]*)?(?:\[ARGS\])?\s*(?=\{)")
_MAY_BE_NAMED = re.compile(r"\s*[\w.-]{0,64}(?:\[[^{]{0,64})?\s*")
# Llama 3 writes it before a bare call.
PYTHON_TAG = "<|python_tag|>"
# As models write calls: then the arguments can be passed on as they come.
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
_MARKERS = re.compile(f"{re.escape(OPEN)}|{re.escape(CALLS)}")
_BARE_START = '{"name":"'

Part = str | ToolCallPiece


def new_call_id() -> str:
    """Return an id for a call, as clients expect it."""
    return f"call_{secrets.token_hex(12)}"


class ToolCallReader:
    """Parts an answer's text into plain text and the pieces of calls. `tools` are the names that may be called bare."""

    def __init__(self, tools: Collection[str]) -> None:
        self._tools = tools
        self._held = ""
        self._calls = 0
        self._scanner = _ObjectScanner()
        self._is_marked = False
        # Each returns what could be said, and sets the next one; None when it needs more text.
        self._state: Callable[[], list[Part] | None] = self._at_start
        self._then: Callable[[], list[Part] | None] = self._at_start

    def feed(self, text: str) -> list[Part]:
        """Return what is certain now."""
        self._held += text
        parts: list[Part] = []
        while (found := self._state()) is not None:
            parts += found
        return parts

    def finish(self) -> list[Part]:
        """Return what is left when the answer has ended. A call that is not whole is text, unless it was begun."""
        if self._state == self._in_call:
            return self._whole_call(self._held) or [(OPEN if self._is_marked else "") + self._held]
        if self._state in {self._in_listed, self._in_named}:
            return [CALLS + self._held]
        is_text = self._state in {self._at_start, self._in_text}
        return [self._held] if self._held and is_text and not (self._calls and self._held.isspace()) else []

    def _at_start(self) -> list[Part] | None:
        """Whitespace before a call belongs to nobody; a bare call can only be here."""
        text = self._held.lstrip()
        if not text:
            return None
        if text.startswith(PYTHON_TAG):
            text = self._held = text.removeprefix(PYTHON_TAG).lstrip()
        elif PYTHON_TAG.startswith(text):
            return None
        if text.startswith(OPEN):
            self._held = text.removeprefix(OPEN)
            self._is_marked, self._state = True, self._in_call
        elif text.startswith(CALLS):
            self._held = text.removeprefix(CALLS)
            self._is_marked, self._state = True, self._in_list
        elif OPEN.startswith(text) or CALLS.startswith(text):
            return None
        elif _may_be_bare(text):
            self._is_marked, self._state = False, self._in_call
        else:
            self._state = self._in_text
        return []

    def _in_text(self) -> list[Part] | None:
        if found := _MARKERS.search(self._held):
            before, self._held = self._held[: found.start()], self._held[found.end() :]
            self._is_marked, self._state = True, self._in_call if found[0] == OPEN else self._in_list
            return [before] if before else []
        kept = max(_begun(self._held, OPEN), _begun(self._held, CALLS))
        said, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        return [said] if said else None

    def _in_call(self) -> list[Part] | None:
        """Before the arguments: the name may still be coming."""
        head = _HEAD.match(self._held)
        if head is not None and (name := _name(head[1])) is not None and (self._is_marked or name in self._tools):
            return self._begin(name, head.end(), self._after_arguments)
        if self._is_marked:
            # Written some other way, it is read when it is whole.
            text, marker, after = self._held.partition(CLOSE)
            if not marker:
                return None
            call = self._whole_call(text)
            self._held, self._state = after, self._at_start
            return call or [f"{OPEN}{text}{CLOSE}"]
        if head is None and _may_be_bare(self._held, self._tools):
            return None
        self._state = self._in_text
        return []

    def _in_list(self) -> list[Part] | None:
        """Between the calls of Mistral's."""
        self._held = self._held.lstrip("[, \n")
        if not self._held:
            return None
        if self._held.startswith("]"):
            self._held, self._state = self._held[1:], self._at_start
        else:
            self._state = self._in_listed if self._held.startswith("{") else self._in_named
        return []

    def _in_listed(self) -> list[Part] | None:
        head = _HEAD.match(self._held)
        if head is not None and (name := _name(head[1])) is not None:
            return self._begin(name, head.end(), self._after_listed)
        scanner = _ObjectScanner()
        end = scanner.scan(self._held)
        if not scanner.is_whole:
            return None
        text, self._held, self._state = self._held[:end], self._held[end:], self._in_list
        return self._whole_call(text) or [CALLS + text]

    def _in_named(self) -> list[Part] | None:
        head = _NAMED.match(self._held)
        if head is not None:
            return self._begin(head[1], head.end(), self._at_start)
        if _MAY_BE_NAMED.fullmatch(self._held):
            return None
        self._held, self._state = CALLS + self._held, self._as_text
        return []

    def _as_text(self) -> list[Part] | None:
        """What a marker stood before, and is no call."""
        text, self._held, self._state = self._held, "", self._in_text
        return [text]

    def _begin(self, name: str, end: int, then: Callable[[], list[Part] | None]) -> list[Part]:
        """Begin a call, whose arguments stand at `end` of what is held; `then` comes after them."""
        self._held = self._held[end:]
        self._scanner, self._state, self._then = _ObjectScanner(), self._in_arguments, then
        return [ToolCallPiece(self._calls, new_call_id(), name)]

    def _in_arguments(self) -> list[Part] | None:
        if not self._held:
            return None
        end = self._scanner.scan(self._held)
        arguments, self._held = self._held[:end], self._held[end:]
        if self._scanner.is_whole:
            self._state = self._then
        piece = ToolCallPiece(self._calls, arguments=arguments)
        self._calls += self._scanner.is_whole
        return [piece]

    def _after_arguments(self) -> list[Part] | None:
        """The rest of the call, up to its end, says nothing."""
        text = self._held.lstrip()
        end = CLOSE if self._is_marked else "}"
        _, marker, after = text.partition(end)
        if not marker:
            return None
        self._held, self._state = after, self._at_start if self._is_marked else self._after_bare_call
        return []

    def _after_listed(self) -> list[Part] | None:
        """An id may come after the arguments."""
        _, marker, after = self._held.partition("}")
        if not marker:
            return None
        self._held, self._state = after, self._in_list
        return []

    def _after_bare_call(self) -> list[Part] | None:
        """What parts one bare call from the next says nothing."""
        self._held = self._held.lstrip("; \n")
        if not self._held:
            return None
        self._state = self._at_start
        return []

    def _whole_call(self, text: str) -> list[Part] | None:
        """Return the call that this JSON is, or None."""
        try:
            call: Any = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return None
        name = call.get("name") if isinstance(call, dict) else None
        if not isinstance(name, str) or not (self._is_marked or name in self._tools):
            return None
        given = call.get("arguments", call.get("parameters", {}))
        arguments = given if isinstance(given, str) else msgspec.json.encode(given).decode()
        self._calls += 1
        return [ToolCallPiece(self._calls - 1, new_call_id(), name, arguments)]


class _ObjectScanner:
    """Finds the end of a JSON object that comes in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self.is_whole = False

    def scan(self, text: str) -> int:
        """Return how much of the text belongs to the object."""
        for n, character in enumerate(text):
            if self._in_string:
                self._in_string = self._is_escaped or character != '"'
                self._is_escaped = character == "\\" and not self._is_escaped
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    self.is_whole = True
                    return n + 1
        return len(text)


def _begun(text: str, marker: str) -> int:
    """Return how much of the marker the text ends with."""
    return next((n for n in range(len(marker) - 1, 0, -1) if text.endswith(marker[:n])), 0)


def _may_be_bare(text: str, tools: Collection[str] | None = None) -> bool:
    """Whether this is, or may become, the beginning of a bare call: of one of the tools, once its name is there."""
    start = re.sub(r"\s", "", text[:256])
    if not start.startswith(_BARE_START):
        return _BARE_START.startswith(start)
    name, quote, _ = start.removeprefix(_BARE_START).partition('"')
    if tools is None:
        return True
    return name in tools if quote else any(tool.startswith(name) for tool in tools)


def _name(quoted: str) -> str | None:
    try:
        return msgspec.json.decode(f'"{quoted}"', type=str)
    except msgspec.DecodeError:
        return None
