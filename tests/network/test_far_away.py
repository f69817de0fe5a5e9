"""A phone that is far away, and on a network that loses packets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.whereabouts import expect_status
from tests.network.app_log import same_answer
from tests.network.slow_wire import DEVICE
from tests.network.town import MOBILE

if TYPE_CHECKING:
    from tests.network.machines import Browser, Machine
    from tests.network.town import Town

pytestmark = pytest.mark.skipif(not DEVICE.exists(), reason="NO TUN DEVICE: neither delay nor loss was tried")


def answered_out_of_the_house(phone: Browser, pc: Machine) -> int:
    """Ask by the relay, and return the round trip that the app shows, ms."""
    expect_status(phone, r"Relay · \d+ ms")
    before = pc.runs_started()
    phone.write("What is far away?")
    phone.expect_answer()
    same_answer(phone, pc)
    assert pc.runs_started() == before + 1
    expect_status(phone, r"Relay · \d+ ms")
    line = phone.page.locator("button.here, header.bar .who").first.inner_text()
    found = re.search(r"(\d+) ms", line)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("round_trip_ms", [60, 300])
def test_D6_an_answer_from_far_away(round_trip_ms: int, town: Town, pc: Machine, phone: Browser) -> None:
    with town.far_away(MOBILE, round_trip_ms / 2), town.phone_out_of_the_house():
        assert answered_out_of_the_house(phone, pc) >= round_trip_ms


def test_S3_one_packet_in_a_hundred_is_lost(town: Town, pc: Machine, phone: Browser) -> None:
    with town.far_away(MOBILE, 10, loss=0.01), town.phone_out_of_the_house():
        answered_out_of_the_house(phone, pc)
