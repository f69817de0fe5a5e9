"""TypeScript types from the JSON Schema, for the app's twin of the protocol.

MessagePack is the app's encoding, so a base64 string of the schema is a Uint8Array there.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from shared import change, errors, limits, values

Schema = dict[str, Any]


def typescript(schema: Schema) -> str:
    """Return the text of the generated module."""
    parts = ["// Generated from shared/ by `python -m shared.generate`. Do not edit.\n"]
    parts += [_definition(name, definition) for name, definition in schema["$defs"].items()]
    registries = (
        *(change.EntityType, change.SettingField, change.ConversationField),
        *(change.MessageField, change.AttachmentField),
    )
    parts += [_constants(registry.__name__, {m.name: m.value for m in registry}) for registry in registries]
    parts.append(f"export type RunEvent = {' | '.join(_run_events(schema))}\n")
    parts.append(_list("ERROR_CODES", "ErrorCode", errors.Code))
    parts.append(_list("ANSWER_STATES", "AnswerStateName", sorted(_literal(values.AnswerState))))
    parts.append(_list("ASLEEP_POLICIES", "AsleepPolicy", _literal(values.AsleepPolicy)))
    numbers = {name: value for name, value in vars(limits).items() if name.isupper()}
    parts.append(_constants("limits", numbers))
    return "\n".join(parts)


def _definition(name: str, definition: Schema) -> str:
    comment = f"/** {definition['description'].splitlines()[0]} */\n" if "description" in definition else ""
    if "prefixItems" in definition:
        members = ", ".join(f"{item['title']}: {_type(item)}" for item in definition["prefixItems"])
        return f"{comment}export type {name} = [{members}]\n"
    required = set(definition.get("required", ()))
    lines = [
        f"  {key}{'' if key in required else '?'}: {_type(value)}\n" for key, value in definition["properties"].items()
    ]
    return f"{comment}export interface {name} {{\n{''.join(lines)}}}\n"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(sorted({_type(option) for option in schema["anyOf"]}, key=lambda text: text == "null"))
    if "enum" in schema:
        return " | ".join("null" if v is None else _quoted(v) for v in schema["enum"])
    kind = schema["type"]
    if kind == "array":
        return _array(schema)
    if kind == "string":
        return "Uint8Array" if schema.get("contentEncoding") == "base64" else "string"
    return {"integer": "number", "number": "number", "boolean": "boolean", "null": "null"}[kind]


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(_type(item) for item in schema['prefixItems'])}]"
    item = _type(schema["items"])
    return f"({item})[]" if " " in item else f"{item}[]"


def _run_events(schema: Schema) -> list[str]:
    return [name for name, value in schema["$defs"].items() if "kind" in value.get("properties", {}) and _tagged(value)]


def _tagged(definition: Schema) -> bool:
    return len(definition["properties"]["kind"].get("enum", ())) == 1


def _constants(name: str, members: dict[str, int | float]) -> str:
    lines = "".join(f"  {key}: {_number(value)},\n" for key, value in members.items())
    return f"export const {name} = {{\n{lines}}} as const\n"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _list(name: str, type_name: str, members: Any) -> str:
    items = "".join(f"  {_quoted(m.value if isinstance(m, Enum) else m)},\n" for m in members)
    return f"export const {name} = [\n{items}] as const\nexport type {type_name} = (typeof {name})[number]\n"


def _quoted(text: str) -> str:
    return "'" + json.dumps(text)[1:-1].replace("'", "\\'") + "'"


def _literal(alias: Any) -> tuple[str, ...]:
    return tuple(alias.__args__)
