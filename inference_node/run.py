"""One run: what was asked, what came, and how it ended (rules S1-S5)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from inference_node.engine import Begun, Finished, Piece, Prompt
from inference_node.replay import Replay, TextEvents
from shared.errors import Code, DomovoiError
from shared.limits import MAX_MESSAGE_CHARACTERS
from shared.runs import Ended, Started, Text
from shared.values import Sampling, State

if TYPE_CHECKING:
    from inference_node.engine_keeper import EngineKeeper
    from inference_node.models import Model
    from inference_node.turns import Turn
    from shared.change import Change
    from shared.wire import StartAnswer


class Run:
    """A generation of one answer. `state` is that of `shared.values.State`, final once it has ended."""

    def __init__(self, account_id: bytes, start: StartAnswer, turn: Turn, accepted_ms: int) -> None:
        self.account_id = account_id
        self.answer_id = start.answer
        self.conversation_id = start.conversation
        self.request = start.request
        self.path = start.path
        self.turn = turn
        self.accepted_ms = accepted_ms
        self.state = "queued"
        self.replay = Replay(start.answer)
        self.is_stopping = asyncio.Event()
        self.is_closing = False
        self.is_generating = False
        self.completion_tokens = 0
        self._accepted = time.monotonic()
        self._pieces: list[str] = []
        self._characters = 0
        self._model: str | None = None
        self._engine: str | None = None
        self._begun: Begun | None = None
        self._first_token_ms: int | None = None
        self._enough: asyncio.Task[None] | None = None

    @property
    def body(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    def begin(self, model: str, engine: str) -> State:
        """Note who answers; return the state to write at the claim."""
        self.state = "running"
        self._model, self._engine = model, engine
        return State("running", model=model, engine=engine)

    async def generate(self, keeper: EngineKeeper, model: Model) -> State:
        """Generate to the end and return it. Raises DomovoiError for what prevented the beginning."""
        text = TextEvents(lambda piece: self.replay.append(Text(piece)))
        self.is_generating = True
        reason = "stopped"
        try:
            async for event in keeper.generate(self._prompt(model)):
                match event:
                    case Begun():
                        self._begun = event
                        self.replay.append(Started(model.name, keeper.engine_name, event.dropped_messages))
                    case Piece(piece):
                        text.add(self._take(piece, keeper))
                    case Finished():
                        reason = event.reason
                        self.completion_tokens = event.completion_tokens
        except DomovoiError as error:
            if not self.is_stopping.is_set():
                if error.code is not Code.ENGINE_FAILED or self._begun is None:
                    raise
                return self._ended("interrupted", error.code)
        finally:
            self.is_generating = False
            text.flush()
        if reason == "stopped" and self._enough is None:
            return self.stopped()
        return self._ended("done")

    def stopped(self) -> State:
        """Return the end of a run that was stopped, by a device or because the node stops."""
        return self._ended("interrupted", Code.NODE_RESTARTED) if self.is_closing else self._ended("stopped")

    def failed(self, code: Code) -> State:
        """Return the end of a run that could not begin."""
        return self._ended("failed", code)

    def finish(self, state: State, changes: list[Change]) -> None:
        """Tell the watchers that it is over; the changes are committed."""
        self.state = state.state
        self.replay.append(Ended(state, changes))

    def _prompt(self, model: Model) -> Prompt:
        asked, recommended = self.request.sampling, model.sampling
        merged = {
            name: recommendation if (value := getattr(asked, name)) is None else value
            for name in Sampling.__struct_fields__
            for recommendation in (getattr(recommended, name),)
        }
        return Prompt(self.path, Sampling(**merged))

    def _take(self, piece: str, keeper: EngineKeeper) -> str:
        """Add a piece to the body, which ends at the greatest length of a message; return what was added."""
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        taken = piece[: MAX_MESSAGE_CHARACTERS - self._characters]
        self._pieces.append(taken)
        self._characters += len(taken)
        if self._characters == MAX_MESSAGE_CHARACTERS and self._enough is None:
            self._enough = asyncio.create_task(keeper.stop())
        return taken

    def _ended(self, state: str, code: Code | None = None) -> State:
        begun = self._begun
        return State(
            state=state,  # type: ignore[arg-type]  # one of the literals above
            code=code,
            model=self._model,
            engine=self._engine,
            prompt_tokens=begun.prompt_tokens if begun else None,
            completion_tokens=(self.completion_tokens or len(self._pieces)) if begun else None,
            first_token_ms=self._first_token_ms,
            duration_ms=self._elapsed_ms(),
            dropped_messages=(begun.dropped_messages or None) if begun else None,
        )

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._accepted) * 1000)
