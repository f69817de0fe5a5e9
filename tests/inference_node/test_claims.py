"""Requests in the log: run, stopped, or left alone (rules Q1-Q7), with the real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.change import ConversationField, EntityType, MessageField
from shared.values import State
from tests.inference_node.asking import Asking, until_served

if TYPE_CHECKING:
    from tests.inference_node.running_node import RunningNode
    from tests.inference_node.scripted_engine import Script

WITHIN_S = 20.0


async def test_a_request_in_the_log_is_answered(asking: Asking, script: Script) -> None:
    answer = asking.ask("Who are you?")
    message = await asking.until(answer, "done")
    assert message.body == script.answer
    assert message.state is not None
    assert (message.state.model, message.state.engine) == ("Test Model", "scripted")
    assert [(m.role, m.content) for m in script.prompts[0].messages] == [("user", "Who are you?")]


async def test_Q3_a_branch_is_answered_in_order(asking: Asking, script: Script) -> None:
    first, changes = asking.request("One?")
    second, more = asking.request("Two?", first)
    asking.device.push(*changes, *more)
    await asking.until(second, "done")
    assert [len(prompt.messages) for prompt in script.prompts] == [1, 3]
    assert script.prompts[1].messages[1].content == script.answer
    assert asking.message(first).state is not None


async def test_Q3_nothing_follows_a_failed_answer(asking: Asking, script: Script) -> None:
    failed = asking.ask("One?", model="nowhere")
    await asking.until(failed, "failed")
    waiting = asking.ask("Two?", failed)
    other = asking.ask("Something else?")
    await asking.until(other, "done")
    assert asking.message(waiting).state is None
    # Asked again, beside the failed one, it goes on from there.
    again = asking.ask("Two?", other)
    await asking.until(again, "done")


async def test_Q1_requests_for_others_are_left_alone(asking: Asking, script: Script) -> None:
    foreign = asking.ask("You?", node=bytes(16))
    await asking.until(asking.ask("Me?"), "done")
    assert asking.message(foreign).state is None
    assert len(script.prompts) == 1


async def test_Q2_direct_and_log_are_one_generation(asking: Asking, joined_node: RunningNode, script: Script) -> None:
    script.held = True
    headers = await until_served(joined_node, asking.device)
    answer, changes = asking.request("Hello?")
    body = joined_node.request(answer=answer, conversation=asking.conversation)
    assert (await joined_node.post(body, **headers)).status_code == 200
    asking.device.push(*changes)
    await asking.until(answer, "running")
    script.say("Once.")
    script.finish()
    assert (await asking.until(answer, "done")).body == "Once."
    script.held = False
    await asking.until(asking.ask("And?", answer), "done")
    assert len(script.prompts) == 2


async def test_Q6_a_stop_before_the_claim_is_written(asking: Asking, script: Script) -> None:
    answer, changes = asking.request("Never mind.")
    asking.device.push(*changes, asking.write(MessageField.STOP, answer, True))
    assert (await asking.until(answer, "stopped")).body == ""
    assert script.prompts == []


@pytest.mark.parametrize("what", ["stop", "message", "question", "conversation"])
async def test_Q6_a_stop_or_deletion_in_mid_answer_frees_the_engine(asking: Asking, script: Script, what: str) -> None:
    script.held = True
    answer = asking.ask("Tell me everything.")
    script.say("It all ")
    await asyncio.wait_for(script.generating.wait(), WITHIN_S)
    await asking.until(answer, "running")
    question = asking.message(answer).header.parent
    assert question is not None
    match what:
        case "stop":
            asking.push(MessageField.STOP, answer, True)
        case "message":
            asking.push(MessageField.DELETED, answer, True)
        case "question":
            asking.push(MessageField.DELETED, question, True)
        case _:
            asking.push(ConversationField.DELETED, asking.conversation, True, EntityType.CONVERSATION)
    message = await asking.until(answer, "stopped")
    assert message.body == "It all "
    assert not script.busy


async def test_Q7_a_run_that_the_node_has_lost_is_interrupted(asking: Asking, joined_node: RunningNode) -> None:
    await joined_node.stop()
    answer, changes = asking.request("Hello?")
    asking.device.push(*changes, asking.write(MessageField.STATE, answer, State(state="running")))
    await joined_node.restart()
    message = await asking.until(answer, "interrupted")
    assert message.state is not None
    assert message.state.code == "node_restarted"
