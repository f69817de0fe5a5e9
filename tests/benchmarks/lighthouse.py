"""Lighthouse on a phone, as its makers simulate one: the login page, and a conversation with an answer in it.

The targets stand beside the scores in the place of a peer. npm fetches Lighthouse when this runs: it is larger than
all that the app is built with, so nobody else has to install it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from playwright.sync_api import sync_playwright

from inference_node.models.models import ModelStore
from tests.benchmarks.records import Record, report
from tests.end_to_end.browser import QUIET, Profile, chromium_path
from tests.end_to_end.household import Household, free_port, wait_until
from tests.model import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator

# The last one that runs on Node 20.
LIGHTHOUSE = ("npx", "--yes", "lighthouse@12.8.2")
RUNS = 3
TARGETS = {"performance": 95, "accessibility": 100, "best-practices": 95}
WITHIN_S = 300


def main() -> None:
    """Print and write the figures."""
    model = asyncio.run(ModelStore(CACHE).ensure_default())
    with tempfile.TemporaryDirectory() as folder:
        house = Household(Path(folder) / "data")
        house.add_model(model)
        house.start("server")
        try:
            report("lighthouse", list(_measure(house, Path(folder))))
        finally:
            house.stop_all()


def _measure(house: Household, folder: Path) -> Iterator[Record]:
    yield from _records("/login, first visit", house.url + "/login", folder / "stranger")
    profile = folder / "vera"
    # Only now: loading its model would take the processor from the browser.
    house.start("node")
    with sync_playwright() as playwright:
        vera = Profile(playwright, profile, house.url)
        vera.make_first_account(house.setup_code)
        vera.write("Hello")
        vera.expect_answer()
        address = vera.page.url
        vera.close()
    yield from _records("a conversation, logged in", address, profile, "--disable-storage-reset")


def _records(what: str, url: str, profile: Path, *flags: str) -> Iterator[Record]:
    with _browser(profile) as port:
        scores = [_scores(url, port, *flags) for _ in range(RUNS)]
    for category, target in TARGETS.items():
        value = sorted(run[category] for run in scores)[RUNS // 2]
        name = f"lighthouse_{category.replace('-', '_')}"
        yield Record(name, f"{what}, mobile", value, "points", RUNS, "target", target, value / target)


@contextmanager
def _browser(profile: Path) -> Iterator[int]:
    """Start a browser for Lighthouse alone and yield its port: one that Playwright holds answers nobody else."""
    port = free_port()
    executable = chromium_path()
    assert executable is not None, "Lighthouse needs Chromium"
    flags = [*QUIET, "--headless=new", f"--remote-debugging-port={port}", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen([executable, *flags], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: _listens(port), "the start of the browser")
        yield port
    finally:
        # The script that Debian calls chromium, and all that it has started.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _listens(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/json/version", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _scores(url: str, port: int, *flags: str) -> dict[str, float]:
    """Run Lighthouse in the browser that listens on `port` and return each category's score of 100."""
    categories = ",".join(TARGETS)
    command = (*LIGHTHOUSE, url, f"--port={port}", f"--only-categories={categories}", "--output=json")
    done = subprocess.run(
        (*command, "--output-path=stdout", "--quiet", *flags), stdout=subprocess.PIPE, timeout=WITHIN_S, check=True
    )
    return {name: 100 * category["score"] for name, category in json.loads(done.stdout)["categories"].items()}


if __name__ == "__main__":
    main()
