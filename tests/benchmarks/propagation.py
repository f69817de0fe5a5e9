"""From a message sent in one browser to its words on the screen of a second one: both real, same machine.

Two on-disk profiles, one server over SQLite, the change committed before the second browser hears of it. The peer
figures (Yjs 13 + Hocuspocus 4.7, in memory) come from another harness and no screen: its page is told, ours has drawn.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect, sync_playwright

from inference_node.models.models import ModelStore
from tests.benchmarks.records import Record, report
from tests.end_to_end.browser import Profile
from tests.end_to_end.household import Household
from tests.model import CACHE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Playwright

MESSAGES = 60
EVERY_S = 0.2
DRAWN_WITHIN_MS = 120_000
WORKLOAD = f"{MESSAGES} messages at 5/s in one conversation, SQLite, Chromium, no node"

PEER = "Yjs 13 + Hocuspocus 4.7 (measured earlier)"
PEER_MS = {"p50": 4.6, "p99": 11.7}

# Both browsers note when each message is drawn and when IndexedDB has committed; the writer, when a push was answered.
OBSERVE = """
window.noted = { drawn: new Map(), committed: [], pushed: [] }
const now = () => performance.timeOrigin + performance.now()
const note = () => {
  const last = [...document.querySelectorAll('article[data-role=user] [data-part=body]')].slice(-20)
  for (const { textContent } of last) if (!noted.drawn.has(textContent)) noted.drawn.set(textContent, now())
}
addEventListener('DOMContentLoaded', () =>
  new MutationObserver(note).observe(document, { childList: true, subtree: true, characterData: true }))
const begin = IDBDatabase.prototype.transaction
IDBDatabase.prototype.transaction = function (stores, mode, options) {
  const transaction = begin.call(this, stores, mode, options)
  if (mode === 'readwrite' && [...transaction.objectStoreNames].includes('entity'))
    transaction.addEventListener('complete', () => noted.committed.push(now()))
  return transaction
}
new PerformanceObserver((list) => {
  for (const { name, responseEnd } of list.getEntries())
    if (name.endsWith('/sync/push')) noted.pushed.push(performance.timeOrigin + responseEnd)
}).observe({ type: 'resource', buffered: true })
performance.setResourceTimingBufferSize(100000)
"""

SEND = """(text) => {
  const composer = [...document.querySelectorAll('textarea')].at(-1)
  composer.value = text
  composer.dispatchEvent(new Event('input', { bubbles: true }))
  return new Promise((resolve) => requestAnimationFrame(() => {
    const started = performance.timeOrigin + performance.now()
    composer.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }))
    resolve(started)
  }))
}"""

NOTED = "() => ({ ...noted, drawn: Object.fromEntries(noted.drawn) })"


def main() -> None:
    """Measure and print."""
    model = asyncio.run(ModelStore(CACHE).ensure_default())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        stages = measure(playwright, Path(folder), model)
    records = []
    for stage, delays in stages.items():
        percentile = statistics.quantiles(delays, n=100)
        for name, value in (("p50", percentile[49]), ("p99", percentile[98])):
            peer = (PEER, PEER_MS[name], value / PEER_MS[name]) if stage == "drawn" else (None, None, None)
            records.append(Record(f"{stage}_{name}", WORKLOAD, value, "ms", len(delays), *peer))
    report("propagation", records)


def measure(playwright: Playwright, folder: Path, model: Path, messages: int = MESSAGES) -> dict[str, list[float]]:
    """Return, for each stage, the ms from the key press to it, message by message."""
    house = Household(folder / "data")
    house.add_model(model)
    house.start("server")
    # The node introduces itself and goes: requests need a node to name, and nothing shall answer them.
    house.start("node")
    writer = Profile(playwright, folder / "writer", house.url)
    reader = Profile(playwright, folder / "reader", house.url)
    try:
        for profile in (writer, reader):
            profile.page.add_init_script(OBSERVE)
        writer.make_first_account(house.setup_code)
        expect(writer.page.locator("button.chip")).to_be_visible()
        house.kill("node")
        writer.write("message-0 warms everything up")
        expect(writer.questions.last).to_have_attribute("data-state", "accepted")
        reader.log_in()
        reader.open_conversation("message-0")
        texts = [f"message-{number} of a person to another" for number in range(1, messages + 1)]
        sent = _send(writer, texts)
        reader.page.wait_for_function("(text) => noted.drawn.has(text)", arg=texts[-1], timeout=DRAWN_WITHIN_MS)
        return _stages(texts, sent, writer.page.evaluate(NOTED), reader.page.evaluate(NOTED))
    finally:
        writer.close()
        reader.close()
        house.stop_all()


def _send(writer: Profile, texts: Sequence[str]) -> list[float]:
    sent = []
    due = time.monotonic()
    for text in texts:
        time.sleep(max(0.0, due - time.monotonic()))
        sent.append(writer.page.evaluate(SEND, text))
        due += EVERY_S
    return sent


def _stages(
    texts: Sequence[str], sent: Sequence[float], writer: dict[str, Any], reader: dict[str, Any]
) -> dict[str, list[float]]:
    stages: dict[str, list[float]] = {"own_committed": [], "own_drawn": [], "pushed": [], "applied": [], "drawn": []}
    for text, start in zip(texts, sent, strict=True):
        drawn = reader["drawn"][text]
        stages["own_committed"].append(_first_after(writer["committed"], start) - start)
        stages["own_drawn"].append(writer["drawn"][text] - start)
        stages["pushed"].append(_first_after(writer["pushed"], start) - start)
        stages["applied"].append(max(at for at in reader["committed"] if at <= drawn) - start)
        stages["drawn"].append(drawn - start)
    return stages


def _first_after(moments: Sequence[float], start: float) -> float:
    return min(moment for moment in moments if moment > start)


if __name__ == "__main__":
    main()
