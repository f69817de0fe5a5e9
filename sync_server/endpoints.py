"""Every HTTP endpoint in one table, for the router and for /openapi.json."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from starlette.requests import Request
from starlette.types import ASGIApp

from shared import invitation_wire, pairing_wire, people_wire, wire
from sync_server import health
from sync_server.accounts import account_endpoints, invitation_endpoints
from sync_server.blobs import blob_endpoints
from sync_server.log import sync_endpoints
from sync_server.nodes import node_endpoints, pairing_endpoints

if TYPE_CHECKING:
    from msgspec import Struct

Handler = Callable[[Request], Awaitable[ASGIApp]]


class Parameter(NamedTuple):
    """One member of the query string."""

    name: str
    text: str
    type: Literal["integer", "string"] = "integer"


class Endpoint(NamedTuple):
    """One method of one path. `body` and `reply` None: there is none; `is_public`: it asks for no token.

    `media_type` is the answer's, `takes` the body's, where that is no Struct.
    """

    method: str
    path: str
    handler: Handler
    body: type[Struct] | None = None
    reply: type[Struct] | None = None
    is_public: bool = False
    query: tuple[Parameter, ...] = ()
    media_type: str | None = None
    takes: str | None = None


_PULL = (
    Parameter("since", "The cursor: the sequence number read last."),
    Parameter("limit", "The most changes to return."),
    Parameter("epoch", "The history that the cursor belongs to."),
)

_BOOTSTRAP = (
    Parameter("after", "What the page before said.", "string"),
    Parameter("limit", "The most cells to return."),
)
_PACKED = Parameter("packed", "1: what conversations hold comes in segments.")

_BYTES = "application/octet-stream"
_PIECE = (
    Parameter("offset", "Where the piece begins: what has been received so far."),
    Parameter("size", "The size of the whole file, in bytes."),
)

ENDPOINTS = (
    Endpoint("POST", "/api/v1/auth/register", account_endpoints.register, wire.Registration, wire.Session, True),
    Endpoint("POST", "/api/v1/auth/login", account_endpoints.login, wire.Login, wire.Session, True),
    Endpoint("POST", "/api/v1/auth/refresh", account_endpoints.refresh, None, wire.Session, True),
    Endpoint("POST", "/api/v1/auth/logout", account_endpoints.logout, is_public=True),
    Endpoint("POST", "/api/v1/auth/password", account_endpoints.change_password, wire.PasswordChange),
    Endpoint("POST", "/api/v1/auth/token", account_endpoints.token, wire.TokenRequest, wire.AccessToken),
    Endpoint("POST", "/api/v1/auth/node", node_endpoints.node_login, wire.NodeLogin, wire.NodeSession, True),
    Endpoint("GET", "/api/v1/devices", account_endpoints.devices, None, wire.Devices),
    Endpoint("PATCH", "/api/v1/devices/{device_id}", account_endpoints.rename, wire.DeviceRename, wire.Device),
    Endpoint("DELETE", "/api/v1/devices/{device_id}", account_endpoints.revoke),
    Endpoint("GET", "/api/v1/invitations", invitation_endpoints.list_invitations, None, invitation_wire.Invitations),
    Endpoint("POST", "/api/v1/invitations", invitation_endpoints.invite, None, invitation_wire.NewInvitation),
    Endpoint("DELETE", "/api/v1/invitations/{invitation_id}", invitation_endpoints.take_back),
    Endpoint("GET", "/api/v1/nodes", node_endpoints.nodes, None, wire.Nodes),
    Endpoint("DELETE", "/api/v1/nodes/{node_id}", node_endpoints.unpair_node),
    Endpoint("GET", "/api/v1/nodes/{node_id}/people", node_endpoints.people, None, people_wire.NodePeople),
    Endpoint("DELETE", "/api/v1/nodes/{node_id}/people/{account_id}", node_endpoints.end_use_of_another),
    Endpoint("POST", "/api/v1/nodes/{node_id}/manager", node_endpoints.new_manager, people_wire.ManagerChange),
    Endpoint(
        "POST",
        "/api/v1/pairing",
        pairing_endpoints.begin_pairing,
        pairing_wire.PairingRequest,
        pairing_wire.PairingCode,
    ),
    Endpoint(
        "POST",
        "/api/v1/pairing/offer",
        pairing_endpoints.offer_node,
        pairing_wire.PairingOffer,
        pairing_wire.PairingChallenge,
        True,
    ),
    Endpoint(
        "POST",
        "/api/v1/pairing/proof",
        pairing_endpoints.prove_node,
        pairing_wire.PairingProof,
        pairing_wire.PairingState,
        True,
    ),
    Endpoint("GET", "/api/v1/pairing/{pairing_id}", pairing_endpoints.look_at_pairing, None, pairing_wire.Pairing),
    Endpoint("DELETE", "/api/v1/pairing/{pairing_id}", pairing_endpoints.refuse_pairing),
    Endpoint(
        "POST",
        "/api/v1/pairing/{pairing_id}/confirm",
        pairing_endpoints.confirm_pairing,
        pairing_wire.PairingConfirmation,
        pairing_wire.Pairing,
    ),
    Endpoint("POST", "/api/v1/sync/push", sync_endpoints.push_changes, wire.Push, wire.Pushed),
    Endpoint("GET", "/api/v1/sync/pull", sync_endpoints.pull_changes, None, wire.Pulled, query=_PULL),
    Endpoint(
        "GET",
        "/api/v1/sync/bootstrap",
        sync_endpoints.bootstrap_account,
        None,
        wire.Bootstrapped,
        query=(*_BOOTSTRAP, _PACKED),
    ),
    Endpoint(
        "GET", "/api/v1/sync/scopes/{scope}", sync_endpoints.bootstrap_scope, None, wire.Bootstrapped, query=_BOOTSTRAP
    ),
    Endpoint(
        "PUT", "/api/v1/blobs/{sha256}", blob_endpoints.put_blob, None, wire.BlobState, query=_PIECE, takes=_BYTES
    ),
    Endpoint("GET", "/api/v1/blobs/{sha256}", blob_endpoints.get_blob, media_type=_BYTES),
    Endpoint("GET", "/api/v1/blobs/{sha256}/state", blob_endpoints.blob_state, None, wire.BlobState),
    Endpoint("GET", "/api/v1/usage", blob_endpoints.usage, None, wire.Usage),
    Endpoint("GET", "/api/v1/sync/digest", sync_endpoints.digest, None, wire.Digest),
    Endpoint("POST", "/api/v1/leases", sync_endpoints.lease, wire.LeaseRequest, wire.Lease),
    Endpoint("GET", "/api/v1/events", sync_endpoints.events, media_type="text/event-stream"),
    Endpoint("GET", "/healthz", health.healthz, None, health.Health, True),
    Endpoint("GET", "/readyz", health.readyz, None, health.Health, True),
    Endpoint("GET", "/metrics", health.metrics, is_public=True, media_type="text/plain"),
    Endpoint("GET", "/.well-known/jwks.json", health.key_set, None, wire.KeySet, True),
)
