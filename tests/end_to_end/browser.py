"""Real browser profiles on disk: a private context would keep IndexedDB in memory and prove nothing about it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import BrowserContext, Locator, Page, Playwright, expect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.end_to_end.household import Household

SCREENSHOTS = Path(__file__).parent / "screenshots"
ANSWER_WITHIN_MS = 120_000
RECONNECT_WITHIN_MS = 60_000
PASSWORD = "three plain words"
# The small model goes on as long as it may, and these stories wait for the ends of its answers.
SHORT_ANSWER_TOKENS = 12

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
POLICY = "policy: "
REPORT_POLICY = f"""addEventListener('securitypolicyviolation', (event) => {{
    console.error('{POLICY}' + event.effectiveDirective + ' forbids ' + event.blockedURI + ' at ' + event.sourceFile)
}})"""
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
    # A program that runs Chromium in its own manner.
    executable: Path | None = None
    # The person's own setting, in tokens; 0 leaves it to the node.
    longest_answer: int = SHORT_ANSWER_TOKENS
    problems: list[str] = field(default_factory=list)
    # What the Content Security Policy has kept a page from: nothing, ever.
    policy_reports: list[str] = field(default_factory=list)
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
        executable = self.executable or chromium_path()
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
        page.add_init_script(f"localStorage.setItem('domovoi.longestAnswer', '{self.longest_answer}')")
        context.add_init_script(REPORT_POLICY)
        # Of every page, and of the service worker.
        context.on("weberror", lambda error: self.problems.append(f"uncaught: {error.error}"))
        context.on("console", self._note_console)
        context.on("serviceworker", lambda worker: worker.on("console", self._note_console))
        return context

    def _note_console(self, message: object) -> None:
        text = str(getattr(message, "text", ""))
        if text.startswith(POLICY) or "Content Security Policy" in text:
            self.policy_reports.append(text)
        # A killed server is reported as a failed load; everything else in red is a fault of ours.
        if getattr(message, "type", "") == "error" and not re.search(r"net::ERR_|status of (401|409|410|503)", text):
            self.problems.append(text)

    # What a person does.

    def goto(self, path: str = "/") -> None:
        self.page.goto(self.url + path)

    def make_first_account(self, setup_code: str, name: str = "Vera", password: str = PASSWORD) -> None:
        """Follow the link that the terminal shows."""
        self.goto(f"/welcome?setup={setup_code}")
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Make account").click()
        expect(self.composer).to_be_visible()

    def enter(self, house: Household) -> None:
        """Make the first account, or log in where another story has made it."""
        if (house.data / "setup-code").exists():
            self.make_first_account(house.setup_code)
        else:
            self.log_in()
            self.goto("/new")
            expect(self.composer).to_be_visible()

    def log_in(self, name: str = "Vera", password: str = PASSWORD) -> None:
        self.goto("/login")
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page).not_to_have_url(re.compile("/login"))

    def write(self, text: str) -> None:
        """Type a message and send it."""
        self.composer.fill(text)
        self.composer.press("Enter")
        expect(self.questions.filter(has_text=text).last).to_be_visible()

    def open_conversation(self, title: str) -> None:
        self.page.get_by_role("link", name=title).first.click()
        expect(self.composer).to_be_visible()

    def press(self, name: str) -> None:
        """Press the last button of that name: the one nearest to the composer."""
        self.page.get_by_role("button", name=name, exact=True).last.click()

    def edit_question(self, text: str, instead: str) -> None:
        """Edit one of the questions shown and send it again, as a branch beside the first."""
        question = self.questions.filter(has_text=text).first
        question.hover()
        question.get_by_role("button", name="More about this message").click()
        self.page.get_by_role("menuitem", name="Edit").click()
        expect(self.composer).to_have_value(text)
        self.composer.fill(instead)
        self.composer.press("Enter")
        expect(self.questions.filter(has_text=instead)).to_be_visible()

    def choose_in_menu(self, item: str) -> None:
        """Open the menu of the conversation shown and choose."""
        self.page.locator("header.bar button[aria-haspopup=menu]").click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()

    def rename(self, title: str) -> None:
        self.choose_in_menu("Rename")
        self.page.get_by_role("dialog").get_by_role("textbox").fill(title)
        self.page.get_by_role("button", name="Save").click()
        expect(self.page.get_by_role("heading", name=title)).to_be_visible()

    def branch_texts(self) -> list[str]:
        """Return the first question in all its versions, oldest first, by turning its pages."""
        switch = self.questions.first.locator(".branch")
        place = switch.locator("[aria-hidden=true]").filter(has_text="/")
        count = int(place.inner_text().split("/")[1])
        while place.inner_text() != f"1/{count}":
            shown = place.inner_text()
            switch.get_by_role("button", name="Previous version").click()
            expect(place).not_to_have_text(shown)
        texts = []
        for number in range(1, count + 1):
            expect(place).to_have_text(f"{number}/{count}")
            texts.append(self.questions.first.locator("[data-part=body]").inner_text())
            if number < count:
                switch.get_by_role("button", name="Next version").click()
        return texts

    # What a person sees.

    @property
    def composer(self) -> Locator:
        return self.page.locator("textarea").last

    @property
    def questions(self) -> Locator:
        return self.page.locator("article[data-role=user]")

    @property
    def answers(self) -> Locator:
        return self.page.locator("article[data-role=assistant]")

    def expect_answer(self, state: str = "done", number: int = -1) -> Locator:
        """Wait until an answer is in `state` and return its text's place."""
        answer = self.answers.nth(number)
        expect(answer).to_have_attribute("data-state", state, timeout=ANSWER_WITHIN_MS)
        return answer.locator("[data-part=body]")

    def hear_of_a_network(self) -> None:
        """Let the browser say that it has a network again, so that the page tries at once what it tries seldom."""
        self.page.evaluate("window.dispatchEvent(new Event('online'))")

    def expect_connection(self) -> None:
        """Wait until the page has found the way home again: it tries ever more seldom while there is none."""
        lit = self.page.locator("button.here svg.lit, h1 .who svg.lit").first
        expect(lit).to_be_visible(timeout=RECONNECT_WITHIN_MS)

    def expect_words(self, number: int = -1) -> None:
        """Wait until an answer has begun to grow."""
        expect(self.answers.nth(number).locator("[data-part=body]")).to_have_text(
            re.compile(r"\w"), timeout=ANSWER_WITHIN_MS
        )

    def screenshot(self, name: str) -> None:
        """Keep a picture for people to look at; out of git."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")
