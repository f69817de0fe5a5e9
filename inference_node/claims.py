"""Requests in the log that name this node: run, stopped, or left waiting (rules Q1-Q7)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from inference_node import replica
from inference_node.engine import ChatMessage
from inference_node.run import Asked
from inference_node.runs import Place, Runs
from shared import values
from shared.change import Change, ConversationField, EntityType, MessageField
from shared.errors import Code, DomovoiError
from shared.messages import Message, fold, is_runnable, path_to
from shared.values import CONTINUABLE_STATES, FINAL_STATES, Request, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference_node.database import Database

log = logging.getLogger(__name__)


class _Conversation(NamedTuple):
    """A conversation as the node's replica has it."""

    place: Place
    messages: dict[bytes, Message]
    is_deleted: bool


class Claims:
    """Looks at conversations that changed, and does what their requests ask of this node."""

    def __init__(self, database: Database, runs: Runs, node_id: bytes) -> None:
        self._database = database
        self._runs = runs
        self._node_id = node_id
        self._changed: set[Place] = set()
        # What found the queue full; looked at again whenever a run ends.
        self._left: set[Place] = set()
        self._news = asyncio.Event()

    def note(self, places: Iterable[Place]) -> None:
        """Take note that these conversations changed."""
        self._changed.update(places)
        self._news.set()

    def note_end(self, place: Place) -> None:
        """Take note that a run of this conversation ended: what waited for it or for a free place may go on."""
        self.note({place, *self._left})
        self._left.clear()

    async def run(self) -> None:
        """Look at what is noted, for ever, beginning with every request that is still open."""
        self.note(await self._open_requests())
        while True:
            await self._news.wait()
            self._news.clear()
            while self._changed:
                await self._look(self._changed.pop())

    async def require_runnable(self, account: bytes, answer: bytes, conversation: bytes) -> None:
        """Raise DomovoiError `parent_unfinished` if the log says that a new run of the answer may not start (Q3).

        A request may overtake the log: what the log does not have yet, the one who asks has checked.
        """
        if await self._runs.state(account, answer) is not None:
            return
        folded = await self._conversation(Place(account, conversation))
        message = folded.messages.get(answer)
        path = path_to(folded.messages, message.header.parent) if message else None
        before = [other for other in path or () if other.header.role == "assistant"][-1:]
        for other in before:
            state = other.state.state if other.state else "queued"
            is_open_here = state not in FINAL_STATES and self._is_for_us(other.request)
            if is_open_here or (state in FINAL_STATES and state not in CONTINUABLE_STATES):
                raise DomovoiError(Code.PARENT_UNFINISHED)

    async def _open_requests(self) -> set[Place]:
        query = (
            "SELECT request.account_id, request.scope, request.value, state.value AS state FROM cell AS request"
            " LEFT JOIN cell AS state ON state.account_id = request.account_id AND state.etype = request.etype"
            " AND state.eid = request.eid AND state.field = ? WHERE request.etype = ? AND request.field = ?"
        )
        fields = (MessageField.STATE, EntityType.MESSAGE, MessageField.REQUEST)
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(query, fields)
        return {
            Place(row["account_id"], row["scope"])
            for row in rows
            if self._is_for_us(values.decode(row["value"], Request)) and not _is_final(row["state"])
        }

    async def _look(self, place: Place) -> None:
        folded = await self._conversation(place)
        # In order of asking, so that the first of several is answered first.
        for message in sorted(folded.messages.values(), key=lambda message: message.created):
            is_open = message.state is None or message.state.state not in FINAL_STATES
            if is_open and self._is_for_us(message.request):
                await self._handle(folded, message)

    async def _handle(self, folded: _Conversation, message: Message) -> None:
        place = folded.place
        path = path_to(folded.messages, message.header.parent)
        if path is None:
            return
        is_hidden = folded.is_deleted or message.deleted or any(other.deleted for other in path)
        if message.stop or is_hidden:
            if not self._runs.stop(place.account, message.id):
                await self._runs.settle(place.account, message.id, place.conversation, State(state="stopped"))
        elif message.state is not None and message.state.state == "running":
            # This node began it, and has since lost its own table (Q7). A run that lives is left alone.
            lost = State(state="interrupted", code=Code.NODE_RESTARTED)
            await self._runs.settle(place.account, message.id, place.conversation, lost)
        elif message.request is not None and is_runnable(folded.messages, message):
            await self._start(place, message, message.request, path)

    async def _start(self, place: Place, message: Message, request: Request, path: list[Message]) -> None:
        # An answer that was stopped before its first word says nothing to the model.
        prompt = [ChatMessage(other.header.role, other.body) for other in path if other.body]
        try:
            await self._runs.start(
                Asked(place.account, message.id, place.conversation, request.model, request.sampling, prompt)
            )
        except DomovoiError as error:
            if error.code != Code.ENGINE_BUSY:
                raise
            self._left.add(place)

    async def _conversation(self, place: Place) -> _Conversation:
        async with self._database.transaction() as connection:
            cells = await replica.cells_of_scope(connection, *place)
        return _Conversation(place, fold(cells), any(_deletes_conversation(cell) for cell in cells))

    def _is_for_us(self, request: Request | None) -> bool:
        return request is not None and request.node == self._node_id


def _deletes_conversation(cell: Change) -> bool:
    is_deletion = cell.etype == EntityType.CONVERSATION and cell.field == ConversationField.DELETED
    return is_deletion and cell.eid == cell.scope and values.decode(cell.value, bool) is True


def _is_final(value: bytes | None) -> bool:
    state = values.decode(value, State) if value is not None else None
    return state is not None and state.state in FINAL_STATES
