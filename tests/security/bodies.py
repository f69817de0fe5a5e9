"""A full body for every endpoint that takes one, and bad values in every place of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tests.security.expectations import NO_PROOF
from tests.security.vectors import spelt_out
from tests.sync_server.device import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.household import Household
    from tests.security.route_tables import Place

MARK = "@here@"
JSON, MESSAGEPACK = "application/json", "application/msgpack"
WRONG_PASSWORD = "not the password"
CHOICE = {"model": "not-there.gguf"}
SAMPLING = {
    "temperature": 1,
    "top_p": 0.5,
    "min_p": 0.1,
    "top_k": 9,
    "max_tokens": 1,
    "seed": 1,
    "repeat_penalty": 1.1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
}
SCHEMA = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}
FUNCTION = {"name": "f", "description": "Do it.", "parameters": SCHEMA, "strict": True}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PROGRAMS = {"model": "default", "stream": False, "stream_options": {"include_usage": True}, "stop": ["x"], "n": 1}


def full_bodies(household: Household) -> dict[tuple[Place, str, str], Any]:
    """Return a body with every member for every endpoint that takes one. None of them would change anything."""
    node = household.thread.node
    login = {"username": "Owner", "password": WRONG_PASSWORD, "device_name": "Phone"}
    answer = msgspec.to_builtins(node.request("Hello"))
    answer["request"]["sampling"] = SAMPLING
    push = {**household.first_push, "if_lease": {"answer": bytes(16), "token": bytes(16)}}
    text = [{"type": "text", "text": "Hello"}]
    messages = [
        {"role": "user", "content": text, "name": "me"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "done", "tool_call_id": "1"},
    ]
    chat = {
        **SAMPLING,
        **PROGRAMS,
        "messages": messages,
        "max_completion_tokens": 1,
        "logprobs": True,
        "top_logprobs": 1,
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        "logit_bias": {},
    }
    completion = {**SAMPLING, **PROGRAMS, "prompt": "Hello", "echo": False, "suffix": None, "logprobs": None}
    return {
        ("server", "POST", "/api/v1/auth/register"): {**login, "setup_code": "x", "invitation": "x"},
        ("server", "POST", "/api/v1/auth/login"): {**login, "device_id": "0" * 16},
        ("server", "POST", "/api/v1/auth/password"): {"password": WRONG_PASSWORD, "new_password": PASSWORD},
        ("server", "POST", "/api/v1/auth/token"): {"audience": "sync"},
        ("server", "POST", "/api/v1/auth/node"): {"assertion": "x.y.z", "forked": ["0" * 16]},
        ("server", "PATCH", "/api/v1/devices/{device_id}"): {"name": "Kitchen"},
        ("server", "POST", "/api/v1/sync/push"): push,
        ("server", "POST", "/api/v1/nodes/{node_id}/manager"): {"account_id": "0" * 32, "password": WRONG_PASSWORD},
        ("server", "POST", "/api/v1/pairing"): {"password": PASSWORD},
        ("server", "POST", "/api/v1/pairing/{pairing_id}/confirm"): {"check": "123 456"},
        ("server", "POST", "/api/v1/pairing/offer"): {
            "code": "x",
            "name": "PC",
            "public_key": bytes(32),
            "commitment": bytes(32),
            "sealing_key": None,
        },
        ("server", "POST", "/api/v1/pairing/proof"): {"code": "x", "nonce": bytes(32), "signature": bytes(64)},
        ("server", "POST", "/api/v1/leases"): {"answer": bytes(16), "action": "claim", "token": bytes(16)},
        ("loopback", "POST", "/v1/answers"): answer,
        ("loopback", "POST", "/v1/renewal"): NO_PROOF,
        ("loopback", "POST", "/v1/library/pull"): {"id": "not-there", "accept_licence": False},
        ("loopback", "POST", "/v1/library/use"): CHOICE,
        ("loopback", "POST", "/v1/library/remove"): CHOICE,
        ("loopback", "POST", "/v1/library/load"): CHOICE,
        ("loopback", "POST", "/v1/library/unload"): CHOICE,
        ("loopback", "POST", "/v1/local-network"): {"is_on": False},
        ("loopback", "POST", "/v1/keys"): {"name": "Editor"},
        ("loopback", "PATCH", "/v1/keys/{key}"): {"name": "Kitchen"},
        ("loopback", "POST", "/v1/chat/completions"): chat,
        ("loopback", "POST", "/v1/completions"): completion,
        ("loopback", "POST", "/v1/embeddings"): {"input": ["Hello"], "encoding_format": "float", "dimensions": None},
    }


def places_of(body: Any) -> Iterator[tuple[str, Any]]:
    """Yield the body with a mark in each of its places, the whole of it first, and where the mark is."""
    yield "", MARK
    members = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list | tuple) else ()
    for name, member in members:
        for where, marked in places_of(member):
            changed = dict(body) if isinstance(body, dict) else list(body)
            changed[name] = marked
            yield f"/{name}{where}", changed


def with_value(marked: Any, given: dict[str, Any]) -> tuple[str, bytes]:
    """Return content type and bytes of a body with a vector's value in the place of the mark."""
    given = spelt_out(given)
    if "json" in given:
        encoded = msgspec.json.encode(marked)
        return JSON, encoded.replace(json.dumps(MARK).encode(), given["json"].encode())
    encoded = msgspec.msgpack.encode(marked)
    return MESSAGEPACK, encoded.replace(msgspec.msgpack.encode(MARK), bytes.fromhex(given["messagepack"]))
