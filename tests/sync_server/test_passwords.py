from __future__ import annotations

import asyncio
import subprocess
import sys

from sync_server.accounts import passwords
from sync_server.accounts.passwords import Passwords


def test_hashes_cost_what_rfc_9106_recommends() -> None:
    """In a process of its own, where `cheap_passwords` does not reach."""
    script = (
        "import asyncio, sync_server.accounts.passwords as p\n"
        "made = p.Passwords()\n"
        "print(asyncio.run(made.hash('three plain words')))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_a_password_matches_in_any_composition() -> None:
    made = Passwords()
    stored = await made.hash("José's long password")
    assert await made.verify(stored, "Jose\u0301's long password")
    assert not await made.verify(stored, "Jose's long password")
    assert not await made.verify("damaged", "José's long password")
    made.close()


async def test_a_crowd_waits_for_few_threads() -> None:
    made = Passwords()
    hashes = await asyncio.gather(*(made.hash("three plain words") for _ in range(4 * passwords.THREADS)))
    assert len(set(hashes)) == 4 * passwords.THREADS, "each has its own salt"
    made.close()
