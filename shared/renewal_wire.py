"""Bodies of /v1/renewal: a token for a node, renewed at the node itself while the server is away (rule K11)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from shared.device_keys import SIGNATURE_BYTES, DeviceKey
from shared.limits import CHALLENGE_BYTES, MAX_TOKEN_BYTES

Challenge = Annotated[bytes, Meta(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)]
Signature = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class RenewalChallenge(Struct, frozen=True):
    """POST /v1/renewal/challenge: what the browser signs next, within a minute and once."""

    challenge: Challenge


class Renewal(Struct, frozen=True):
    """POST /v1/renewal → `AccessToken`: the server's last token for this node, and proof of the key that it names."""

    token: Annotated[str, Meta(max_length=MAX_TOKEN_BYTES)]
    key: DeviceKey
    challenge: Challenge
    signature: Signature
