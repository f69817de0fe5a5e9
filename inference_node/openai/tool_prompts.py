"""Tools for models whose template knows of none: told in words, in the format of Hermes that `tool_calls` reads.

Without this a program's tools would be left out in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from inference_node.engines.engine import ChatMessage, Prompt
from inference_node.openai.tool_calls import CLOSE, OPEN
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from inference_node.gguf.header import GgufHeader

# The words of Hermes 2 Pro, as Qwen 2.5 and 3 were trained on them (Nous Research, "Hermes Function Calling").
_TOLD = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within {open}{close} XML tags:
{open}
{{"name": <function-name>, "arguments": <args-json-object>}}
{close}"""


def with_tools_told(prompt: Prompt, header: GgufHeader) -> Prompt:
    """Return the prompt as the model's template can write it; as it is, where that knows tools itself.

    Raises DomovoiError `bad_request` for tools that are none.
    """
    if header.knows_tools or prompt.text is not None:
        return prompt
    messages = [_in_words(message) for message in prompt.messages]
    if prompt.tools is not None:
        told = _told(prompt.tools)
        if messages and messages[0].role == "system":
            messages[0] = structs.replace(messages[0], content=f"{messages[0].content}\n\n{told}")
        else:
            messages.insert(0, ChatMessage("system", told))
    return structs.replace(prompt, messages=messages, tools=None)


def _told(tools: str) -> str:
    try:
        listed = msgspec.json.decode(tools, type=list[msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise DomovoiError(Code.BAD_REQUEST, f"tools are no list in JSON: {error}.") from error
    lines = "\n".join(bytes(tool).decode() for tool in listed)
    return _TOLD.format(tools=lines, open=OPEN, close=CLOSE)


def _in_words(message: ChatMessage) -> ChatMessage:
    """Calls are text of the model's own, and what a tool said comes from the user's side."""
    if message.role == "tool":
        return ChatMessage("user", f"<tool_response>\n{message.content}\n</tool_response>")
    if not message.tool_calls:
        return message
    calls = [
        f'{OPEN}\n{{"name": {msgspec.json.encode(call.name).decode()}, "arguments": {call.arguments}}}\n{CLOSE}'
        for call in message.tool_calls
    ]
    return structs.replace(message, content="\n".join(filter(None, [message.content, *calls])), tool_calls=[])
