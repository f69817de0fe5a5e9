"""Days at home while the VPS is gone, and then it is back (rules D5, K11, L15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.end_to_end.test_days_away import TOKENS, issuer
from tests.end_to_end.whereabouts import expect_status, permit
from tests.network.app_log import same_answer, same_words

if TYPE_CHECKING:
    from tests.network.machines import Browser, Machine
    from tests.network.town import Town
    from tests.nginx import Nginx


def test_K11_three_days_without_the_server(
    town: Town, door: Nginx, vps: Machine, pc: Machine, phone: Browser, laptop: Browser
) -> None:
    phone.write("What is the sea?")
    phone.expect_answer()
    door.stop()
    vps.kill("server")
    pc.stop("node")
    phone.close()
    laptop.close()
    town.days += 3
    pc.start("node")
    # The app comes from its service worker, and what the PC last said of its addresses from its own memory.
    phone.goto("/new")
    permit(phone, "granted")
    expect_status(phone, "Server doesn.t answer")
    phone.write("What is a house?")
    phone.expect_answer()
    expect(phone.answers.last).to_contain_text("Direct")
    same_answer(phone, pc)
    [(node_id, kept)] = phone.page.evaluate(TOKENS, None).items()
    assert issuer(kept["token"]) == node_id, "the PC has renewed it"
    laptop.goto("/chats")
    expect(laptop.page.get_by_text("What is the sea?").first).to_be_visible()
    expect(laptop.page.get_by_text("What is a house?")).to_have_count(0)
    vps.start("server")
    with town.vps.inside():
        door.start()
    laptop.open_conversation("What is a house?")
    laptop.expect_answer()
    same_words(phone, laptop)
