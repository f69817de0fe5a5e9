"""The app, as far as a node can tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared import values
from shared.change import ConversationField, EntityType, MessageField
from shared.identifiers import from_hex
from shared.merge import merge
from shared.messages import Message, fold
from shared.values import FINAL_STATES, Header, Request
from shared.wire import PathMessage, StartAnswer
from tests.inference_node.running_node import WITHIN_S, new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from shared.change import Change
    from tests.sync_server.device import Device
    from tests.sync_server.running_server import RunningServer


class Phone:
    """The app, as far as a node can tell: writes messages and requests, reads answers. Blocks."""

    def __init__(self, server: RunningServer, device: Device, node_id: str) -> None:
        self.server = server
        self.device = device
        self.node_id = node_id

    def ask(self, text: str, conversation: bytes, parent: bytes | None = None) -> bytes:
        """Write a message and its empty answer in one push; return the answer's id."""
        question, answer = new_id(), new_id()
        self.device.push(
            self._change(question, conversation, MessageField.HEADER, Header("user", parent)),
            self._change(question, conversation, MessageField.BODY, text),
            self._change(answer, conversation, MessageField.HEADER, Header("assistant", question)),
            self._change(answer, conversation, MessageField.REQUEST, Request(from_hex(self.node_id))),
        )
        return answer

    def write(self, message: bytes, conversation: bytes, field: MessageField, value: object) -> None:
        self.device.push(self._change(message, conversation, field, value))

    def delete(self, conversation: bytes) -> None:
        self.device.write(
            values.encode(True),
            etype=EntityType.CONVERSATION,
            eid=conversation,
            field=ConversationField.DELETED,
            scope=conversation,
        )

    def read(self, answer: bytes) -> Message | None:
        """Return the message as the server's log has it."""
        cells: dict[tuple[int, bytes, int], Change] = {}
        merge(cells, self.device.pull().changes)
        return fold(cells.values()).get(answer)

    def state(self, answer: bytes) -> str | None:
        message = self.read(answer)
        return message.state.state if message is not None and message.state is not None else None

    def token(self) -> str:
        response = self.device.request("POST", "/api/v1/auth/token", json={"audience": f"node:{self.node_id}"})
        return str(response.json()["access_token"])

    def wanted(self, text: str) -> StartAnswer:
        request = Request(from_hex(self.node_id))
        return StartAnswer(new_id(), new_id(), request, [PathMessage("user", text)])

    def relayed(self, method: str, path: str, **more: object) -> httpx.Response:
        headers = {"domovoi-node-token": self.token(), **more.pop("headers", {})}  # type: ignore[dict-item]
        return self.device.request(method, f"/relay/{self.node_id}{path}", headers=headers, **more)

    def is_awake(self) -> bool:
        nodes = self.device.request("GET", "/api/v1/nodes").json()["nodes"]
        return any(node["awake"] and (node["status"] or {}).get("engine_state") == "ready" for node in nodes)

    def _change(self, message: bytes, conversation: bytes, field: MessageField, value: object) -> Change:
        return self.device.change(
            values.encode(value), etype=EntityType.MESSAGE, eid=message, field=field, scope=conversation
        )


async def until(phone: Phone, answer: bytes, *states: str) -> Message:
    """Wait until the server's log has the answer in one of the states."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            message = await asyncio.to_thread(phone.read, answer)
            if message is not None and message.state is not None and message.state.state in states:
                return message
            await asyncio.sleep(0.02)


async def until_true(condition: Callable[[], bool]) -> None:
    """Wait until `condition`, which blocks, holds."""
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # the other side is a process or a thread
            await asyncio.sleep(0.02)


def has_final_state(phone: Phone, answer: bytes) -> bool:
    for cell in phone.device.pull().changes:
        if cell.eid == answer and cell.field == MessageField.STATE:
            state = values.decode(cell.value, values.State)
            if state is not None and state.state in FINAL_STATES:
                return True
    return False
