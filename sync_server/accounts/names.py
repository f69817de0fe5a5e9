"""Names that people give: to themselves and to their devices."""

from __future__ import annotations

import unicodedata

from shared.errors import Code, DomovoiError
from shared.limits import MAX_DEVICE_NAME_CHARACTERS, MAX_USERNAME_CHARACTERS, MIN_USERNAME_CHARACTERS

# Control, format (bidi and zero-width), surrogates, line and paragraph separators.
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def checked_username(text: str) -> str:
    """Return the name in NFC. Raises DomovoiError username_invalid."""
    name = unicodedata.normalize("NFC", text)
    fits = MIN_USERNAME_CHARACTERS <= len(name) <= MAX_USERNAME_CHARACTERS
    if not fits or name != name.strip() or _has_invisible(name):
        raise DomovoiError(Code.USERNAME_INVALID)
    return name


def folded(username: str) -> bytes:
    """Return the form in which usernames are unique: NFC and case-folded, in UTF-8."""
    caseless = unicodedata.normalize("NFC", username).casefold()
    return unicodedata.normalize("NFC", caseless).encode("utf-8", "surrogatepass")


def checked_device_name(text: str) -> str:
    """Return the name in NFC without spaces at its ends. Raises DomovoiError bad_request."""
    name = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(name) <= MAX_DEVICE_NAME_CHARACTERS or _has_invisible(name):
        raise DomovoiError(
            Code.BAD_REQUEST, f"A device's name has 1 to {MAX_DEVICE_NAME_CHARACTERS} visible characters."
        )
    return name


def _has_invisible(text: str) -> bool:
    return any(unicodedata.category(character) in _INVISIBLE for character in text)
