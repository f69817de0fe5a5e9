"""Lighthouse on a phone, as its makers simulate one: the login page, and a conversation with an answer in it.

The targets stand beside the scores in the place of a peer. npm fetches Lighthouse when this runs: it is larger than
all that the app is built with, so nobody else has to install it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from inference_node.models import ModelStore
from tests.benchmarks.records import Record, report
from tests.end_to_end.browser import Profile, chromium_path
from tests.end_to_end.household import Household, free_port
from tests.model import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Playwright

# The last one that runs on Node 20.
LIGHTHOUSE = ("npx", "--yes", "lighthouse@12.8.2")
RUNS = 3
TARGETS = {"performance": 95, "accessibility": 100, "best-practices": 95}
WITHIN_S = 180


def main() -> None:
    """Print and write the figures."""
    model = asyncio.run(ModelStore(CACHE).ensure_default())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report("lighthouse", list(_measure(playwright, Path(folder), model)))


def _measure(playwright: Playwright, folder: Path, model: Path) -> Iterator[Record]:
    house = Household(folder / "data")
    house.add_model(model)
    house.start("server")
    house.start("node")
    port = free_port()
    vera = Profile(playwright, folder / "vera", house.url, arguments=[f"--remote-debugging-port={port}"])
    try:
        vera.goto("/login")
        yield from _records("/login, first visit", house.url + "/login", port)
        vera.make_first_account(house.setup_code)
        vera.write("Hello")
        vera.expect_answer()
        yield from _records("a conversation, logged in", vera.page.url, port, "--disable-storage-reset")
    finally:
        vera.close()
        house.stop_all()


def _records(what: str, url: str, port: int, *flags: str) -> Iterator[Record]:
    scores = [_scores(url, port, *flags) for _ in range(RUNS)]
    for category, target in TARGETS.items():
        value = sorted(run[category] for run in scores)[RUNS // 2]
        name = f"lighthouse_{category.replace('-', '_')}"
        yield Record(name, f"{what}, mobile", value, "points", RUNS, "target", target, value / target)


def _scores(url: str, port: int, *flags: str) -> dict[str, float]:
    """Run Lighthouse in the browser that listens on `port` and return each category's score of 100."""
    categories = ",".join(TARGETS)
    command = (*LIGHTHOUSE, url, f"--port={port}", f"--only-categories={categories}", "--output=json")
    done = subprocess.run(
        (*command, "--output-path=stdout", "--quiet", *flags),
        env=os.environ | {"CHROME_PATH": chromium_path() or ""},
        stdout=subprocess.PIPE,
        timeout=WITHIN_S,
        check=True,
    )
    return {name: 100 * category["score"] for name, category in json.loads(done.stdout)["categories"].items()}


if __name__ == "__main__":
    main()
