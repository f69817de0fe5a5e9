"""A network that answers everything with a page of its own (rules D5, H7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.whereabouts import expect_status
from tests.network.app_log import same_answer
from tests.network.captive_portal import WORDS, captive_portal
from tests.network.town import PHONE

if TYPE_CHECKING:
    from tests.network.machines import Browser, Machine
    from tests.network.town import Town
    from tests.nginx import Nginx


def test_D5_a_captive_portal_is_neither_the_server_nor_the_pc(
    town: Town, door: Nginx, pc: Machine, phone: Browser
) -> None:
    before = pc.runs_started()
    with town.led_astray(PHONE) as trap, trap.inside(), captive_portal(door):
        expect_status(phone, "Offline|Server doesn.t answer")
        # Opened anew it is still the app, and what is written in it waits.
        phone.goto("/new")
        expect_status(phone, "Offline|Server doesn.t answer")
        phone.write("What is a door?")
        expect(phone.answers.last).to_have_attribute("data-state", "queued")
        assert WORDS not in phone.page.content()
        assert pc.runs_started() == before
    phone.expect_answer()
    assert pc.runs_started() == before + 1
    same_answer(phone, pc)
