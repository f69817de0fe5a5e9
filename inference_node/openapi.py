"""/openapi.json, made from the table of endpoints and the Structs themselves."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from inference_node.content import JSON, MESSAGEPACK
from inference_node.endpoints import ENDPOINTS, Endpoint, Security
from inference_node.openai_wire import ErrorReply
from inference_node.problems import PROBLEM
from shared.errors import Problem

Document = dict[str, Any]

_SECURITY: dict[Security | None, list[Document]] = {
    None: [],
    "account": [{"account": []}],
    "key": [{"key": []}],
    "either": [{"account": []}, {"key": []}],
}


def openapi_document(version: str) -> Document:
    """Return the OpenAPI 3.1 description of the loopback application."""
    structs: set[type[Struct]] = {Problem, ErrorReply}
    structs.update(struct for endpoint in ENDPOINTS for struct in (endpoint.body, endpoint.reply) if struct is not None)
    ordered = sorted(structs, key=lambda struct: struct.__name__)
    references, definitions = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    schemas = dict(zip(ordered, references, strict=True))
    paths: Document = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Domovoi inference node", "version": version},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "account": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "key": {"type": "http", "scheme": "bearer", "description": "An API key made on this PC."},
            },
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[type[Struct], Document]) -> Document:
    is_openai = endpoint.security == "key"
    refusal = {JSON: {"schema": schemas[ErrorReply]}} if is_openai else {PROBLEM: {"schema": schemas[Problem]}}
    operation: Document = {
        "operationId": f"{endpoint.handler.__module__.rpartition('.')[2]}_{endpoint.handler.__name__}",
        "summary": (endpoint.handler.__doc__ or "").partition("\n")[0],
        "responses": {
            **_reply(endpoint, schemas, [JSON] if is_openai else [JSON, MESSAGEPACK]),
            "default": {"description": "What went wrong, and what to do.", "content": refusal},
        },
        "security": _SECURITY[endpoint.security],
    }
    if endpoint.body is not None:
        schema = {"schema": schemas[endpoint.body]}
        operation["requestBody"] = {"required": True, "content": {JSON: schema, MESSAGEPACK: schema}}
    if parameters := [_path_parameter(name) for name in re.findall(r"{(\w+)}", endpoint.path)]:
        operation["parameters"] = parameters
    return operation


def _reply(endpoint: Endpoint, schemas: dict[type[Struct], Document], types: list[str]) -> Document:
    if endpoint.reply is not None:
        schema = {"schema": schemas[endpoint.reply]}
        return {"200": {"description": "Done.", "content": dict.fromkeys(types, schema)}}
    if endpoint.media_type is not None:
        content = {endpoint.media_type: {"schema": {"type": "string"}}}
        return {"200": {"description": "Done.", "content": content}}
    return {"204": {"description": "Done."}}


def _path_parameter(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}
