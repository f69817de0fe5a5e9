"""What a browser signs, and who may have signed it (rule K11). Most is tested at the node's door."""

from __future__ import annotations

import hashlib

import pytest

from shared.device_keys import DeviceKey, renewal_message, thumbprint, verify
from shared.jws import base64url, from_base64url


def test_K11_the_message_is_that_of_the_app() -> None:
    """As pwa/tests/sync/nodeTokens.test.ts has it."""
    message = renewal_message("ab" * 16, bytes([7]) * 40, "a.b.c")
    assert hashlib.sha256(message).hexdigest() == ("a0aadace6922afead459d79245e7926f61ed443a6bf51919d55a21261e0ea7ae")


def test_K11_thumbprints_are_those_of_the_standards() -> None:
    """RFC 8037 A.3, and RFC 7638 over the public key of RFC 7515 A.3 in the order that RFC 7638 3.2 gives."""
    okp = DeviceKey("OKP", "Ed25519", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert base64url(thumbprint(okp)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    x, y = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    assert thumbprint(DeviceKey("EC", "P-256", x, y)) == hashlib.sha256(canonical.encode()).digest()


def test_K11_the_signature_of_RFC_7515_A3_is_taken_and_no_other() -> None:
    key = DeviceKey(
        *("EC", "P-256"), "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    )
    signed = (
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
        b"Ijp0cnVlfQ"
    )
    signature = from_base64url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
    verify(key, signature, signed)
    for wrong in (signature[:-1], bytes(64), signature[::-1], b"\xff" * 64):
        with pytest.raises(ValueError, match="signature"):
            verify(key, wrong, signed)
    with pytest.raises(ValueError, match="signature"):
        verify(key, signature, signed + b" ")
