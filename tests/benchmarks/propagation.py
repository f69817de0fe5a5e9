"""From a message sent in one browser to its words on the screen of a second one: both real, same machine.

Two on-disk profiles, one server over SQLite, the change committed before the second browser hears of it. The peer
figures (Yjs 13 + Hocuspocus 4.7, in memory) come from another harness and no screen: its page is told, ours has drawn.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from inference_node.models import ModelStore
from tests.benchmarks.records import Record, report
from tests.end_to_end.browser import Profile
from tests.end_to_end.household import Household
from tests.model import CACHE

MESSAGES = 60
WORKLOAD = f"{MESSAGES} messages sent by hand speed, SQLite, Chromium, no node: composer to drawn text"

PEER = "Yjs 13 + Hocuspocus 4.7 (measured earlier)"

WATCH = """() => {
  window.seen = new Map()
  const note = () => {
    for (const article of document.querySelectorAll('article[data-role=user]')) {
      const key = article.textContent.match(/message-\\d+/)?.[0]
      if (key && !window.seen.has(key)) window.seen.set(key, performance.timeOrigin + performance.now())
    }
  }
  new MutationObserver(note).observe(document.body, { childList: true, subtree: true, characterData: true })
}"""

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


def main() -> None:
    """Measure and print."""
    model = asyncio.run(ModelStore(CACHE).ensure_default())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        house = Household(Path(folder) / "data")
        house.add_model(model)
        house.start("server")
        # The node introduces itself and goes: requests need a node to name, and nothing shall answer them.
        house.start("node")
        writer = Profile(playwright, Path(folder) / "writer", house.url)
        reader = Profile(playwright, Path(folder) / "reader", house.url)
        try:
            delays = _measure(house, writer, reader)
        finally:
            writer.close()
            reader.close()
            house.stop_all()
    percentile = statistics.quantiles(delays, n=100)
    figures = [("written_to_seen_p50", percentile[49], 4.6), ("written_to_seen_p99", percentile[98], 11.7)]
    report(
        "propagation",
        [Record(name, WORKLOAD, value, "ms", len(delays), PEER, peer, value / peer) for name, value, peer in figures],
    )


def _measure(house: Household, writer: Profile, reader: Profile) -> list[float]:
    writer.make_first_account(house.setup_code)
    writer.write("message-0 warms everything up")
    writer.expect_answer()
    reader.log_in()
    reader.open_conversation("message-0")
    house.kill("node")
    reader.page.evaluate(WATCH)
    delays = []
    for number in range(1, MESSAGES + 1):
        key = f"message-{number}"
        sent = writer.page.evaluate(SEND, f"{key} of a person to another")
        reader.page.wait_for_function("(key) => window.seen.has(key)", arg=key)
        delays.append(reader.page.evaluate("(key) => window.seen.get(key)", key) - sent)
    return delays


if __name__ == "__main__":
    main()
