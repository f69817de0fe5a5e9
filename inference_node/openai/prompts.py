"""Prompts from what programs ask of a chat: messages, tools, and what the answer is held to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from inference_node.engines.engine import ChatMessage, Prompt, ToolCall
from inference_node.openai.chat_wire import ChatRequest, FunctionDefinition, NamedTool
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from inference_node.openai.chat_wire import ChatInput
    from inference_node.openai.wire import AnswerRequest

ANY_OBJECT: dict[str, Any] = {"type": "object"}
# Where a schema keeps what it refers to. Both names are in use; they have to stay at the top of the whole.
DEFINITIONS = ("$defs", "definitions")


def chat_prompts(body: ChatRequest, owner: str) -> list[Prompt]:
    """Return a prompt for each choice. Raises DomovoiError `bad_request`, `unsupported`."""
    require_no_bias(body)
    if body.top_logprobs is not None and not body.logprobs:
        raise DomovoiError(Code.BAD_REQUEST, "top_logprobs needs logprobs to be true.")
    functions = callable_functions(body)
    messages = [_message(message) for message in body.messages]
    schema = _schema(body, functions)
    tools = [tool for tool in body.tools or () if tool.function in functions]
    most_tokens = body.max_completion_tokens or body.max_tokens
    return [
        Prompt(
            messages,
            body.sampling(choice, most_tokens),
            body.stops,
            owner=owner,
            tools=_json_text(tools) if tools else None,
            schema=_json_text(schema) if schema is not None else None,
            logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        )
        for choice in range(body.count)
    ]


def require_no_bias(body: AnswerRequest) -> None:
    """Raise DomovoiError `unsupported` rather than answer as if nothing had been asked."""
    if body.logit_bias:
        raise DomovoiError(Code.UNSUPPORTED, "logit_bias is not done here. Leave it out.")


def callable_functions(body: ChatRequest) -> list[FunctionDefinition]:
    """Return the functions that may be called. Raises DomovoiError `bad_request`."""
    functions = [tool.function for tool in body.tools or ()]
    match body.tool_choice:
        case "none":
            return []
        case "required" if not functions:
            raise DomovoiError(Code.BAD_REQUEST, "tool_choice asks for a call, and there are no tools.")
        case NamedTool(function=named):
            functions = [function for function in functions if function.name == named.name]
            if not functions:
                raise DomovoiError(Code.BAD_REQUEST, f"tool_choice names {named.name}, which is not among the tools.")
    return functions


def _message(message: ChatInput) -> ChatMessage:
    calls = [ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    role = "system" if message.role == "developer" else message.role
    return ChatMessage(role, _text(message), calls, message.tool_call_id, message.name)


def _text(message: ChatInput) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    for part in message.content:
        if part.kind != "text" or part.text is None:
            raise DomovoiError(
                Code.UNSUPPORTED, f"Only text can be read here, and a part is {part.kind}. Leave it out."
            )
    return "".join(part.text or "" for part in message.content)


def _schema(body: ChatRequest, functions: list[FunctionDefinition]) -> dict[str, Any] | None:
    """Return what the answer is held to, calls included where both are asked for."""
    has_to_call = body.tool_choice == "required" or isinstance(body.tool_choice, NamedTool)
    answers: list[dict[str, Any]] = []
    asked = body.response_format
    if asked is not None and asked.type != "text" and not has_to_call:
        schema = asked.json_schema.definition if asked.json_schema is not None else None
        if asked.type == "json_schema" and schema is None:
            raise DomovoiError(Code.BAD_REQUEST, "response_format has no json_schema.schema. Say what to hold to.")
        answers.append(ANY_OBJECT if schema is None else schema)
    if not answers and not has_to_call:
        return None
    return _any_of([*answers, *(_call_schema(function) for function in functions)])


def _call_schema(function: FunctionDefinition) -> dict[str, Any]:
    """Return the schema of a call, as `tool_calls` reads it."""
    parameters = function.parameters or ANY_OBJECT
    return {
        "type": "object",
        "properties": {
            "name": {"const": function.name},
            "arguments": {key: value for key, value in parameters.items() if key not in DEFINITIONS},
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
        **{key: parameters[key] for key in DEFINITIONS if key in parameters},
    }


def _json_text(schemas: Any) -> str:
    """Return what an engine is given. Raises DomovoiError `bad_request` for what came as MessagePack and is no JSON."""
    try:
        return msgspec.json.encode(schemas).decode()
    except (TypeError, ValueError) as error:
        raise DomovoiError(Code.BAD_REQUEST, f"A schema can't be written as JSON: {error}.") from error


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one schema for all, with what they refer to at its top. Raises DomovoiError `bad_request`."""
    if len(schemas) == 1:
        return schemas[0]
    whole: dict[str, Any] = {"anyOf": []}
    for schema in schemas:
        for key in DEFINITIONS:
            definitions = schema.get(key, {})
            if not isinstance(definitions, dict):
                raise DomovoiError(Code.BAD_REQUEST, f"{key} of a schema is no object.")
            for name, definition in definitions.items():
                if whole.setdefault(key, {}).setdefault(name, definition) != definition:
                    raise DomovoiError(Code.BAD_REQUEST, f"Two schemas define {name} differently. Rename one.")
        whole["anyOf"].append({key: value for key, value in schema.items() if key not in DEFINITIONS})
    return whole
