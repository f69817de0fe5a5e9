"""A device that asks through the log, as the app does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shared import values
from shared.change import Change, EntityType, MessageField
from shared.messages import Message, fold
from shared.values import Header, Request
from tests.inference_node.running_node import RunningNode, new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sync_server.device import Device

WITHIN_S = 20.0


class Asking:
    """A device that writes conversations into the log, as the app does."""

    def __init__(self, device: Device, node_id: bytes) -> None:
        self.device = device
        self._node_id = node_id
        self.conversation = new_id()

    def write(self, field: int, eid: bytes, value: object, etype: int = EntityType.MESSAGE) -> Change:
        scope = self.conversation
        return self.device.change(values.encode(value), etype=etype, eid=eid, field=field, scope=scope)

    def request(self, text: str, parent: bytes | None = None, **more: Any) -> tuple[bytes, list[Change]]:
        """Return a question's answer and the changes that ask it."""
        question, answer = new_id(), new_id()
        asked = Request(more.pop("node", self._node_id), **more)
        return answer, [
            self.write(MessageField.HEADER, question, Header("user", parent)),
            self.write(MessageField.BODY, question, text),
            self.write(MessageField.HEADER, answer, Header("assistant", question)),
            self.write(MessageField.REQUEST, answer, asked),
        ]

    def ask(self, text: str, parent: bytes | None = None, **more: Any) -> bytes:
        """Write a question into the log and return its answer."""
        answer, changes = self.request(text, parent, **more)
        assert self.device.push(*changes).rejected == []
        return answer

    def push(self, field: int, eid: bytes, value: object, etype: int = EntityType.MESSAGE) -> None:
        assert self.device.push(self.write(field, eid, value, etype)).rejected == []

    def messages(self) -> dict[bytes, Message]:
        """Return what the log has."""
        return fold(self.device.pull(limit=1000).changes)

    def message(self, identifier: bytes) -> Message:
        return self.messages()[identifier]

    async def until(self, identifier: bytes, *states: str) -> Message:
        """Wait until the log says that the answer is in one of these states."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = (await asyncio.to_thread(self.messages)).get(identifier)
                if message is not None and message.state is not None and message.state.state in states:
                    return message
                await asyncio.sleep(0.02)


def token_of(node: RunningNode, device: Device) -> str:
    response = device.request("POST", "/api/v1/auth/token", json={"audience": f"node:{node.identity.node_id}"})
    assert response.status_code == 200, response.text
    return str(response.json()["access_token"])


async def until_served(node: RunningNode, device: Device) -> dict[str, str]:
    """Wait until the server knows the node, and the node the account; return the headers for it."""

    async def is_known() -> bool:
        nodes = (await asyncio.to_thread(device.request, "GET", "/api/v1/nodes")).json()["nodes"]
        return node.identity.node_id in {known["node_id"] for known in nodes}

    await node.until(is_known)
    headers = {"Authorization": f"Bearer {await asyncio.to_thread(token_of, node, device)}"}

    async def is_served() -> bool:
        return (await node.http.get(f"{node.url}/v1/status", headers=headers)).is_success

    await node.until(is_served)
    return headers


def the_node(device: Device) -> Any:
    (node,) = device.request("GET", "/api/v1/nodes").json()["nodes"]
    return node


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # asked over HTTP
            await asyncio.sleep(0.02)
