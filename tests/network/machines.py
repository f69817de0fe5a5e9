"""Machines of the town with Domovoi on them: real processes at the ports that people have, and real browsers."""

from __future__ import annotations

import hashlib
import shlex
import sqlite3
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from shared.change import EntityType, MessageField
from tests.end_to_end.browser import Profile, chromium_path
from tests.end_to_end.household import Household
from tests.end_to_end.node_log import runs_started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext

    from tests.network.namespaces import Namespace
    from tests.network.town import Town

# Puts the clock of a page ahead by so many days.
LATER = """(() => {
    const Today = Date
    const now = () => Today.now() + %d * 86_400_000
    globalThis.Date = class extends Today {
        constructor(...parts) {
            if (parts.length === 0) super(now())
            else super(...parts)
        }
        static now() {
            return now()
        }
    }
})()"""


@dataclass(kw_only=True)
class Machine(Household):
    """A household of one part, on a network of its own and with the town's names and time."""

    network: Namespace
    town: Town
    port: int = 8460
    node_port: int = 8461

    def command(self, *words: str) -> list[str]:
        later = [sys.executable, "-m", "tests.network.later", str(self.town.days), *words]
        return [*self.network.command(self.town.hosts), *later]

    def answers(self, part: str, url: str) -> bool:
        with self.network.inside():
            return super().answers(part, url)

    def runs_started(self) -> int:
        """Return how many generations this node process has begun."""
        with self.network.inside():
            return runs_started(self)

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Hold everything that the node is, as a PC that sleeps."""
        node = psutil.Process(self.processes["node"].pid)
        processes = [node, *node.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def bodies(self) -> dict[str, str]:
        """Return the SHA-256 of every body in this node's log, by message id."""
        with sqlite3.connect(self.data / "node" / "node.db") as database:
            query = "SELECT eid, value FROM cell WHERE etype = ? AND field = ?"
            rows = database.execute(query, (EntityType.MESSAGE, MessageField.BODY)).fetchall()
        return {eid.hex(): hashlib.sha256(value).hexdigest() for eid, value in rows}


@dataclass(kw_only=True)
class Browser(Profile):
    """Chromium on a machine of the town."""

    network: Namespace
    town: Town

    def _open(self) -> BrowserContext:
        self.executable = self._program()
        context = super()._open()
        context.add_init_script(LATER % self.town.days)
        return context

    def _program(self) -> Path:
        """Write a program that is Chromium on that network."""
        chromium = chromium_path()
        assert chromium is not None
        path = self.folder.with_suffix(".sh")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec {shlex.join(self.network.command(self.town.hosts))} {chromium} "$@"\n')
        path.chmod(0o755)
        return path
