from __future__ import annotations

from contextlib import ExitStack

from inference_node.engines.engine import ChatMessage, Prompt
from inference_node.engines.prompt_slots import PromptSlots, Slot


def chat(owner: str, *texts: str) -> Prompt:
    return Prompt([ChatMessage("user", text) for text in texts], owner=owner)


def take(slots: PromptSlots, prompt: Prompt) -> Slot:
    with slots.take(prompt, lambda: False) as slot:
        assert slot is not None
        return slot


def test_a_chat_comes_back_to_its_slot() -> None:
    slots = PromptSlots(3)
    first = take(slots, chat("a", "Hello", "1"))
    second = take(slots, chat("a", "Good day", "1"))
    assert first.number != second.number
    assert take(slots, chat("a", "Hello", "1", "2")).number == first.number
    assert take(slots, chat("a", "Good day", "1", "2")).number == second.number


def test_another_owner_never_gets_what_is_remembered() -> None:
    slots = PromptSlots(1)
    assert not take(slots, chat("a", "Hello")).may_reuse
    assert take(slots, chat("a", "Hello", "1")).may_reuse
    assert not take(slots, chat("b", "Hello", "1")).may_reuse
    assert not take(slots, chat("a", "Hello", "1")).may_reuse


def test_what_was_used_longest_ago_is_given_up() -> None:
    slots = PromptSlots(2)
    numbers = [take(slots, chat(owner, "Hello")).number for owner in "abab"]
    assert numbers[:2] == numbers[2:]
    assert take(slots, chat("c", "Hello")).number == numbers[0]


def test_the_beginning_alone_is_not_worth_a_long_chat() -> None:
    slots = PromptSlots(2)
    long = take(slots, chat("a", "Be kind.", "1", "2", "3"))
    assert take(slots, chat("a", "Be kind.", "4")).number != long.number


def test_raw_texts_are_known_by_their_start() -> None:
    slots = PromptSlots(2)
    text = "word " * 100
    first = take(slots, Prompt(text=text, owner="a"))
    take(slots, Prompt(text="Another.", owner="a"))
    assert take(slots, Prompt(text=text + "more", owner="a")).number == first.number


def test_a_generation_that_is_stopped_while_it_waits_gets_none() -> None:
    slots = PromptSlots(1)
    with ExitStack() as stack:
        stack.enter_context(slots.take(chat("a", "Hello"), lambda: False))
        with slots.take(chat("b", "Hello"), lambda: True) as slot:
            assert slot is None
    assert take(slots, chat("b", "Hello")).number == 0
