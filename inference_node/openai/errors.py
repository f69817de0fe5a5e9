"""Errors of the OpenAI-compatible API: our closed set, in the shape that OpenAI's clients read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from starlette.responses import Response

from inference_node.endpoints.content import JSON
from shared.errors import EXPLANATIONS, Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

log = logging.getLogger(__name__)

FIRST_SERVER_ERROR = 500
UNAUTHORIZED = 401
# Programs look for these words of OpenAI's, and for the status that goes with them; the rest of our codes are our own.
OPENAI_CODES = {
    Code.MODEL_MISSING: (404, "model_not_found"),
    Code.CONTEXT_TOO_LONG: (400, "context_length_exceeded"),
}
# What is wrong, where it is not what it would be for people: nothing is left out of a program's prompt.
TITLES = {Code.CONTEXT_TOO_LONG: "The prompt is too long for this model."}
# The member of the request that is at fault, where there is one.
PARAMETERS = {Code.MODEL_MISSING: "model", Code.MODEL_DAMAGED: "model", Code.CONTEXT_TOO_LONG: "messages"}
# When to try again, seconds: about an answer's time.
RETRY_AFTER = {Code.ENGINE_BUSY: "5", Code.ENGINE_LOADING: "5", Code.ENGINE_UNAVAILABLE: "10"}


class ErrorBody(Struct, frozen=True):
    """What went wrong, as OpenAI's clients read it."""

    message: str
    type: str
    code: str
    param: str | None = None


class ErrorAnswer(Struct, frozen=True):
    """Every failure of this API."""

    error: ErrorBody


def error_answer(error: DomovoiError) -> ErrorAnswer:
    """Return the error as OpenAI's clients read it."""
    status, code = _status_and_code(error)
    if status == UNAUTHORIZED:
        kind = "authentication_error"
    else:
        kind = "server_error" if status >= FIRST_SERVER_ERROR else "invalid_request_error"
    message = f"{TITLES.get(error.code, EXPLANATIONS[error.code].title)} {error.detail}"
    return ErrorAnswer(ErrorBody(message, kind, code, PARAMETERS.get(error.code)))


def error_response(error: DomovoiError) -> Response:
    """Return the error with its status, and with the time to wait where waiting helps."""
    status, _ = _status_and_code(error)
    headers = {"Cache-Control": "no-store"}
    if error.code in RETRY_AFTER:
        headers["Retry-After"] = RETRY_AFTER[error.code]
    return Response(msgspec.json.encode(error_answer(error)), status, headers, JSON)


def with_openai_errors(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint with its errors in OpenAI's shape; a fault of ours is one of them, and is logged."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except DomovoiError as error:
            return error_response(error)
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            return error_response(DomovoiError(Code.INTERNAL))

    return guarded


def _status_and_code(error: DomovoiError) -> tuple[int, str]:
    return OPENAI_CODES.get(error.code, (error.status, error.code.value))
