"""/openapi.json, made from the table of endpoints and the Structs themselves."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from shared.errors import Problem
from sync_server.content import JSON, MESSAGEPACK
from sync_server.endpoints import ENDPOINTS, Endpoint
from sync_server.problems import PROBLEM

Document = dict[str, Any]

_QUERY_SCHEMAS: dict[str, Document] = {"integer": {"type": "integer", "minimum": 0}, "string": {"type": "string"}}


def openapi_document(version: str) -> Document:
    """Return the OpenAPI 3.1 description of the server."""
    structs: set[type[Struct]] = {Problem}
    structs.update(struct for endpoint in ENDPOINTS for struct in (endpoint.body, endpoint.reply) if struct is not None)
    ordered = sorted(structs, key=lambda struct: struct.__name__)
    references, definitions = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    schemas = dict(zip(ordered, references, strict=True))
    paths: Document = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Domovoi sync server", "version": version},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"device": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[type[Struct], Document]) -> Document:
    operation: Document = {
        "operationId": endpoint.handler.__name__,
        "summary": (endpoint.handler.__doc__ or "").partition("\n")[0],
        "responses": {
            _status(endpoint): _reply(endpoint, schemas),
            "default": {"description": "A problem.", "content": {PROBLEM: {"schema": schemas[Problem]}}},
        },
        "security": [] if endpoint.is_public else [{"device": []}],
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _either(schemas[endpoint.body])}
    if endpoint.takes is not None:
        content = {endpoint.takes: {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", endpoint.path)]
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": _QUERY_SCHEMAS[kind]}
        for name, text, kind in endpoint.query
    ]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _status(endpoint: Endpoint) -> str:
    return "204" if endpoint.reply is None and endpoint.media_type is None else "200"


def _reply(endpoint: Endpoint, schemas: dict[type[Struct], Document]) -> Document:
    if endpoint.reply is not None:
        return {"description": "Done.", "content": _either(schemas[endpoint.reply])}
    if endpoint.media_type is not None:
        return {"description": "Done.", "content": {endpoint.media_type: {"schema": {"type": "string"}}}}
    return {"description": "Done."}


def _either(schema: Document) -> Document:
    return {JSON: {"schema": schema}, MESSAGEPACK: {"schema": schema}}


def _path_parameter(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]+$"}}
