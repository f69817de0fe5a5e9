"""Requests in the log for this node or for any: run, stopped, or left waiting (rules Q1-Q9)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from inference_node.engines.engine import ChatMessage
from inference_node.log import replica
from inference_node.runs.run import Asked
from inference_node.runs.runs import Place, Runs
from shared import values
from shared.change import Change, ConversationField, EntityType, MessageField
from shared.errors import Code, DomovoiError
from shared.limits import LEASE_S
from shared.messages import Message, fold, is_runnable, path_to
from shared.values import CONTINUABLE_STATES, FINAL_STATES, Request, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference_node.log.database import Database
    from inference_node.log.leases import Leases

log = logging.getLogger(__name__)

# A lease that another node holds is over by then, unless it is renewed.
CLAIM_AGAIN_S = LEASE_S + 5.0


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
        self._leases: Leases | None = None
        self._claiming: dict[tuple[bytes, bytes], asyncio.Task[None]] = {}
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

    def use(self, leases: Leases) -> None:
        """Run answers that were asked of any node too, under these leases (Q9)."""
        self._leases = leases

    async def run(self) -> None:
        """Look at what is noted, for ever, beginning with every request that is still open."""
        self.note(await self._open_requests())
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                while self._changed:
                    await self._look(self._changed.pop())
        finally:
            for task in self._claiming.values():
                task.cancel()

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
            if self._is_open_here(values.decode(row["value"], Request), values.decode(row["state"] or b"", State))
        }

    async def _look(self, place: Place) -> None:
        folded = await self._conversation(place)
        # In order of asking, so that the first of several is answered first.
        for message in sorted(folded.messages.values(), key=lambda message: message.created):
            if not self._is_open_here(message.request, message.state):
                continue
            key = (place.account, message.id)
            if self._is_for_us(message.request) or self._runs.is_open(*key):
                await self._handle(folded, message)
            elif key not in self._claiming and _is_to_claim(folded, message):
                # In a task of its own: a server that does not answer must not hold up what names this node.
                self._claiming[key] = asyncio.create_task(self._claim(place, message.id))

    async def _claim(self, place: Place, answer: bytes) -> None:
        """Run an answer that was asked of any node, if this is the one that gets its lease (Q9)."""
        try:
            token = await self._leases.claim(place.account, answer) if self._leases else None
            if self._leases is None or token is None:
                # Whoever has it may die before it says so.
                asyncio.get_running_loop().call_later(CLAIM_AGAIN_S, self.note, {place})
                return
            folded = await self._conversation(place)
            message = folded.messages.get(answer)
            if message is not None and _is_to_claim(folded, message):
                await self._handle(folded, message, token)
            if self._runs.is_open(place.account, answer):
                self._leases.keep(place.account, answer, token)
            elif await self._runs.state(place.account, answer) is None:
                await self._leases.release(place.account, answer, token)
        finally:
            self._claiming.pop((place.account, answer), None)

    async def _handle(self, folded: _Conversation, message: Message, lease: bytes | None = None) -> None:
        place = folded.place
        path = path_to(folded.messages, message.header.parent)
        if path is None:
            return
        if message.stop or _is_hidden(folded, message, path):
            if not self._runs.stop(place.account, message.id):
                await self._runs.settle(place, message.id, State(state="stopped"), lease)
        elif message.state is not None and message.state.state == "running" and self._is_for_us(message.request):
            # This node began it, and has since lost its own table (Q7). A run that lives is left alone.
            lost = State(state="interrupted", code=Code.NODE_RESTARTED)
            await self._runs.settle(place, message.id, lost)
        elif message.request is not None and is_runnable(folded.messages, message):
            await self._start(place, message, path, lease)

    async def _start(self, place: Place, message: Message, path: list[Message], lease: bytes | None) -> None:
        request = message.request
        if request is None:
            return
        # An answer that was stopped before its first word says nothing to the model.
        prompt = [ChatMessage(other.header.role, other.body) for other in path if other.body]
        try:
            await self._runs.start(
                Asked(place.account, message.id, place.conversation, request.model, request.sampling, prompt, lease)
            )
        except DomovoiError as error:
            if error.code != Code.ENGINE_BUSY:
                raise
            self._left.add(place)

    async def _conversation(self, place: Place) -> _Conversation:
        async with self._database.transaction() as connection:
            cells = await replica.cells_of_scope(connection, *place)
        return _Conversation(place, fold(cells), any(_deletes_conversation(cell) for cell in cells))

    def _is_open_here(self, request: Request | None, state: State | None) -> bool:
        """Say whether a request may need something of this node."""
        is_final = state is not None and state.state in FINAL_STATES
        return request is not None and request.node in {self._node_id, None} and not is_final

    def _is_for_us(self, request: Request | None) -> bool:
        return request is not None and request.node == self._node_id


def _is_hidden(folded: _Conversation, message: Message, path: list[Message]) -> bool:
    return folded.is_deleted or message.deleted or any(other.deleted for other in path)


def _is_to_claim(folded: _Conversation, message: Message) -> bool:
    """Say whether there is something to do for whoever gets the lease; what another node began is left alone (Q8)."""
    path = path_to(folded.messages, message.header.parent)
    if message.state is not None or message.request is None or path is None:
        return False
    return message.stop or _is_hidden(folded, message, path) or is_runnable(folded.messages, message)


def _deletes_conversation(cell: Change) -> bool:
    is_deletion = cell.etype == EntityType.CONVERSATION and cell.field == ConversationField.DELETED
    return is_deletion and cell.eid == cell.scope and values.decode(cell.value, bool) is True
