"""What a browser holds of a conversation, read from its IndexedDB as it lies there."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import msgspec

from shared.change import EntityType, MessageField

if TYPE_CHECKING:
    from tests.end_to_end.browser import Profile
    from tests.network.machines import Machine

# Answers the packed cells of each message that has a row of its own, by id.
ENTITIES = """async (etype) => {
    const [{ name }] = (await indexedDB.databases()).filter(({ name }) => name.startsWith('domovoi-'))
    const database = await new Promise((resolve, reject) => {
        const opening = indexedDB.open(name)
        opening.onsuccess = () => resolve(opening.result)
        opening.onerror = () => reject(opening.error)
    })
    const rows = await new Promise((resolve) => {
        const reading = database.transaction('entity').objectStore('entity').getAll()
        reading.onsuccess = () => resolve(reading.result)
    })
    database.close()
    const packed = (bytes) => btoa(String.fromCharCode(...bytes))
    return rows.filter((row) => row.etype === etype).map(({ eid, cells }) => [eid, packed(cells)])
}"""


def bodies(profile: Profile) -> dict[str, str]:
    """Return the SHA-256 of every message's body in this browser, by message id."""
    found: dict[str, str] = {}
    for eid, packed in profile.page.evaluate(ENTITIES, int(EntityType.MESSAGE)):
        cells: list[Any] = msgspec.msgpack.decode(b64decode(packed))
        # A change as a list: clock, entity type, id, field, scope, key id, value.
        for body in (cell[6] for cell in cells if cell[3] == MessageField.BODY):
            found[eid] = hashlib.sha256(body).hexdigest()
    return found


def same_answer(profile: Profile, pc: Machine) -> None:
    """Hold the last answer on the screen against what the PC has written, by hash."""
    answer = profile.answers.last.get_attribute("data-message") or ""
    assert bodies(profile)[answer] == pc.bodies()[answer]


def same_words(profile: Profile, other: Profile) -> None:
    """Hold the last answers on two screens against each other, by hash."""
    shown = [one.answers.last.locator("[data-part=body]").inner_text() for one in (profile, other)]
    assert len({hashlib.sha256(words.encode()).hexdigest() for words in shown}) == 1, shown
