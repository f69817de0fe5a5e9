"""Bodies of /api/v1/pairing: a PC that shares no folder with the server joins an account (rules P1-P6)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.limits import MAX_PAIRING_CODE_CHARACTERS, PAIRING_NONCE_BYTES
from shared.wire import Hash, Level

PairingCodeText = Annotated[str, Meta(max_length=MAX_PAIRING_CODE_CHARACTERS)]
Nonce = Annotated[bytes, Meta(min_length=PAIRING_NONCE_BYTES, max_length=PAIRING_NONCE_BYTES)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]

# Waiting for a PC; one has come; its owner has said yes, or no.
PairingStage = Literal["waiting", "pending", "paired", "refused"]


# Between the app and the server.


class PairingRequest(Struct, frozen=True):
    """POST /api/v1/pairing: the password, asked for anew."""

    password: str


class PairingCode(Struct, frozen=True):
    """Answer to that. The code is told this once; `expires_ms` is in milliseconds since 1970, of the server."""

    pairing_id: str
    code: str
    expires_ms: int
    server_ms: int


class Pairing(Struct, frozen=True):
    """GET /api/v1/pairing/{id}. From `pending` on it names the PC, the six digits, and what the account would get."""

    pairing_id: str
    stage: PairingStage
    expires_ms: int
    server_ms: int
    node_id: str | None = None
    name: str | None = None
    check: str | None = None
    level: Level | None = None


class PairingConfirmation(Struct, frozen=True):
    """POST /api/v1/pairing/{id}/confirm: the digits that the person has compared."""

    check: str


# Between the node and the server.


class PairingOffer(Struct, frozen=True):
    """POST /api/v1/pairing/offer: the code, who the node is, and a commitment to its nonce.

    `sealing_key` is the node's X25519 key; a node that has none yet leaves it out.
    """

    code: PairingCodeText
    public_key: Hash
    name: str
    commitment: Hash
    sealing_key: Hash | None = None


class PairingChallenge(Struct, frozen=True):
    """Answer to an offer, the same for the same one."""

    nonce: Nonce
    expires_ms: int
    server_ms: int


class PairingProof(Struct, frozen=True):
    """POST /api/v1/pairing/proof: the nonce, and the transcript signed. Repeated, it asks how things stand."""

    code: PairingCodeText
    nonce: Nonce
    signature: Signature


class PairingState(Struct, frozen=True):
    """Answer to a proof. `username` says with whose account, once it is paired."""

    stage: PairingStage
    username: str | None = None
