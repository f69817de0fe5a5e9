"""Real browser profiles on disk: a private context would keep IndexedDB in memory and prove nothing about it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import BrowserContext, Page, Playwright, expect

if TYPE_CHECKING:
    from collections.abc import Sequence

SCREENSHOTS = Path(__file__).parent / "screenshots"
ANSWER_WITHIN_MS = 60_000

# Without these, Chromium looks for its makers' hosts at every start.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str | None:
    """Return the installed Chromium, if there is one."""
    return next((path for name in EXECUTABLES if (path := shutil.which(name))), None)


@dataclass
class Profile:
    """One person's browser: closed and opened again, it keeps what a browser keeps."""

    playwright: Playwright
    folder: Path
    url: str
    size: tuple[int, int] = (1440, 900)
    locale: str = "en-GB"
    dark: bool = False
    arguments: Sequence[str] = ()
    problems: list[str] = field(default_factory=list)
    _context: BrowserContext | None = None

    @property
    def page(self) -> Page:
        """The profile's one page, opening the browser if it is closed."""
        if self._context is None:
            self._context = self._open()
        return self._context.pages[0]

    @property
    def context(self) -> BrowserContext:
        assert self._context is not None, "the browser is closed"
        return self._context

    def close(self) -> None:
        """Close the browser as a person does."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def _open(self) -> BrowserContext:
        executable = chromium_path()
        assert executable is not None
        width, height = self.size
        context = self.playwright.chromium.launch_persistent_context(
            self.folder,
            executable_path=executable,
            headless=True,
            args=[*QUIET, *self.arguments],
            viewport={"width": width, "height": height},
            locale=self.locale,
            color_scheme="dark" if self.dark else "light",
            ignore_https_errors=True,
        )
        page = context.pages[0] if context.pages else context.new_page()
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("console", self._note_console)
        return context

    def _note_console(self, message: object) -> None:
        text = str(getattr(message, "text", ""))
        # A killed server is reported as a failed load; everything else in red is a fault of ours.
        if getattr(message, "type", "") == "error" and not re.search(r"net::ERR_|status of (401|409|410|503)", text):
            self.problems.append(text)

    # What a person does.

    def goto(self, path: str = "/") -> None:
        self.page.goto(self.url + path)

    def screenshot(self, name: str) -> None:
        """Keep a picture for people to look at; out of git."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def write(self, text: str) -> None:
        """Type a message and send it."""
        composer = self.composer
        composer.fill(text)
        composer.press("Enter")
        expect(self.questions.filter(has_text=text).last).to_be_visible()

    @property
    def composer(self):  # type: ignore[no-untyped-def]  # Locator; Playwright's own name says it all
        return self.page.locator("textarea").last

    @property
    def questions(self):  # type: ignore[no-untyped-def]
        return self.page.locator("article[data-role=user]")

    @property
    def answers(self):  # type: ignore[no-untyped-def]
        return self.page.locator("article[data-role=assistant]")

    def wait_for_answer(self, number: int = -1, state: str = "done") -> str:
        """Wait until the answer is in `state` and return its text."""
        answer = self.answers.nth(number)
        expect(answer).to_have_attribute("data-state", state, timeout=ANSWER_WITHIN_MS)
        return answer.locator("[data-part=body]").inner_text()
