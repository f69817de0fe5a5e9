"""Bodies of /v1/keys: keys for other programs, asked of a node."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from shared.limits import MAX_KEY_NAME_CHARACTERS

KeyName = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_NAME_CHARACTERS)]


class ApiKey(Struct, frozen=True):
    """A key that opens the node's OpenAI-compatible API to a program. Times are in milliseconds since 1970.

    `prefix` is how its secret begins; `last_used_ms` is to the minute, None for a key that never was.
    """

    key_id: str
    name: str
    prefix: str
    created_ms: int
    last_used_ms: int | None = None


class ApiKeys(Struct, frozen=True):
    """GET /v1/keys: those that the account has made, oldest first."""

    keys: list[ApiKey]


class ApiKeyName(Struct, frozen=True):
    """POST /v1/keys, PATCH /v1/keys/{id}: what people call the key."""

    name: KeyName


class NewApiKey(Struct, frozen=True):
    """Answer to POST /v1/keys. The secret is shown this once."""

    key: ApiKey
    secret: str
