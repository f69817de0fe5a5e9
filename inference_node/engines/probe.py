"""Whether an engine really generates: one token, asked as anybody would ask."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from inference_node.engines.engine import ChatMessage, Finished, Prompt
from shared.errors import Code, DomovoiError
from shared.values import Sampling

if TYPE_CHECKING:
    from inference_node.engines.engine import Engine, LoadedModel

# An owner that no account and no key can have.
OWNER = "(probe)"
PROMPT = Prompt([ChatMessage("user", "Hi")], Sampling(max_tokens=1, temperature=0.0), owner=OWNER)
WITHIN_S = 60.0


async def probe(engine: Engine, loaded: LoadedModel, within_s: float = WITHIN_S) -> None:
    """Have the engine make one token. Raises DomovoiError `engine_failed`, or what it fails with."""
    try:
        async with asyncio.timeout(within_s):
            if loaded.can_embed:
                await engine.embed(["Hi"])
                return
            async with aclosing(engine.generate(PROMPT)) as generation:
                async for event in generation:
                    # A model may have nothing to say to this; then it has ended its answer by a token.
                    if isinstance(event, Finished) and event.reason != "stopped":
                        return
    except TimeoutError:
        raise DomovoiError(Code.ENGINE_FAILED, f"The engine made no token within {within_s:g} s.") from None
    raise DomovoiError(Code.ENGINE_FAILED, "The engine ended without an answer.")
