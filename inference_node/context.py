"""Making a conversation fit: which of its messages are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from shared.wire import PathMessage


def without_oldest(messages: list[PathMessage], tokens: int, too_many: int) -> list[PathMessage]:
    """Return the messages without the oldest after a leading system message, about `too_many` tokens fewer.

    `tokens` is the count of all. Characters tell how many tokens a message has; a guess too low is made good by
    asking again, and at least one message goes each time. What is left starts with a user's message, as templates
    want it. Raises DomovoiError context_too_long when only the last message is left.
    """
    first = 1 if messages[0].role == "system" else 0
    characters = sum(len(message.text) for message in messages) or 1
    unwanted = too_many * characters / tokens
    last = len(messages) - 1
    cut = first
    while cut < last and (cut == first or unwanted > 0 or messages[cut].role != "user"):
        unwanted -= len(messages[cut].text)
        cut += 1
    if cut == first:
        raise DomovoiError(Code.CONTEXT_TOO_LONG)
    return messages[:first] + messages[cut:]
