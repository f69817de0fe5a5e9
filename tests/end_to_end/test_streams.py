"""Answers that are cut, stopped, or lose their server or engine half-way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.end_to_end.conftest import furnished
from tests.end_to_end.household import wait_until
from tests.end_to_end.node_log import runs_started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household
    from tests.end_to_end.proxy import CuttingProxy

# Asked without a limit the small model goes on for a thousand words: for answers that are stopped or broken off.
LONG = "Write a long story about a house by the sea, with many details."
# A sentence or a few, for answers that are awaited.
SHORT = "Describe the sea in one sentence."


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory, default_test_model: Path) -> Iterator[Household]:
    """One for all of these: each leaves it running."""
    yield from furnished(tmp_path_factory.mktemp("house"), default_test_model)


@pytest.fixture
def running(household: Household) -> Household:
    household.start(*({"server", "node"} - household.processes.keys()))
    return household


def test_an_answer_survives_a_cut_connection_byte_for_byte(
    running: Household, open_profile: Callable[..., Profile], cutting_proxy: Callable[[int], CuttingProxy]
) -> None:
    to_node, to_server = cutting_proxy(running.node_port), cutting_proxy(running.port)
    rules = ",".join(f"MAP localhost:{p.target} 127.0.0.1:{p.port}" for p in (to_node, to_server))
    vera = open_profile("vera", arguments=[f"--host-resolver-rules={rules}"], longest_answer=200)
    vera.enter(running)
    before = runs_started(running)
    with running.slow_engine():
        vera.write(SHORT)
        vera.expect_words()
        for _ in range(3):
            assert to_node.cut() + to_server.cut() > 0, "a stream was open"
            wait_until(lambda: to_node.open + to_server.open > 0, "the app connects again")
    vera.expect_answer()
    assert runs_started(running) == before + 1, "one generation"
    # The page compares what it streamed with the body that the node wrote, and reports a difference as an error.
    vera.page.reload()
    vera.expect_answer()


def test_stop_from_another_device_frees_the_engine(running: Household, open_profile: Callable[..., Profile]) -> None:
    vera, tablet = open_profile("vera", longest_answer=0), open_profile("tablet")
    vera.enter(running)
    tablet.log_in()
    with running.slow_engine():
        vera.write(LONG)
        vera.expect_words()
        tablet.open_conversation("Write a long story")
        tablet.press("Stop")
        vera.expect_answer("stopped")
    tablet.expect_answer("stopped")
    tablet.write("Say hi")
    tablet.expect_answer("done")


def test_a_killed_engine_says_so_and_can_be_asked_again(
    running: Household, open_profile: Callable[..., Profile]
) -> None:
    vera = open_profile("vera", longest_answer=0)
    vera.enter(running)
    with running.slow_engine():
        vera.write(LONG)
        vera.expect_words()
        running.engine().kill()
        vera.expect_answer("interrupted")
    expect(vera.answers.last.get_by_text("The answer stopped halfway")).to_be_visible()
    vera.screenshot("interrupted")
    with running.slow_engine():
        vera.press("Retry")
        vera.expect_words()
        vera.press("Stop")
        vera.expect_answer("stopped")


def test_a_killed_node_leaves_no_answer_hanging(running: Household, open_profile: Callable[..., Profile]) -> None:
    vera = open_profile("vera", longest_answer=0)
    vera.enter(running)
    with running.slow_engine():
        vera.write(LONG)
        vera.expect_words()
        running.kill("node")
    running.start("node")
    vera.expect_answer("interrupted")
    wait_until(lambda: runs_started(running) == 0, "nothing is re-run by itself")
