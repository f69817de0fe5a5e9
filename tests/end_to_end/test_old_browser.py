"""A browser that has no X25519 seals nothing: nothing is said to the PC beyond this machine, and the person is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Request

    from tests.end_to_end.browser import Profile
    from tests.end_to_end.household import Household

# As browsers do that don't know an algorithm.
WITHOUT_X25519 = """
for (const name of ['importKey', 'generateKey']) {
  const known = SubtleCrypto.prototype[name]
  SubtleCrypto.prototype[name] = function (...given) {
    const algorithms = given.map((one) => (typeof one === 'object' ? one?.name : one))
    if (!algorithms.includes('X25519')) return known.apply(this, given)
    return Promise.reject(new DOMException('Unrecognized name.', 'NotSupportedError'))
  }
}
"""


def test_H1_what_can_not_be_sealed_is_not_sent_and_the_answer_comes_by_the_log(
    household: Household, open_profile: Callable[..., Profile]
) -> None:
    household.start("server", "node")
    profile = open_profile("old")
    profile.page.context.add_init_script(WITHOUT_X25519)
    # As anywhere else than on the PC itself, whose own browser asks it in the clear.
    profile.page.route(f"{household.node_url}/**", lambda route: route.abort())
    asked: list[Request] = []
    profile.page.on("request", lambda request: asked.append(request) if "/v1/sealed" in request.url else None)
    profile.make_first_account(household.setup_code)
    profile.write("The secret is 4711.")
    # The question goes by way of the log, as it would with the app closed, and so comes the answer.
    profile.expect_answer()
    assert asked == []
    # What only a sealed call could bring says why it does not come.
    profile.page.get_by_role("link", name="House").click()
    expect(profile.page.get_by_text(re.compile("This browser can.t seal what goes to the PC")).first).to_be_visible()
    profile.screenshot("old-browser")
    assert asked == []
