"""What each endpoint asks for, how it is called, and what comes of it: the one list that a new endpoint must join.

A verdict is a status, with the code of the closed set where it is a refusal: `200`, `404 not_found`.
"""

from __future__ import annotations

from base64 import b64encode
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.device_keys import SIGNATURE_BYTES
from shared.jws import KEY_BYTES
from shared.limits import CHALLENGE_BYTES
from tests.sync_server.device import PASSWORD

if TYPE_CHECKING:
    from tests.security.pocket import Purpose


class Door(StrEnum):
    """Who is let in."""

    PUBLIC = "nobody is asked"
    SYNC = "a device's token for the server"
    NODE = "a device's token for the node"
    MANAGER = "the same, of an account that manages the node"
    KEY = "an API key"
    LOGIN = "a node's own login"

    @property
    def purpose(self) -> Purpose:
        """What a token that opens it is for."""
        purposes: dict[Door, Purpose] = {
            Door.SYNC: "sync",
            Door.NODE: "node",
            Door.MANAGER: "node",
            Door.KEY: "key",
            Door.LOGIN: "login",
        }
        return purposes.get(self, "")


class Call(NamedTuple):
    """How an endpoint is called: `own` is the verdict for whom it belongs to, `other` for another account.

    Its path is the route's, `{names}` in it are things of the owner's. `path` is called instead where that is not given
    by names, `own_path` by the owner where the call would end what everybody else tries to reach.
    """

    door: Door
    own: str
    other: str | None = None
    body: Any = None
    path: str | None = None
    own_path: str | None = None

    @property
    def for_other(self) -> str:
        """The verdict for another account: by default its own things are answered as the owner's are."""
        return self.other or ("403 manager_only" if self.door is Door.MANAGER else self.own)


# Bodies that the caller makes up.
FIRST_PUSH = "the owner's first push"
NEW_ANSWER = "a request for a new answer"
CLAIM = {"answer": "A" * 22 + "==", "action": "claim"}
NODE_HEALTH = "/relay/{node_id}/healthz"
NEW_NAME = {"name": "Kitchen"}
NOT_THERE = {"model": "not-there.gguf"}
_ZERO_KEY = b64encode(bytes(KEY_BYTES)).decode()
WEAK_OFFER = {"code": "x", "public_key": _ZERO_KEY, "name": "PC", "commitment": _ZERO_KEY}
NO_PROOF = {
    "token": "a.b.c",
    "key": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    "challenge": b64encode(bytes(CHALLENGE_BYTES)).decode(),
    "signature": b64encode(bytes(SIGNATURE_BYTES)).decode(),
}
CONTENT_OF_ANYBODY = b"anybody's file"
NOT_SEALED = b"whatever" * 20

SERVER: dict[tuple[str, str], Call] = {
    ("POST", "/api/v1/auth/register"): Call(
        Door.PUBLIC,
        "403 invitation_wrong",
        body={"username": "Stranger", "password": PASSWORD, "device_name": "Phone"},
    ),
    ("POST", "/api/v1/auth/login"): Call(
        Door.PUBLIC,
        "401 login_wrong",
        body={"username": "Owner", "password": "not the password", "device_name": "Phone"},
    ),
    # Both go by a cookie alone, and none is sent here.
    ("POST", "/api/v1/auth/refresh"): Call(Door.PUBLIC, "401 login_ended"),
    ("POST", "/api/v1/auth/logout"): Call(Door.PUBLIC, "401 login_ended"),
    ("POST", "/api/v1/auth/password"): Call(
        Door.SYNC, "422 password_too_short", body={"password": PASSWORD, "new_password": "short"}
    ),
    ("POST", "/api/v1/auth/token"): Call(Door.SYNC, "200", body={"audience": "sync"}),
    ("POST", "/api/v1/auth/node"): Call(Door.LOGIN, "200"),
    ("GET", "/api/v1/devices"): Call(Door.SYNC, "200"),
    ("PATCH", "/api/v1/devices/{device_id}"): Call(
        Door.SYNC, "200", "404 not_found", NEW_NAME, own_path="/api/v1/devices/{fresh_device}"
    ),
    ("DELETE", "/api/v1/devices/{device_id}"): Call(
        Door.SYNC, "204", "404 not_found", own_path="/api/v1/devices/{fresh_device}"
    ),
    ("GET", "/api/v1/invitations"): Call(Door.SYNC, "200", "403 owner_only"),
    ("POST", "/api/v1/invitations"): Call(Door.SYNC, "200", "403 owner_only"),
    ("DELETE", "/api/v1/invitations/{invitation_id}"): Call(
        Door.SYNC, "404 not_found", "403 owner_only", path=f"/api/v1/invitations/{'0' * 64}"
    ),
    ("GET", "/api/v1/nodes"): Call(Door.SYNC, "200"),
    # Of a node that nobody has: the one of the house would be gone for everybody who calls after.
    ("DELETE", "/api/v1/nodes/{node_id}"): Call(Door.SYNC, "404 node_unknown", path=f"/api/v1/nodes/{'0' * 32}"),
    ("GET", "/api/v1/nodes/{node_id}/people"): Call(Door.SYNC, "200"),
    # Of nobody, and to nobody: what the owner manages stays so.
    ("DELETE", "/api/v1/nodes/{node_id}/people/{account_id}"): Call(
        Door.SYNC, "404 not_found", "403 manager_only", path=f"/api/v1/nodes/{{node_id}}/people/{'0' * 32}"
    ),
    ("POST", "/api/v1/nodes/{node_id}/manager"): Call(
        Door.SYNC, "404 not_found", "403 manager_only", {"account_id": "0" * 32, "password": PASSWORD}
    ),
    ("POST", "/api/v1/pairing"): Call(Door.SYNC, "200", body={"password": PASSWORD}),
    # The owner's pairing is one that was refused, so that nothing can become of it.
    ("GET", "/api/v1/pairing/{pairing_id}"): Call(Door.SYNC, "200", "404 not_found"),
    ("DELETE", "/api/v1/pairing/{pairing_id}"): Call(Door.SYNC, "204", "404 not_found"),
    ("POST", "/api/v1/pairing/{pairing_id}/confirm"): Call(
        Door.SYNC, "409 pairing_check_wrong", "404 not_found", {"check": "123 456"}
    ),
    # A node has nothing but its code there; this one's key is one that anybody has.
    ("POST", "/api/v1/pairing/offer"): Call(Door.PUBLIC, "400 bad_request", body=WEAK_OFFER),
    ("POST", "/api/v1/pairing/proof"): Call(Door.PUBLIC, "400 bad_request", body={"code": "x"}),
    # The owner's first push again, which changes nothing; in another account it belongs to no history.
    ("POST", "/api/v1/sync/push"): Call(Door.SYNC, "200", "410 epoch_changed", FIRST_PUSH),
    ("GET", "/api/v1/sync/pull"): Call(Door.SYNC, "200"),
    ("GET", "/api/v1/sync/bootstrap"): Call(Door.SYNC, "200"),
    ("GET", "/api/v1/sync/scopes/{scope}"): Call(Door.SYNC, "200"),
    ("PUT", "/api/v1/blobs/{sha256}"): Call(
        Door.SYNC,
        "200",
        body=CONTENT_OF_ANYBODY,
        path=f"/api/v1/blobs/{sha256(CONTENT_OF_ANYBODY).hexdigest()}?offset=0&size={len(CONTENT_OF_ANYBODY)}",
    ),
    ("GET", "/api/v1/blobs/{sha256}"): Call(Door.SYNC, "200", "404 not_found"),
    ("GET", "/api/v1/blobs/{sha256}/state"): Call(Door.SYNC, "200", "404 not_found"),
    ("GET", "/api/v1/usage"): Call(Door.SYNC, "200"),
    ("GET", "/api/v1/sync/digest"): Call(Door.SYNC, "200"),
    # A browser's device is let in, and told that it is no node.
    ("POST", "/api/v1/leases"): Call(Door.SYNC, "404 node_unknown", body=CLAIM),
    ("GET", "/api/v1/events"): Call(Door.SYNC, "200"),
    ("GET", "/healthz"): Call(Door.PUBLIC, "200"),
    ("GET", "/readyz"): Call(Door.PUBLIC, "200"),
    # For this machine alone, and everybody here calls from another one.
    ("GET", "/metrics"): Call(Door.PUBLIC, "404 not_found"),
    ("GET", "/.well-known/jwks.json"): Call(Door.PUBLIC, "200"),
    ("GET", "/openapi.json"): Call(Door.PUBLIC, "200"),
    # What the node asks for stands with its own endpoints.
    ("GET", "/relay/{node_id}/{path:path}"): Call(Door.SYNC, "200", path=NODE_HEALTH),
    ("POST", "/relay/{node_id}/{path:path}"): Call(Door.SYNC, "405 method_not_allowed", path=NODE_HEALTH),
    ("WEBSOCKET", "/tunnel"): Call(Door.LOGIN, "200"),
    # HELLO, which has the login in it, is no JSON; and a key that WELCOME gave opens the rest.
    ("POST", "/tunnel/up"): Call(Door.PUBLIC, "400 bad_request"),
    ("GET", "/tunnel/down"): Call(Door.PUBLIC, "410 transport_gone", path="/tunnel/down?last_rx=0"),
    ("GET", "/{path:path}"): Call(Door.PUBLIC, "404 not_found", path="/"),
}

NODE: dict[tuple[str, str], Call] = {
    ("GET", "/healthz"): Call(Door.PUBLIC, "200"),
    ("GET", "/v1/status"): Call(Door.NODE, "200"),
    ("POST", "/v1/answers"): Call(Door.NODE, "200", body=NEW_ANSWER),
    ("GET", "/v1/answers/{answer}/events"): Call(Door.NODE, "200", "404 answer_unknown"),
    ("POST", "/v1/answers/{answer}/stop"): Call(Door.NODE, "204", "404 answer_unknown"),
    ("GET", "/v1/library"): Call(Door.NODE, "200"),
    ("POST", "/v1/library/pull"): Call(Door.MANAGER, "404 model_unknown", body={"id": "not-there"}),
    ("GET", "/v1/library/pulls/{file}/events"): Call(Door.NODE, "404 model_missing"),
    ("POST", "/v1/library/pulls/{file}/stop"): Call(Door.MANAGER, "404 model_missing"),
    ("POST", "/v1/library/use"): Call(Door.MANAGER, "404 model_missing", body=NOT_THERE),
    ("POST", "/v1/library/remove"): Call(Door.MANAGER, "404 model_missing", body=NOT_THERE),
    ("POST", "/v1/library/load"): Call(Door.MANAGER, "404 model_missing", body=NOT_THERE),
    ("POST", "/v1/library/unload"): Call(Door.MANAGER, "404 model_missing", body=NOT_THERE),
    # Off, as it is: on, the suite would listen on the network.
    ("POST", "/v1/local-network"): Call(Door.MANAGER, "200", body={"is_on": False}),
    ("GET", "/v1/keys"): Call(Door.NODE, "200"),
    ("POST", "/v1/keys"): Call(Door.NODE, "400 bad_request", body={"name": ""}),
    ("PATCH", "/v1/keys/{key}"): Call(Door.NODE, "200", "404 not_found", NEW_NAME, own_path="/v1/keys/{fresh_key}"),
    # Taking back what one does not have changes nothing, and says so to everybody.
    ("DELETE", "/v1/keys/{key}"): Call(Door.NODE, "204", own_path="/v1/keys/{fresh_key}"),
    # Whoever has no good token any more proves the device's key.
    ("POST", "/v1/renewal/challenge"): Call(Door.PUBLIC, "200"),
    ("POST", "/v1/renewal"): Call(Door.PUBLIC, "401 token_invalid", body=NO_PROOF),
}

REMOTE: dict[tuple[str, str], Call] = {
    ("GET", "/healthz"): Call(Door.PUBLIC, "200"),
    ("GET", "/v1/keys"): Call(Door.PUBLIC, "200"),
    # What nobody has sealed. What is inside of a sealed call stands in NODE.
    ("POST", "/v1/sealed"): Call(Door.PUBLIC, "400 cannot_open", body=NOT_SEALED),
}

LOOPBACK: dict[tuple[str, str], Call] = {
    **NODE,
    ("GET", "/v1/models"): Call(Door.KEY, "200"),
    ("GET", "/v1/models/{model}"): Call(Door.KEY, "200"),
    ("POST", "/v1/chat/completions"): Call(
        Door.KEY, "200", body={"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    ),
    ("POST", "/v1/completions"): Call(Door.KEY, "200", body={"prompt": "Hello", "max_tokens": 1}),
    ("POST", "/v1/embeddings"): Call(Door.KEY, "200", body={"input": "Hello"}),
    ("GET", "/metrics"): Call(Door.PUBLIC, "200"),
    ("GET", "/openapi.json"): Call(Door.PUBLIC, "200"),
}

EXPECTED: dict[str, dict[tuple[str, str], Call]] = {
    "server": SERVER,
    "loopback": LOOPBACK,
    "remote": REMOTE,
    "sealed": NODE,
}
