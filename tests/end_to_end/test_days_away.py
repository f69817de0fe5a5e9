"""Days without the server: a token that has run out is renewed at the PC by the browser's own key (K11)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.jws import from_base64url

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

# Reads what is kept of tokens, and puts something else in its place.
TOKENS = """async (replacement) => {
    const [{ name }] = (await indexedDB.databases()).filter(({ name }) => name.startsWith('domovoi'))
    const database = await new Promise((resolve, reject) => {
        const opening = indexedDB.open(name)
        opening.onsuccess = () => resolve(opening.result)
        opening.onerror = () => reject(opening.error)
    })
    const meta = database.transaction('meta', 'readwrite').objectStore('meta')
    const kept = await new Promise((resolve) => {
        const reading = meta.get('nodeTokens')
        reading.onsuccess = () => resolve(reading.result.value)
    })
    if (replacement) {
        const value = Object.fromEntries(Object.entries(kept).map(([id, one]) => [id, { ...one, ...replacement }]))
        meta.put({ key: 'nodeTokens', value })
    }
    database.close()
    return kept
}"""


def issuer(token: str) -> str:
    claims: dict[str, Any] = json.loads(from_base64url(token.split(".")[1]))
    return str(claims["iss"])


def forged(token: str) -> str:
    signed, _, signature = token.rpartition(".")
    return f"{signed}.{'A' * len(signature)}"


def test_K11_K12_the_pc_goes_on_answering(household: Household, open_profile: Callable[..., Profile]) -> None:
    household.start("server", "node")
    profile = open_profile("days")
    profile.make_first_account(household.setup_code)
    profile.write("Say hello.")
    profile.expect_answer()
    # K12: a token that nobody would take is renewed, not tried.
    refused: list[str] = []
    profile.page.on("response", lambda response: refused.append(response.url) if response.status == 401 else None)
    [kept] = profile.page.evaluate(TOKENS, None).values()
    profile.page.evaluate(TOKENS, {"token": forged(kept["token"]), "fromServer": forged(kept["token"])})
    profile.write("Say it again.")
    profile.expect_answer()
    [renewed] = profile.page.evaluate(TOKENS, None).values()
    assert renewed["token"] not in {kept["token"], forged(kept["token"])}
    assert refused == []
    household.kill("server")
    # The day of the token is over.
    [(node_id, kept)] = profile.page.evaluate(TOKENS, {"token": "", "expiresAt": 0}).items()
    assert issuer(kept["token"]) != node_id
    profile.write("Say goodbye.")
    profile.expect_answer()
    [renewed] = profile.page.evaluate(TOKENS, None).values()
    assert issuer(renewed["token"]) == node_id
    assert renewed["fromServer"] == kept["fromServer"]
