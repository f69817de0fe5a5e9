from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.identifiers import from_hex, to_uuid, uuid7, uuid7_ms


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_uuid7_is_one_by_the_standard_librarys_reading(now_ms: int, randomness: bytes) -> None:
    identifier = uuid7(now_ms, randomness)
    uuid = to_uuid(identifier)
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid7_ms(identifier) == now_ms


@pytest.mark.parametrize("text", ["", "aa", "AA" * 16, "zz" * 16, "aa" * 17, " " + "aa" * 15 + "a", "٣" * 32])
def test_hex_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="hex"):
        from_hex(text)
