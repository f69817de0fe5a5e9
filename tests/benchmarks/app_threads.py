"""How the app feels on a slow phone: a conversation of 10,000 messages is opened, and a long answer streams in.

Real browser, server and node (its engine is a script that keeps the pace), processor throttled four times as
DevTools does it. Peers were measured with the same loads on the same kind of machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from playwright.sync_api import expect, sync_playwright

from shared.change import ConversationField, EntityType, MessageField
from shared.values import Header, Request, State
from tests.benchmarks.records import Record, report
from tests.benchmarks.talking_node import LAST_WORD, TOKENS, TOKENS_PER_SECOND
from tests.end_to_end.browser import PASSWORD, Profile
from tests.end_to_end.household import ROOT, Household
from tests.sync_server.device import Device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import CDPSession

    from shared.change import Change

MESSAGES = 10_000
MESSAGE_CHARACTERS = 250
CHANGES_A_PUSH = 500
OPENINGS = 5
STREAMS = 3
THROTTLE = 4
PHONE: Any = {"width": 390, "height": 844}
WITHIN_MS = 120_000
QUIET_MS = 4_000
LONG_TASK_MS = 50
TITLE = "The long one"
FILLING = "Rye and a little salt, then an hour of rest. " * 10

# Measured earlier, other apps with the same loads: a plain list; llama.cpp's web UI.
LIST_PEER = ("a plain list of all rows (measured earlier)", 6700.0)
STREAM_PEER = "llama.cpp web UI (measured earlier)"
STREAM_PEER_MS = {"blocking_time": 4200.0, "longest_task": 201.0, "lag_of_last_word": 190.0}

NOTE_TASKS = """
window.tasks = []
new PerformanceObserver((list) => {
  for (const { startTime, duration } of list.getEntries()) tasks.push([startTime, duration])
}).observe({ type: 'longtask', buffered: true })
"""
# Resolves when the text has been drawn: a frame that holds it has begun and ended.
DRAWN = """const drawn = (text) => new Promise((resolve) => {
  const look = () => {
    const bodies = [...document.querySelectorAll('article [data-part=body]')]
    if (bodies.at(-1)?.textContent.includes(text)) requestAnimationFrame(() => setTimeout(resolve))
    else requestAnimationFrame(look)
  }
  look()
});"""
OPEN = f"""async ([title, text]) => {{
  {DRAWN}
  const row = [...document.querySelectorAll('a.item')].find((link) => link.textContent.includes(title))
  const started = performance.now()
  row.click()
  await drawn(text)
  return performance.now() - started
}}"""
WATCH = f"""async (text) => {{
  {DRAWN}
  await drawn(text)
  return [performance.timeOrigin + performance.now(), tasks.map(([, duration]) => duration)]
}}"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        house = Household(Path(folder) / "data")
        house.start("server")
        with _talking_node(house) as node:
            profile = Profile(playwright, Path(folder) / "phone", house.url, longest_answer=0)
            try:
                profile.page.add_init_script(NOTE_TASKS)
                profile.make_first_account(house.setup_code)
                profile.page.set_viewport_size(PHONE)
                records = [*_open(house, profile), *_stream(profile, node)]
            finally:
                profile.close()
                house.stop_all()
    report("app_threads", records)


def _talking_node(house: Household) -> subprocess.Popen[str]:
    """Start the node; when its address can be read, it answers. Ends with its `with` block's terminate."""
    command = [sys.executable, "-m", "tests.benchmarks.talking_node", str(house.data), house.url, str(house.node_port)]
    process = _Ended(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http")
    return process


class _Ended(subprocess.Popen[str]):
    def __exit__(self, *error: object) -> None:
        self.terminate()
        super().__exit__(*error)  # type: ignore[arg-type]


# Opening.


def _open(house: Household, profile: Profile) -> Iterator[Record]:
    last = _write_long_conversation(house)
    page = profile.page
    profile.goto("/chats")
    row = page.locator("a.item", has_text=TITLE)
    expect(row).to_contain_text(last[:40], timeout=WITHIN_MS)
    # What was pulled is put in order while nobody does anything, as between a pull and a person's touch.
    page.wait_for_timeout(QUIET_MS)
    times: dict[str, list[float]] = {"first": [], "again": []}
    for _ in range(OPENINGS):
        profile.goto("/chats")
        expect(row).to_be_visible()
        page.evaluate("() => new Promise((resolve) => requestIdleCallback(resolve))")
        slow = _throttle(profile)
        times["first"].append(page.evaluate(OPEN, [TITLE, last]))
        page.get_by_role("link", name="Back to chats").click()
        expect(row).to_be_visible()
        times["again"].append(page.evaluate(OPEN, [TITLE, last]))
        slow.detach()
    for which, values in times.items():
        value = statistics.median(values)
        workload = f"{MESSAGES} messages of {MESSAGE_CHARACTERS} characters, {which} time on the page, {THROTTLE}x CPU"
        yield Record("open_conversation", workload, value, "ms", OPENINGS, *LIST_PEER, value / LIST_PEER[1])


def _write_long_conversation(house: Household) -> str:
    """Write it from another device and return the text of its last message."""

    def connect() -> httpx.Client:
        return httpx.Client(base_url=house.url, trust_env=False, timeout=60)

    device = Device.logged_in(connect, "Vera", PASSWORD)
    scope = device.change().eid
    changes = [_text(device, scope, EntityType.CONVERSATION, scope, ConversationField.TITLE, TITLE)]
    parent: bytes | None = None
    text = ""
    for number in range(MESSAGES):
        is_question = number % 2 == 0
        header = Header("user" if is_question else "assistant", parent)
        made = device.change(
            msgspec.msgpack.encode(header), etype=EntityType.MESSAGE, field=MessageField.HEADER, scope=scope
        )
        text = f"Message {number} of the long one. {FILLING}"[:MESSAGE_CHARACTERS]
        changes += [made, _text(device, scope, EntityType.MESSAGE, made.eid, MessageField.BODY, text)]
        if not is_question:
            for field, value in (
                (MessageField.REQUEST, Request(None)),
                (MessageField.STATE, State("done", model="Talk")),
            ):
                changes.append(
                    _change(device, scope, EntityType.MESSAGE, made.eid, field, msgspec.msgpack.encode(value))
                )
        parent = made.eid
    for start in range(0, len(changes), CHANGES_A_PUSH):
        device.push(*changes[start : start + CHANGES_A_PUSH])
    return text


def _text(device: Device, scope: bytes, etype: int, eid: bytes, field: int, text: str) -> Change:
    return _change(device, scope, etype, eid, field, msgspec.msgpack.encode(text))


def _change(device: Device, scope: bytes, etype: int, eid: bytes, field: int, value: bytes) -> Change:
    return device.change(value, etype=etype, eid=eid, field=field, scope=scope)


# Streaming.


def _stream(profile: Profile, node: subprocess.Popen[str]) -> Iterator[Record]:
    assert node.stdout is not None
    measured: list[dict[str, float]] = []
    for _ in range(STREAMS):
        profile.goto("/new")
        expect(profile.page.get_by_text("Direct").first).to_be_visible(timeout=WITHIN_MS)
        slow = _throttle(profile)
        profile.page.set_default_timeout(WITHIN_MS)
        profile.write("Tell me all about bread.")
        profile.page.evaluate("() => { tasks.length = 0 }")
        drawn_at, tasks = profile.page.evaluate(WATCH, LAST_WORD)
        said_at = float(node.stdout.readline())
        measured.append(
            {
                "blocking_time": sum(max(0.0, task - LONG_TASK_MS) for task in tasks),
                "longest_task": max(tasks, default=0.0),
                "lag_of_last_word": drawn_at - said_at,
            }
        )
        slow.detach()
    workload = f"{TOKENS} tokens of Markdown at {TOKENS_PER_SECOND}/s, {THROTTLE}x CPU"
    for name, peer in STREAM_PEER_MS.items():
        value = statistics.median(run[name] for run in measured)
        yield Record(f"stream_{name}", workload, value, "ms", STREAMS, STREAM_PEER, peer, value / peer)


def _throttle(profile: Profile) -> CDPSession:
    """Slow the page down until the returned session is detached."""
    session = profile.context.new_cdp_session(profile.page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": THROTTLE})
    return session


if __name__ == "__main__":
    main()
