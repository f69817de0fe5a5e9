"""Finding, in an account's log, what this node is asked to do (rules Q1-Q7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_node import replica
from shared.errors import Code, DomovoiError
from shared.messages import Message, is_runnable, path_to
from shared.values import FINAL_STATES, State
from shared.wire import PathMessage, StartAnswer

if TYPE_CHECKING:
    from sqlite3 import Connection

    from inference_node.database import Database
    from inference_node.run_records import RunRecords
    from inference_node.runs import Runs

Messages = dict[bytes, Message]


class Claims:
    """Starts, stops and settles runs as the log says."""

    def __init__(self, node_id: bytes, database: Database, records: RunRecords, runs: Runs) -> None:
        self._node_id = node_id
        self._database = database
        self._records = records
        self._runs = runs

    async def look(self, account_id: bytes) -> None:
        """Do what the replica of the account's log asks for now."""
        for answer_id, messages, is_deleted in await self._database.transact(lambda c: _open_answers(c, account_id)):
            answer = messages.get(answer_id)
            if answer is not None:
                await self._handle(account_id, messages, answer, is_deleted)

    async def start(self, account_id: bytes, start: StartAnswer) -> str:
        """Start what a device asks for directly, unless the log knows better; return the run's state.

        Raises DomovoiError bad_request for a request of another node, parent_unfinished, engine_busy.
        """
        if start.request.node != self._node_id:
            raise DomovoiError(Code.BAD_REQUEST, "This request names another node, or none. Send it to the server.")
        messages, is_deleted = await self._database.transact(lambda c: _conversation(c, account_id, start.conversation))
        answer = messages.get(start.answer)
        if answer is not None and answer.state is not None and answer.state.state in FINAL_STATES:
            return answer.state.state
        if answer is not None and _is_stopped(messages, answer, is_deleted):
            await self._handle(account_id, messages, answer, is_deleted)
            return "stopped"
        if answer is not None and _is_parent_unfinished(messages, answer):
            raise DomovoiError(Code.PARENT_UNFINISHED)
        return await self._runs.start(account_id, start)

    async def _handle(self, account_id: bytes, messages: Messages, answer: Message, is_deleted: bool) -> None:
        run = self._runs.find(account_id, answer.id)
        is_stopped = _is_stopped(messages, answer, is_deleted)
        if run is not None:
            if is_stopped:
                await self._runs.stop(account_id, answer.id)
        elif is_stopped:
            await self._records.settle(account_id, answer.id, answer.conversation, State("stopped"))
        elif answer.state is not None and answer.state.state == "running":
            # Begun by this node, which has lost all memory of it.
            lost = State("interrupted", Code.NODE_RESTARTED)
            await self._records.settle(account_id, answer.id, answer.conversation, lost)
        elif is_runnable(messages, answer):
            await self._start_from_log(account_id, messages, answer)

    async def _start_from_log(self, account_id: bytes, messages: Messages, answer: Message) -> None:
        path = path_to(messages, answer.header.parent)
        # An answer stopped before its first word says nothing to the model; a question without text has not
        # arrived yet.
        said = [message for message in path or [] if message.body or message.header.role != "assistant"]
        if answer.request is None or not said or not all(message.body for message in said):
            return
        start = StartAnswer(
            answer=answer.id,
            conversation=answer.conversation,
            request=answer.request,
            path=[PathMessage(message.header.role, message.body) for message in said],
        )
        try:
            await self._runs.start(account_id, start)
        except DomovoiError as error:
            # It stays in the log, and the end of any run has the account looked at again.
            if error.code is not Code.ENGINE_BUSY:
                raise


def _open_answers(connection: Connection, account_id: bytes) -> list[tuple[bytes, Messages, bool]]:
    """Return the open requests with the messages of their conversations, and whether those are deleted."""
    conversations: dict[bytes, tuple[Messages, bool]] = {}
    found = []
    for request in replica.open_requests(connection, account_id):
        scope = request.conversation_id
        if scope not in conversations:
            conversations[scope] = _conversation(connection, account_id, scope)
        found.append((request.answer_id, *conversations[scope]))
    return found


def _conversation(connection: Connection, account_id: bytes, conversation_id: bytes) -> tuple[Messages, bool]:
    return (
        replica.conversation(connection, account_id, conversation_id),
        replica.is_conversation_deleted(connection, account_id, conversation_id),
    )


def _is_stopped(messages: Messages, answer: Message, is_conversation_deleted: bool) -> bool:
    """Say whether the answer is not wanted any more (Q6)."""
    path = path_to(messages, answer.id) or [answer]
    return answer.stop or is_conversation_deleted or any(message.deleted for message in path)


def _is_parent_unfinished(messages: Messages, answer: Message) -> bool:
    """Say whether the answer before this one is known to have gone wrong (Q3)."""
    path = path_to(messages, answer.header.parent) or []
    before = [message for message in path if message.header.role == "assistant"]
    state = before[-1].state if before else None
    return state is not None and state.state in {"failed", "interrupted"}
