"""Two accounts on one PC: to the engine each is an owner of its own.

That engines remember nothing of one owner for another, and take turns between them, is tested where engines are:
`test_engine_contract.py`, `test_prompt_slots.py`, `test_turns.py`, `accel/src/sched/tests/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.inference_node.running_node import MESSAGE_PACK

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.sync_server.device import Device

QUESTION = "The same long question of two people. " * 20


def ask(household: Household, device: Device) -> None:
    """Ask at the PC and wait for the whole answer."""
    node = household.thread.node
    headers = {**MESSAGE_PACK, "Authorization": f"Bearer {household.node_token(device)}"}
    body = node.request(QUESTION)
    url = f"{household.thread.url}/v1/answers"
    assert household.http.post(url, content=msgspec.msgpack.encode(body), headers=headers).status_code == 200
    household.thread.run(node.whole(body.answer, headers=headers))


def test_what_one_account_asked_is_remembered_for_it_alone(household: Household) -> None:
    prompts = household.thread.script.prompts
    begun = len(prompts)
    for device in (household.owner, household.owner, household.other):
        ask(household, device)
    owners = [prompt.owner for prompt in prompts[begun:]]
    assert owners == [device.session.account_id for device in (household.owner, household.owner, household.other)]
