"""Calling any endpoint with anything in hand, and what comes of it in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from shared.errors import Code
from shared.sealing import SEALED
from shared.tunnel import frames
from shared.tunnel.frames import Frame, FrameType
from shared.tunnel.payloads import HelloPayload, ResetPayload
from tests.security.expectations import FIRST_PUSH, NEW_ANSWER, Call, Door

if TYPE_CHECKING:
    import httpx

    from tests.security.household import Household
    from tests.security.route_tables import Endpoint

CODES = {code.value for code in Code}
# What programs of other people's look for in the API that is like OpenAI's.
CODES_OF_PROGRAMS = {"model_not_found", "context_length_exceeded"}

NO_PROBLEM = "no problem document"


class Answer(NamedTuple):
    """The verdict, in the words of `expectations`, and the text that came with it."""

    verdict: str
    text: str

    @property
    def is_unhandled(self) -> bool:
        """Whether the program did not know what to do."""
        return self.verdict.startswith("500") or NO_PROBLEM in self.verdict


def verdict_of(response: httpx.Response) -> str:
    """Return status and code of a response."""
    return verdict_of_parts(response.status_code, response.headers.get("content-type", ""), response.content)


def verdict_of_parts(status: int, kind: str, content: bytes) -> str:
    """Return status and code. A refusal that is no problem document of the closed set says so."""
    if status < 400:
        return str(status)
    try:
        body = json.loads(content)
        if kind == "application/problem+json":
            assert body["status"] == status
            return f"{status} {Code(body['code'])}"
        # The API that is like OpenAI's has errors as OpenAI's clients read them.
        if kind == "application/json" and body["error"]["code"] in CODES | CODES_OF_PROGRAMS:
            return f"{status} {body['error']['code']}"
    except (ValueError, KeyError, TypeError, AssertionError):
        pass
    return f"{status} {NO_PROBLEM}: {kind}"


def call(household: Household, endpoint: Endpoint, how: Call, token: str | None, *, is_owner: bool) -> Answer:
    """Call the endpoint as `how` says, with the token where its door looks for it."""
    if endpoint.method == "WEBSOCKET":
        return _hello(household.server.websocket_url, token)
    path = household.fill((is_owner and how.own_path) or how.path or endpoint.path)
    headers = household.address() | _token_headers(household, endpoint, token)
    content = _content(household, how, token)
    if isinstance(content, str):
        headers["content-type"] = "application/json"
    elif endpoint.place == "remote":
        headers["content-type"] = SEALED
    url = household.url(endpoint.place) + path
    client = household.client(endpoint.place)
    response = client.send(client.build_request(endpoint.method, url, headers=headers, content=content), stream=True)
    try:
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            # It goes on for as long as somebody listens: its first words do.
            return Answer(str(response.status_code), next(response.iter_text(), ""))
        response.read()
        return Answer(verdict_of(response), response.text)
    finally:
        response.close()


def _token_headers(household: Household, endpoint: Endpoint, token: str | None) -> dict[str, str]:
    if endpoint.place == "remote":
        # The relay lets the owner through; outside of the seal no token means anything to the node behind it.
        return household.owner.bearer | ({} if token is None else {"domovoi-node-token": token})
    return {} if token is None else {"authorization": f"Bearer {token}"}


def _content(household: Household, how: Call, token: str | None) -> str | bytes | None:
    """Return the body: JSON is text, anything else bytes."""
    if how.door is Door.LOGIN:
        return json.dumps({"assertion": token or ""})
    match how.body:
        case None | bytes():
            return how.body
        case str() if how.body == FIRST_PUSH:
            return msgspec.json.encode(household.first_push).decode()
        case str() if how.body == NEW_ANSWER:
            return msgspec.json.encode(household.thread.node.request("Hello")).decode()
    return json.dumps(how.body)


def _hello(url: str, token: str | None) -> Answer:
    """Say HELLO with the token as a node does, and return how it was taken."""
    hello = HelloPayload("0" * 32, 1, 0, [], token or "")
    with connect(url, proxy=None) as websocket:
        websocket.send(frames.encode(Frame(FrameType.HELLO, payload=msgspec.msgpack.encode(hello))))
        try:
            received = websocket.recv(timeout=20)
        except ConnectionClosed as closed:
            return Answer(f"closed {closed.code}", "")
        assert isinstance(received, bytes)
        frame = next(iter(frames.decode(received)))
        if frame.type is FrameType.WELCOME:
            return Answer("200", "")
        code = Code(msgspec.msgpack.decode(frame.payload, type=ResetPayload).code)
        status = 404 if code is Code.NODE_UNKNOWN else 401
        return Answer(f"{status} {code}", "")
