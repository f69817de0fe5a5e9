"""A PC that sleeps and wakes (rules D9, N12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.whereabouts import expect_status
from tests.network.app_log import same_answer

if TYPE_CHECKING:
    from tests.network.machines import Browser, Machine


def test_N12_what_is_asked_of_a_sleeping_pc_is_answered_when_it_wakes(pc: Machine, phone: Browser) -> None:
    before = pc.runs_started()
    with pc.asleep():
        expect_status(phone, r"PC asleep since \d\d:\d\d")
        phone.write("What is sleep?")
        expect(phone.answers.last).to_have_attribute("data-state", "queued")
    phone.expect_answer()
    assert pc.runs_started() == before + 1
    same_answer(phone, pc)
