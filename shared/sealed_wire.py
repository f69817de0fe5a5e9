"""What a sealed call carries, and what its maker must know of the node (rules H)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.limits import MAX_ANSWER_BODY_BYTES, MAX_HEAD_BYTES, MAX_SEALED_PATH_CHARACTERS, MAX_SEQUENCE, SECRET_BYTES

Method = Literal["GET", "POST", "PATCH", "DELETE"]
# What a call's body is, and what its answer shall be.
MediaType = Literal["application/msgpack", "application/json"]
Secret = Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
CallEpoch = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]


class SealingKeys(Struct, frozen=True):
    """GET /v1/keys of the remote application: the key to seal with, as the node's own key has signed it (rule H3).

    `node_key` is that one in base64url, which the node's id certifies; `epoch` the one in which calls are taken now.
    """

    node_key: str
    signed: str
    epoch: CallEpoch


class SealedCall(Struct, frozen=True):
    """Inside POST /v1/sealed: one call of the node's API (rule H1). `path` has the query too."""

    method: Method
    path: Annotated[str, Meta(pattern=r"^/[\x21-\x7e]*\Z", max_length=MAX_SEALED_PATH_CHARACTERS)]
    reply_secret: Secret
    node_epoch: CallEpoch
    token: Annotated[str, Meta(max_length=MAX_HEAD_BYTES)] = ""
    body: Annotated[bytes, Meta(max_length=MAX_ANSWER_BODY_BYTES)] = b""
    media_type: MediaType = "application/msgpack"
    last_event: Annotated[str, Meta(pattern=r"^[\x21-\x7e]*\Z", max_length=100)] = ""


class SealedReply(Struct, frozen=True):
    """The first chunk of a reply: all of it, or the head of an event stream whose bytes follow (rule H5)."""

    status: Annotated[int, Meta(ge=200, le=599)]
    content_type: str = ""
    body: bytes = b""
