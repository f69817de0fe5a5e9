"""The closed set of errors, the same over HTTP, in answers and in the interface (rules E1-E3).

Each says what is wrong and what to do. Codes are stable; the app translates them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct


class Code(StrEnum):
    """Every error code there is."""

    BAD_REQUEST = "bad_request"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    TOO_MANY_TRIES = "too_many_tries"
    TOO_BUSY = "too_busy"
    SETUP_CODE_WRONG = "setup_code_wrong"
    INVITATION_WRONG = "invitation_wrong"
    PASSWORD_TOO_SHORT = "password_too_short"
    PASSWORD_TOO_LONG = "password_too_long"
    PASSWORD_TOO_COMMON = "password_too_common"
    USERNAME_INVALID = "username_invalid"
    USERNAME_TAKEN = "username_taken"
    LOGIN_WRONG = "login_wrong"
    LOGIN_ENDED = "login_ended"
    TOKEN_MISSING = "token_missing"
    TOKEN_INVALID = "token_invalid"
    TOKEN_EXPIRED = "token_expired"
    DEVICE_REVOKED = "device_revoked"
    NODE_UNKNOWN = "node_unknown"
    MANAGER_ONLY = "manager_only"
    OWNER_ONLY = "owner_only"
    TRANSPORT_GONE = "transport_gone"
    CANNOT_OPEN = "cannot_open"
    STALE_EPOCH = "stale_epoch"
    PAIRING_CODE_WRONG = "pairing_code_wrong"
    PAIRING_CODE_EXPIRED = "pairing_code_expired"
    PAIRING_CODE_SPENT = "pairing_code_spent"
    PAIRING_CODE_USED = "pairing_code_used"
    PAIRING_PROOF_WRONG = "pairing_proof_wrong"
    PAIRING_CHECK_WRONG = "pairing_check_wrong"
    NODE_UNREACHABLE = "node_unreachable"
    SEQUENCE_GAP = "sequence_gap"
    DEVICE_FORKED = "device_forked"
    CLOCK_AHEAD = "clock_ahead"
    EPOCH_CHANGED = "epoch_changed"
    HISTORY_TRIMMED = "history_trimmed"
    QUOTA_EXCEEDED = "quota_exceeded"
    LEASE_LOST = "lease_lost"
    BLOB_OFFSET = "blob_offset"
    BLOB_DAMAGED = "blob_damaged"
    ANSWER_UNKNOWN = "answer_unknown"
    EVENTS_GONE = "events_gone"
    MODEL_MISSING = "model_missing"
    MODEL_DAMAGED = "model_damaged"
    UNSUPPORTED = "unsupported"
    OUT_OF_MEMORY = "out_of_memory"
    MODEL_UNKNOWN = "model_unknown"
    MODEL_BUSY = "model_busy"
    MODEL_FIXED = "model_fixed"
    LOCAL_NETWORK_FIXED = "local_network_fixed"
    LICENCE_REQUIRED = "licence_required"
    DOWNLOAD_FAILED = "download_failed"
    DISK_FULL = "disk_full"
    CONTEXT_TOO_LONG = "context_too_long"
    ENGINE_FAILED = "engine_failed"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    ENGINE_LOADING = "engine_loading"
    ENGINE_BUSY = "engine_busy"
    NODE_RESTARTED = "node_restarted"
    PARENT_UNFINISHED = "parent_unfinished"
    DATABASE_UNAVAILABLE = "database_unavailable"
    INTERNAL = "internal"


class Explanation(NamedTuple):
    """The HTTP status of a code, what is wrong, and what to do about it."""

    status: int
    title: str
    advice: str


EXPLANATIONS: dict[Code, Explanation] = {
    Code.BAD_REQUEST: Explanation(400, "The request can't be read.", "Check it against /openapi.json."),
    Code.BODY_TOO_LARGE: Explanation(413, "The request is too large.", "Send it in smaller parts."),
    Code.UNSUPPORTED_MEDIA_TYPE: Explanation(
        415, "This content type is not spoken here.", "Send application/json or application/msgpack."
    ),
    Code.NOT_FOUND: Explanation(404, "There is nothing at this address.", "Check the address."),
    Code.METHOD_NOT_ALLOWED: Explanation(405, "This address does not take that method.", "Check the method."),
    Code.FORBIDDEN_ORIGIN: Explanation(
        403, "This page or host name may not call this address.", "Open Domovoi at its own address."
    ),
    Code.TOO_MANY_TRIES: Explanation(429, "Too many tries.", "Wait for the time in Retry-After, then try again."),
    Code.TOO_BUSY: Explanation(503, "Too many connections are open here.", "Try again in a moment."),
    Code.SETUP_CODE_WRONG: Explanation(
        403, "That is not the setup code.", "It is in the server's log and in the file setup-code. It works once."
    ),
    Code.INVITATION_WRONG: Explanation(
        403, "That invitation is wrong, used or too old.", "Ask for a new one: domovoi users invite."
    ),
    Code.PASSWORD_TOO_SHORT: Explanation(
        422, "The password is shorter than 8 characters.", "Three plain words do well."
    ),
    Code.PASSWORD_TOO_LONG: Explanation(422, "The password is longer than 1024 characters.", "Take a shorter one."),
    Code.PASSWORD_TOO_COMMON: Explanation(422, "Too easy to guess.", "Three plain words do well."),
    Code.USERNAME_INVALID: Explanation(
        422, "That name can't be used.", "Take 1 to 64 characters without control characters or spaces at the ends."
    ),
    Code.USERNAME_TAKEN: Explanation(409, "That name is taken.", "Take another one."),
    Code.LOGIN_WRONG: Explanation(401, "Name or password is wrong.", "Check both and try again."),
    Code.LOGIN_ENDED: Explanation(401, "This login has ended.", "Log in again. Nothing on this device is lost."),
    Code.TOKEN_MISSING: Explanation(401, "This address asks for a token.", "Log in first."),
    Code.TOKEN_INVALID: Explanation(401, "The token is not valid here.", "Log in again."),
    Code.TOKEN_EXPIRED: Explanation(401, "The token has run out.", "Renew it, then try again."),
    Code.DEVICE_REVOKED: Explanation(401, "This device was disconnected.", "Log in again to connect it anew."),
    Code.NODE_UNKNOWN: Explanation(404, "No such PC is paired with this account.", "Pair it first."),
    Code.MANAGER_ONLY: Explanation(
        403, "Only who manages this PC may do that.", "Ask the person who set it up: they can do it in their app."
    ),
    Code.CANNOT_OPEN: Explanation(
        400, "This call can't be opened here.", "Seal it anew, with the key that GET /v1/keys tells."
    ),
    Code.STALE_EPOCH: Explanation(409, "The call was sealed too long ago.", "Seal it anew, in the epoch told here."),
    Code.TRANSPORT_GONE: Explanation(410, "This way of the tunnel is no more.", "Begin another one."),
    Code.OWNER_ONLY: Explanation(
        403, "Only the owner of this server may do that.", "Ask the person who made the first account."
    ),
    Code.PAIRING_CODE_WRONG: Explanation(
        403, "That is not a pairing code of this server.", "Check it against the app, and the server's address too."
    ),
    Code.PAIRING_CODE_EXPIRED: Explanation(
        410, "This pairing code is too old: it is good for ten minutes.", "Take a new one in the app: House, Add a PC."
    ),
    Code.PAIRING_CODE_SPENT: Explanation(
        403, "This pairing code was tried too often.", "Take a new one in the app: House, Add a PC."
    ),
    Code.PAIRING_CODE_USED: Explanation(
        409, "This pairing code has been used: it works once.", "Take a new one in the app: House, Add a PC."
    ),
    Code.PAIRING_PROOF_WRONG: Explanation(
        403,
        "The PC's proof does not fit what the server has seen.",
        "Something in between may have changed it: check the server's address, then take a new code.",
    ),
    Code.PAIRING_CHECK_WRONG: Explanation(
        409, "No PC with these six digits waits any more.", "Take a new code and compare again."
    ),
    Code.NODE_UNREACHABLE: Explanation(
        503, "The PC does not answer.", "Wake it or start Domovoi on it. What was asked stays queued."
    ),
    Code.SEQUENCE_GAP: Explanation(409, "Changes are missing before these.", "Send again from last_dseq + 1."),
    Code.DEVICE_FORKED: Explanation(
        409, "This device's history differs from the server's.", "Take a new device id and send the outbox again."
    ),
    Code.CLOCK_AHEAD: Explanation(
        409, "The change is from the future.", "Take the server's time into account, stamp again and retry."
    ),
    Code.EPOCH_CHANGED: Explanation(410, "The server was restored from a backup.", "Pull from the beginning."),
    Code.HISTORY_TRIMMED: Explanation(410, "This device stayed away too long.", "Pull from the beginning."),
    Code.QUOTA_EXCEEDED: Explanation(507, "The account's space is full.", "Delete something, or raise the quota."),
    Code.LEASE_LOST: Explanation(409, "Another node has this request.", "Leave it to that node."),
    Code.BLOB_OFFSET: Explanation(409, "The file goes on elsewhere.", "Send on from `received`."),
    Code.BLOB_DAMAGED: Explanation(422, "The file that came is another one.", "Send it again from the beginning."),
    Code.ANSWER_UNKNOWN: Explanation(404, "This node has no such answer running.", "Read it from the log."),
    Code.EVENTS_GONE: Explanation(410, "These events are no longer kept.", "Read the answer from the log."),
    Code.MODEL_MISSING: Explanation(404, "The model is not on this node.", "Choose another or: domovoi models pull."),
    Code.MODEL_DAMAGED: Explanation(
        422, "The model file is damaged or cut short.", "Remove it and pull it again: domovoi models pull."
    ),
    Code.UNSUPPORTED: Explanation(
        422, "This model, or the engine that runs it, can't do that.", "Choose another model."
    ),
    Code.OUT_OF_MEMORY: Explanation(
        503, "The memory does not suffice for this model.", "Close other programs or choose a smaller model."
    ),
    Code.MODEL_UNKNOWN: Explanation(
        404, "The catalogue has no such model.", "See what it has: domovoi models list. Others are pulled by address."
    ),
    Code.MODEL_BUSY: Explanation(
        409, "The model can't be changed just now.", "Wait until it is neither fetched nor in memory."
    ),
    Code.LOCAL_NETWORK_FIXED: Explanation(
        409,
        "A setting of that PC says whether it answers on the home network.",
        "Remove local_network from its domovoi.toml, or DOMOVOI_LOCAL_NETWORK, then choose here.",
    ),
    Code.MODEL_FIXED: Explanation(
        409,
        "A setting fixes the default model.",
        "Take `model` out of domovoi.toml, or DOMOVOI_MODEL out of the environment.",
    ),
    Code.LICENCE_REQUIRED: Explanation(
        409, "This model comes under a licence of its own.", "Read the licence and accept it, then pull again."
    ),
    Code.DOWNLOAD_FAILED: Explanation(
        502, "The file could not be fetched.", "Check the network and pull again; what came is kept."
    ),
    Code.DISK_FULL: Explanation(
        507, "The disk has no room for it.", "Make room there, then pull again; what came is kept."
    ),
    Code.CONTEXT_TOO_LONG: Explanation(
        422, "The last message alone is too long for this model.", "Shorten it or choose a model with more context."
    ),
    Code.ENGINE_FAILED: Explanation(500, "The engine stopped answering.", "Ask again; what came is kept."),
    Code.ENGINE_UNAVAILABLE: Explanation(
        503, "No engine can run on this node.", "Run domovoi doctor on the PC; it says what is missing."
    ),
    Code.ENGINE_LOADING: Explanation(503, "The model is being loaded.", "Wait a moment; what was asked is answered."),
    Code.ENGINE_BUSY: Explanation(503, "The node's queue is full.", "Try again in a moment."),
    Code.NODE_RESTARTED: Explanation(503, "The PC restarted in mid-answer.", "Ask again; what came is kept."),
    Code.PARENT_UNFINISHED: Explanation(
        409, "The answer before this one did not finish.", "Retry that one first, then this."
    ),
    Code.DATABASE_UNAVAILABLE: Explanation(
        503, "The server can't reach its database.", "Start the database or check DOMOVOI_DATABASE_URL."
    ),
    Code.INTERNAL: Explanation(
        500, "Something went wrong inside Domovoi.", "Try again. The log names the cause under this error's id."
    ),
}


class StartupError(Exception):
    """A part can't start. The message is one or two sentences: what is wrong and what to do."""


class Problem(Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details, with our `code`.

    `last_dseq` comes with sequence_gap and device_forked; `acked_dseq` when a push's first new change is refused;
    `received`, in bytes, with blob_offset.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str | None = None
    last_dseq: int | None = None
    acked_dseq: int | None = None
    epoch: int | None = None
    server_ms: int | None = None
    received: int | None = None


class DomovoiError(Exception):
    """Raised anywhere in a part and turned into a problem at its door.

    `detail` replaces the code's advice; `extra` fills the optional members of `Problem`.
    """

    def __init__(self, code: Code, detail: str | None = None, **extra: int | str) -> None:
        self.code = code
        self.detail = detail or EXPLANATIONS[code].advice
        self.extra = extra
        super().__init__(f"{code}: {self.detail}")

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return EXPLANATIONS[self.code].status

    def problem(self) -> Problem:
        """Return the problem document."""
        explanation = EXPLANATIONS[self.code]
        return Problem(
            type=f"urn:domovoi:problem:{self.code}",
            title=explanation.title,
            status=explanation.status,
            code=self.code,
            detail=self.detail,
            **self.extra,  # type: ignore[arg-type]  # names are checked by Struct itself
        )
