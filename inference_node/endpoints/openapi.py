"""GET /openapi.json: the loopback application for programs and people with curl."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec

from inference_node.endpoints.status import Health
from inference_node.openai.chat_wire import ChatChunk, ChatCompletion, ChatRequest
from inference_node.openai.completions import CompletionRequest, TextCompletion
from inference_node.openai.embeddings import EmbeddingsList, EmbeddingsRequest
from inference_node.openai.errors import ErrorAnswer
from inference_node.openai.models import ModelCard, ModelCards
from shared.candidates import LocalNetworkChoice
from shared.errors import Problem
from shared.key_wire import ApiKey, ApiKeyName, ApiKeys, NewApiKey
from shared.library_wire import Library, ModelChoice, PullModel, PullState
from shared.node_status import NodeStatus
from shared.renewal_wire import Renewal, RenewalChallenge
from shared.runs import Ended, Notice, Started, Text
from shared.wire import AccessToken, AnswerStarted, StartAnswer

REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")


class _Call(NamedTuple):
    """One method of one path. With `chunk` the answer is a stream of these when the body asks for one."""

    method: str
    path: str
    summary: str
    security: str | None
    body: type | None = None
    answer: type | None = None
    media_type: str = "application/json"
    status: str = "200"
    chunk: type | None = None


_CALLS = (
    _Call("get", "/healthz", "Whether an engine is loaded and alive.", None, answer=Health),
    _Call("get", "/v1/status", "How the node is.", "nodeToken", answer=NodeStatus),
    _Call("post", "/v1/answers", "Start an answer, or attach to its run.", "nodeToken", StartAnswer, AnswerStarted),
    _Call(
        "get",
        "/v1/answers/{answer}/events",
        "The run's events after Last-Event-ID: started, text, notice, ended.",
        "nodeToken",
        media_type="text/event-stream",
    ),
    _Call("post", "/v1/library/load", "Load a model into memory.", "nodeToken", ModelChoice, NodeStatus),
    _Call(
        "post", "/v1/library/unload", "Unload a model when its answers are made.", "nodeToken", ModelChoice, NodeStatus
    ),
    _Call(
        "post",
        "/v1/local-network",
        "Whether the node answers on the network at home.",
        "nodeToken",
        LocalNetworkChoice,
        NodeStatus,
    ),
    _Call("post", "/v1/answers/{answer}/stop", "Stop the run.", "nodeToken", status="204"),
    _Call("get", "/v1/library", "The node's models, and those it can fetch.", "nodeToken", answer=Library),
    _Call("post", "/v1/library/pull", "Fetch a model of the catalogue, or go on.", "nodeToken", PullModel, PullState),
    _Call(
        "get",
        "/v1/library/pulls/{file}/events",
        "How fetching goes: progress, the newest at once, until it ends.",
        "nodeToken",
        media_type="text/event-stream",
    ),
    _Call("post", "/v1/library/pulls/{file}/stop", "Stop fetching; what came is kept.", "nodeToken", status="204"),
    _Call("post", "/v1/library/use", "Make a model the default.", "nodeToken", ModelChoice, status="204"),
    _Call("post", "/v1/library/remove", "Delete a model.", "nodeToken", ModelChoice, status="204"),
    _Call("get", "/v1/models", "The models of this node.", "apiKey", answer=ModelCards),
    _Call("get", "/v1/models/{model}", "One of them.", "apiKey", answer=ModelCard),
    _Call("post", "/v1/chat/completions", "Answer a chat.", "apiKey", ChatRequest, ChatCompletion, chunk=ChatChunk),
    _Call(
        "post",
        "/v1/completions",
        "Continue a text.",
        "apiKey",
        CompletionRequest,
        TextCompletion,
        chunk=TextCompletion,
    ),
    _Call("post", "/v1/embeddings", "Say where texts lie.", "apiKey", EmbeddingsRequest, EmbeddingsList),
    _Call("get", "/v1/keys", "The account's keys for programs.", "nodeToken", answer=ApiKeys),
    _Call(
        "post",
        "/v1/keys",
        "Make a key; its secret is shown this once.",
        "nodeToken",
        ApiKeyName,
        NewApiKey,
        status="201",
    ),
    _Call("patch", "/v1/keys/{key}", "Name a key.", "nodeToken", ApiKeyName, ApiKey),
    _Call("delete", "/v1/keys/{key}", "Revoke a key.", "nodeToken", status="204"),
    _Call("post", "/v1/renewal/challenge", "What a browser signs to renew its token.", None, answer=RenewalChallenge),
    _Call("post", "/v1/renewal", "Renew a token that the server gave.", None, Renewal, AccessToken),
    _Call("get", "/metrics", "Prometheus metrics.", None, media_type="text/plain"),
    _Call("get", "/openapi.json", "This document.", None, media_type="application/json"),
)


@cache
def document() -> bytes:
    """Return the OpenAPI 3.1 document as JSON."""
    types = {kind for call in _CALLS for kind in (call.body, call.answer) if kind is not None}
    types |= {Problem, ErrorAnswer, ChatChunk, Started, Text, Notice, Ended}
    _, schemas = msgspec.json.schema_components(sorted(types, key=lambda kind: kind.__name__), ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for call in _CALLS:
        paths.setdefault(call.path, {})[call.method] = _operation(call)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Domovoi inference node", "version": version("domovoi")},
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "nodeToken": {"type": "http", "scheme": "bearer", "description": "A token for this node."},
                    "apiKey": {"type": "http", "scheme": "bearer", "description": "A key made on this PC."},
                },
            },
        }
    )


def _operation(call: _Call) -> dict[str, Any]:
    problem = ErrorAnswer if call.security == "apiKey" else Problem
    problem_type = "application/json" if call.security == "apiKey" else "application/problem+json"
    success: dict[str, Any] = {"description": "As asked."}
    if call.answer is not None or call.media_type != "application/json":
        success["content"] = {call.media_type: {"schema": _schema(call.answer)}}
    if call.chunk is not None:
        # Until OpenAPI 3.2 there are no words for what an event holds.
        success["description"] = f"As asked; with `stream`, events of `{call.chunk.__name__}`, and `[DONE]` last."
        success["content"]["text/event-stream"] = {}
    operation: dict[str, Any] = {
        "summary": call.summary,
        "responses": {
            call.status: success,
            "default": {
                "description": "What went wrong and what to do.",
                "content": {problem_type: {"schema": _schema(problem)}},
            },
        },
    }
    if call.security is not None:
        operation["security"] = [{call.security: []}]
    names = _PARAMETER.findall(call.path)
    if names:
        common = {"in": "path", "required": True, "schema": {"type": "string"}}
        operation["parameters"] = [{"name": name, **common} for name in names]
    if call.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _schema(call.body)}}}
    return operation


def _schema(kind: type | None) -> dict[str, str]:
    return {"$ref": REFERENCE.format(name=kind.__name__)} if kind is not None else {}
