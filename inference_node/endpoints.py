"""Every HTTP endpoint of the node in one table, for both applications and for /openapi.json."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from starlette.requests import Request
from starlette.types import ASGIApp

from inference_node import answers, openai, openai_wire, status
from shared import wire

if TYPE_CHECKING:
    from msgspec import Struct

Handler = Callable[[Request], Awaitable[ASGIApp]]
Security = Literal["account", "key", "either"]


class Endpoint(NamedTuple):
    """One method of one path. `security` None: it asks for nothing; `is_remote`: the remote application has it too."""

    method: str
    path: str
    handler: Handler
    security: Security | None
    is_remote: bool = False
    body: type[Struct] | None = None
    reply: type[Struct] | None = None
    media_type: str | None = None


_STREAM = "text/event-stream"

ENDPOINTS = (
    Endpoint("GET", "/healthz", status.healthz, None, True, reply=status.Health),
    Endpoint("GET", "/metrics", status.metrics, None, media_type="text/plain"),
    Endpoint("GET", "/v1/status", status.status, "either", True, reply=wire.NodeStatus),
    Endpoint("POST", "/v1/answers", answers.start, "account", True, wire.StartAnswer, wire.AnswerStarted),
    Endpoint("GET", "/v1/answers/{answer_id}/events", answers.events, "account", True, media_type=_STREAM),
    Endpoint("POST", "/v1/answers/{answer_id}/stop", answers.stop, "account", True),
    Endpoint("GET", "/v1/models", openai.models, "key", reply=openai_wire.ModelList),
    Endpoint(
        "POST",
        "/v1/chat/completions",
        openai.chat_completions,
        "key",
        body=openai_wire.ChatRequest,
        reply=openai_wire.ChatCompletion,
    ),
)
