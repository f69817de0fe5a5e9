"""Bodies of the HTTP API. Each speaks JSON and MessagePack, by Content-Type and Accept (rule W1).

In JSON, bytes are base64. Identifiers that people meet (accounts, devices, nodes) are lower-case hex strings.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.change import U32, Change, EntityId, PulledChange, Sequence
from shared.device_keys import DeviceKey
from shared.limits import DEVICE_ID_BYTES, HASH_BYTES, LEASE_TOKEN_BYTES, MAX_PUSH_CHANGES
from shared.node_status import NodeStatus
from shared.values import Request, Role, Text

DeviceIdText = Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * DEVICE_ID_BYTES}}}$")]
Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Level = Literal["use", "manage"]
Transport = Literal["websocket", "polling"]
# How a node went: it said that it stops, nothing more was heard of it, or its connection broke.
Departure = Literal["stopped", "silent", "lost"]
LeaseToken = Annotated[bytes, Meta(min_length=LEASE_TOKEN_BYTES, max_length=LEASE_TOKEN_BYTES)]


# Accounts and tokens.


class Registration(Struct, frozen=True):
    """POST /api/v1/auth/register. The first account needs the setup code, later ones an invitation.

    `device_key` is the browser's, with which it can renew its tokens at a node (rule K11).
    """

    username: str
    password: str
    device_name: str
    setup_code: str | None = None
    invitation: str | None = None
    device_key: DeviceKey | None = None


class Login(Struct, frozen=True):
    """POST /api/v1/auth/login. `device_id` names the device this browser was, to stay that device."""

    username: str
    password: str
    device_name: str
    device_id: str | None = None
    device_key: DeviceKey | None = None


class PasswordChange(Struct, frozen=True):
    """POST /api/v1/auth/password: other devices are disconnected; what is on them stays there."""

    password: str
    new_password: str


class Session(Struct, frozen=True):
    """Answer to register, login and refresh. `expires_at` is in seconds since 1970; the owner may invite others."""

    access_token: str
    device_id: str
    account_id: str
    username: str
    expires_at: int
    server_ms: int
    is_owner: bool = False


class TokenRequest(Struct, frozen=True):
    """POST /api/v1/auth/token: a token for `sync` or `node:<node id>`."""

    audience: str


class AccessToken(Struct, frozen=True):
    """A token and when it runs out, in seconds since 1970."""

    access_token: str
    expires_at: int


class NodeLogin(Struct, frozen=True):
    """POST /api/v1/auth/node: a JWT that the node signed with its own key, valid for a minute.

    `forked` are devices of the node whose logs the server knows otherwise: each is replaced by a new one (rule L8).
    """

    assertion: str
    forked: Annotated[list[DeviceIdText], Meta(max_length=1000)] = []


class Grant(Struct, frozen=True):
    """One account that a node serves, as which device, at which level, and the sync token for it."""

    account_id: str
    device_id: str
    level: Level
    access_token: str
    expires_at: int


class NodeSession(Struct, frozen=True):
    """Answer to a node's login. `key_set` and `revocations` are signed (rules K7, K9)."""

    grants: list[Grant]
    server_ms: int
    key_set: str
    revocations: str


class Device(Struct, frozen=True):
    """A row of GET /api/v1/devices. Times are in milliseconds since 1970.

    `login_ms` is its last login with the password, 0 for a PC, and `login_address` from where that was; `address` is
    where the device was seen last.
    """

    device_id: str
    name: str
    kind: str
    created_ms: int
    last_seen_ms: int
    current: bool
    login_ms: int = 0
    login_address: str | None = None
    address: str | None = None


class Devices(Struct, frozen=True):
    """GET /api/v1/devices."""

    devices: list[Device]


class DeviceRename(Struct, frozen=True):
    """PATCH /api/v1/devices/{id}."""

    name: str


class Node(Struct, frozen=True):
    """A row of GET /api/v1/nodes. `since_ms`: when it came awake, or was last seen if it is not.

    `departure` is how it went, if it is not awake and the server saw it go (rule T8).

    `level` is what this account may do there: use its models, or manage them too. `transport` is what carries its
    tunnel now; `same_nat` guesses whether it sits behind the same router as the device that asks.
    """

    node_id: str
    name: str
    awake: bool
    since_ms: int
    status: NodeStatus | None
    level: Level
    transport: Transport | None = None
    same_nat: bool = False
    departure: Departure | None = None


class Nodes(Struct, frozen=True):
    """GET /api/v1/nodes, and the `presence` event."""

    nodes: list[Node]


# Sync.


class IfLease(Struct, frozen=True):
    """A push counts only while this lease is nobody else's (rule Q10)."""

    answer: EntityId
    token: LeaseToken


class Push(Struct, frozen=True):
    """POST /api/v1/sync/push: changes `first_dseq`… of the token's device.

    `prev_hash` is the chain's value at `first_dseq - 1` (32 zero bytes before the first).
    """

    epoch: U32
    first_dseq: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    prev_hash: Hash
    changes: Annotated[list[Change], Meta(min_length=1, max_length=MAX_PUSH_CHANGES)]
    if_lease: IfLease | None = None


class Rejected(Struct, frozen=True):
    """The first change that was refused, and why; nothing after it was taken."""

    dseq: Sequence
    code: str


class Pushed(Struct, frozen=True):
    """Answer to a push: everything up to `acked_dseq` is committed.

    What the account's log holds after `prev_head` up to `head` is this push alone (L13). `purged` are those of its
    conversations that are over: the device removes what it holds of them (L18).
    """

    acked_dseq: Sequence
    head: Sequence
    server_ms: int
    rejected: list[Rejected] = []
    purged: list[EntityId] = []
    prev_head: Sequence | None = None


class Pulled(Struct, frozen=True):
    """GET /api/v1/sync/pull?since=&limit=&epoch=. When `more` is false, the cursor becomes `head`."""

    epoch: U32
    head: Sequence
    changes: list[PulledChange]
    more: bool
    server_ms: int


class Bootstrapped(Struct, frozen=True):
    """GET /api/v1/sync/bootstrap?after=&limit=, and /api/v1/sync/scopes/{scope}: a page of the account's cells.

    `head` is the head that the first page saw. `after` asks for the next page; without it this is the last, and
    after the last page of a bootstrap the cursor becomes `head`. With `packed=1` what conversations hold comes in
    `segments` (rule L23).
    """

    epoch: U32
    head: Sequence
    changes: list[PulledChange]
    after: str | None
    server_ms: int
    segments: list[bytes] = []


class Digest(Struct, frozen=True):
    """GET /api/v1/sync/digest: of the account's `count` cells at `head`, the XOR of their hashes (rule L20)."""

    epoch: U32
    head: Sequence
    count: int
    digest: Hash
    server_ms: int


class Usage(Struct, frozen=True):
    """GET /api/v1/usage: the account's space, in bytes; files count with their whole size from their first piece."""

    bytes_used: int
    quota_bytes: int


class BlobState(Struct, frozen=True):
    """Answer to a piece of a file, and GET /api/v1/blobs/{sha256}/state: whole when `received` is `size`, in bytes."""

    size: int
    received: int


class LeaseRequest(Struct, frozen=True):
    """POST /api/v1/leases, of a node's device. Renewing and releasing need the `token` that claiming gave."""

    answer: EntityId
    action: Literal["claim", "renew", "release"]
    token: LeaseToken | None = None


class Lease(Struct, frozen=True):
    """The right to run an answer until `expires_ms`, once the holder has read the log up to `head` (rule Q9)."""

    answer: EntityId
    token: LeaseToken
    expires_ms: int
    head: Sequence
    server_ms: int


class Hello(Struct, frozen=True):
    """First event of GET /api/v1/events. `address` is where the server sees the device at.

    `login_ms` is the newest login of the account's devices.
    """

    epoch: U32
    head: Sequence
    server_ms: int
    address: str = ""
    login_ms: int = 0


class DevicesNews(Struct, frozen=True):
    """The account's devices are others than before, or have other names. `login_ms` is their newest login."""

    login_ms: int


class LogNews(Struct, frozen=True):
    """The log moved from `prev_head` to `head`. Small news carries its changes; else pull."""

    epoch: U32
    prev_head: Sequence
    head: Sequence
    changes: list[PulledChange] | None = None


# Answers, asked of a node.


class PathMessage(Struct, frozen=True):
    """One message before the answer, root first."""

    role: Role
    text: Text


class StartAnswer(Struct, frozen=True):
    """POST /v1/answers: the request with all it needs, so that it may overtake the log."""

    answer: EntityId
    conversation: EntityId
    request: Request
    path: Annotated[list[PathMessage], Meta(min_length=1, max_length=10_000)]


class AnswerStarted(Struct, frozen=True):
    """Answer to a start: the run's state. A repeat attaches to the same run."""

    answer: EntityId
    state: str


# Keys that sign tokens.


class PublicKey(Struct, frozen=True):
    """An Ed25519 public key as a JWK (RFC 8037); `kid` is its RFC 7638 thumbprint."""

    x: str
    kid: str
    kty: str = "OKP"
    crv: str = "Ed25519"
    use: str = "sig"
    alg: str = "EdDSA"


class KeySet(Struct, frozen=True):
    """GET /.well-known/jwks.json: the server's signing keys and its name in `iss`.

    `root` is the key that a verifier pins, and `signed` the same keys as that one signs them (rule K7).
    """

    issuer: str
    keys: list[PublicKey]
    root: PublicKey
    signed: str
