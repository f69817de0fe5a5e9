"""accel's engine with a real model, which stands still where the question of a chaos run says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from inference_node.engines.engine import ChatMessage, Piece
from inference_node.engines.native import Native
from tests.chaos.engine import Stage
from tests.chaos.script import script_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference_node.engines.engine import EngineEvent, Prompt

QUESTION = "Tell me a story about a house spirit."


class Thinker(Native):
    """The engine, in the process of its own that the node gives it."""

    def generate(self, prompt: Prompt, report: Callable[[EngineEvent], None], is_stopped: Callable[[], bool]) -> None:
        """Answer a chaos run's question with as many tokens as it asks for words, and anything else as ever."""
        script = script_of(prompt.messages[-1].content) if prompt.messages else None
        if script is None:
            super().generate(prompt, report, is_stopped)
            return
        stage, said = Stage(script, is_stopped), 0

        def staged(event: EngineEvent) -> None:
            nonlocal said
            if isinstance(event, Piece):
                stage.stand(said)
                said += event.count
            report(event)

        sampling = structs.replace(prompt.sampling, max_tokens=script.words)
        question = structs.replace(prompt, messages=[ChatMessage("user", QUESTION)], sampling=sampling)
        super().generate(question, staged, is_stopped)
        stage.leave()
