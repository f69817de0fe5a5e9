"""`domovoi node pair` as a process of its own, read line by line, and the app's side of it."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.browser import PASSWORD
from tests.end_to_end.household import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

WITHIN_S = 60.0


class PairCommand:
    """The command on one PC, which may still wait for a word."""

    def __init__(self, house: Household, *arguments: str, through: Sequence[str] = (), **environment: str) -> None:
        """Begin it with these arguments, or another program that begins it."""
        command = through or house.command("node", "pair")
        options = () if through else ("--data", str(house.data))
        self._process = subprocess.Popen(
            [*command, *arguments, *options],
            cwd=ROOT,
            env=house.full_environment | {"PYTHONUNBUFFERED": "1"} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def digits(self) -> str:
        """Return the six digits once they are shown."""
        while not (found := re.search(r"^\s*(\d{3} \d{3})\s*$", self.said, re.MULTILINE)):
            self.said += self._lines.get(timeout=WITHIN_S)
        return found[1]

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        code = self._process.wait(WITHIN_S)
        self._reader.join(WITHIN_S)
        while not self._lines.empty():
            self.said += self._lines.get()
        self.said = " ".join(self.said.split())
        assert "Traceback" not in self.said
        return code

    def kill(self) -> None:
        """End it, if it has not ended yet."""
        self._process.kill()
        self._reader.join(WITHIN_S)
        with self._process:
            pass

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


def begin(vera: Profile) -> list[str]:
    """Ask for a code and return the command, word by word."""
    vera.page.get_by_role("button", name="Add a PC").click()
    dialog = vera.page.get_by_role("dialog")
    dialog.get_by_label("Password", exact=True).fill(PASSWORD)
    dialog.get_by_role("button", name="Make a code").click()
    command = dialog.locator("[data-part=command]")
    expect(command).to_contain_text("domovoi node pair")
    expect(dialog.get_by_role("img", name="The command as a QR code")).to_be_visible()
    return command.inner_text().split()
