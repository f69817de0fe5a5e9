"""A phone or a PC that is elsewhere from one moment to the next, in the middle of an answer (rules D1, D6-D8)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.household import wait_until
from tests.end_to_end.whereabouts import expect_status, ways
from tests.network.app_log import same_answer
from tests.network.town import ELSEWHERE_AT_HOME, PC, PHONE

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.network.machines import Browser, Machine
    from tests.network.town import Town

LONG = "Write a long story about a house by the sea, with many details."


def goes_on_by_the_relay(pc: Machine, phone: Browser, trouble: AbstractContextManager[None]) -> None:
    """Let the trouble come in mid-answer and stay, and look whether the relay brings the rest of the one answer."""
    before = pc.runs_started()
    with ExitStack() as lasting:
        with pc.slow_engine():
            phone.write(LONG)
            phone.expect_words()
            lasting.enter_context(trouble)
            expect_status(phone, r"Relay · \d+ ms")
            expect(phone.answers.last).to_have_attribute("data-state", "running")
        phone.expect_answer()
        expect(phone.answers.last).to_contain_text("Relay")
    assert pc.runs_started() == before + 1
    same_answer(phone, pc)


def test_D6_from_wifi_to_mobile_in_mid_answer(town: Town, pc: Machine, phone: Browser) -> None:
    goes_on_by_the_relay(pc, phone, town.phone_out_of_the_house())


def test_D8_a_link_that_dies_without_a_word(town: Town, pc: Machine, phone: Browser) -> None:
    goes_on_by_the_relay(pc, phone, town.silence_between(PHONE, PC))


def test_D1_the_pc_gets_another_address_in_mid_answer(town: Town, pc: Machine, phone: Browser) -> None:
    before = pc.runs_started()
    old, new = (f"{address}:{pc.node_port}" for address in (PC, ELSEWHERE_AT_HOME))
    with ExitStack() as moved:
        with pc.slow_engine():
            phone.write(LONG)
            phone.expect_words()
            moved.enter_context(town.another_address(town.pc, PC, ELSEWHERE_AT_HOME))
            wait_until(lambda: (found := ways(phone)).get(new) == "open" and old not in found, "the new address")
        phone.expect_answer()
    assert pc.runs_started() == before + 1
    same_answer(phone, pc)
