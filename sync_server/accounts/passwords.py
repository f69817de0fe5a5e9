"""Passwords: which are good enough, and their Argon2id hashes in a bounded pool of threads."""

from __future__ import annotations

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.errors import Code, DomovoiError
from shared.limits import MAX_PASSWORD_CHARACTERS, MIN_PASSWORD_CHARACTERS

# RFC 9106, section 4, second recommendation: 64 MiB, three passes, four lanes.
MEMORY_KIB = 64 * 1024
PASSES = 3
LANES = 4
# So that a crowd of logins takes at most 128 MiB and two cores.
THREADS = 2
MIN_DIFFERENT_CHARACTERS = 4
MIN_TELLING_USERNAME = 3

# The most used passwords of eight characters and more in published leaks.
COMMON = frozenset(
    """
    00000000 0123456789 1029384756 11111111 111111111 1111111111 11223344 1122334455 12121212 123123123 12312312
    1234512345 12341234 12344321 123456123456 12345678 123456789 1234567890 12345678910 123456789a 123456789q 1234567a
    12345qwert 1234qwer 123654789 123qweasd 13131313 147258369 147852369 159357456 1q2w3e4r 1q2w3e4r5t 1q2w3e4r5t6y
    1qaz2wsx 1qaz2wsx3edc 1qazxsw2 22222222 55555555 66666666 77777777 789456123 87654321 88888888 963852741
    987654321 9876543210 99999999 a1234567 a12345678 a123456789 aa123456 abcd1234 abc12345 administrator admin123
    admin1234 alexander asdf1234 asdfasdf asdfghjk asdfghjkl azertyuiop babygirl baseball basketball blink182
    butterfly changeme charlie1 chocolate computer corvette danielle dolphins domovoi1 domovoi123 dragon123 elephant
    estrella fireball football football1 freedom1 garfield goodluck hello123 iloveyou iloveyou1 infinity internet
    jennifer jonathan jordan23 letmein1 letmein123 liverpool lovelove manchester marlboro master123 maverick mercedes
    michael1 michelle midnight mustang1 myspace1 naruto123 nicholas p@ssw0rd p@ssword pass1234 passport passw0rd
    password password! password1 password1! password12 password123 password1234 patricia pokemon1 princess princess1
    q1w2e3r4 q1w2e3r4t5 qazwsxedc qwer1234 qwerasdf qwerqwer qwert123 qwert12345 qwerty12 qwerty123 qwerty1234
    qwerty12345 qwertyui qwertyuiop qwertyuiop123 samantha samsung1 scorpion secret123 slipknot snowball spiderman
    starwars steelers stephanie sunshine sunshine1 superman superman1 swordfish target123 tinkerbell trustno1 twilight
    undertaker veronica victoria welcome1 welcome123 whatever william1 zaq12wsx zaq1zaq1 zxcvbnm1 zxcvbnm123
    пароль123 йцукенгш йцукенгшщз любовь123 1234йцук
    """.split()  # noqa: RUF001, SIM905  # Russian ones are Russian; a list of this length is easier to read as text
)


def check_strength(password: str, username: str) -> None:
    """Raise DomovoiError password_too_short, password_too_long or password_too_common."""
    password = _normal(password)
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise DomovoiError(Code.PASSWORD_TOO_SHORT)
    if len(password) > MAX_PASSWORD_CHARACTERS:
        raise DomovoiError(Code.PASSWORD_TOO_LONG)
    caseless, name = password.casefold(), _normal(username).casefold()
    if caseless in COMMON or len(set(caseless)) < MIN_DIFFERENT_CHARACTERS:
        raise DomovoiError(Code.PASSWORD_TOO_COMMON)
    if len(name) >= MIN_TELLING_USERNAME and name in caseless:
        raise DomovoiError(Code.PASSWORD_TOO_COMMON, "It contains the name. Three plain words do well.")


class Passwords:
    """Hashes and verifies; every call takes the same memory and time, about 0.1 s."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="password")

    async def hash(self, password: str) -> str:
        """Return the hash to store. Hashing for nothing makes an unknown user cost what a known one does."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, _normal(password))

    async def verify(self, password_hash: str, password: str) -> bool:
        """Say whether it is the password."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._verify, password_hash, _normal(password)
        )

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _normal(password: str) -> str:
    # RFC 8265: keyboards differ in how they compose the same letter.
    return unicodedata.normalize("NFC", password)
