"""An engine that says what a test tells it to. For tests alone: the product has no such thing."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from inference_node.engines import probe
from inference_node.engines.engine import (
    DEFAULT_OPTIONS,
    Alternative,
    Embeddings,
    EngineEvent,
    EngineOptions,
    Finished,
    LoadedModel,
    LoadProgress,
    Piece,
    Prompt,
    PromptTooLong,
    Pulse,
    Reading,
    Token,
    ToolCallPiece,
)
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

# Of the event loop, from the wish that a process ends to its end.
TURNS_TO_END = 20

Line = str | ToolCallPiece | DomovoiError | None


class Script:
    """What the engines of one node do; every engine that the node makes follows the same script.

    A token is a word. Without `held`, an engine answers at once with `answer`; with it, only what `say` gives.
    """

    def __init__(self, *, context: int = 100, answer: str = "Yes, indeed.", slots: int = 1) -> None:
        self.context = context
        self.answer = answer
        self.slots = slots
        self.held = False
        self.can_embed = False
        self.prompts: list[Prompt] = []
        self.loads: list[Path] = []
        self.options: list[EngineOptions] = []
        # All that were made, with the names that they were asked for by.
        self.engines: list[tuple[str, ScriptedEngine]] = []
        self.load_failures: list[DomovoiError] = []
        # Models of which there ever were two processes at once.
        self.doubled: list[Path] = []
        # Cleared, it keeps what is being loaded on its way.
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.generating = asyncio.Event()
        # In the order in which they began.
        self.running: list[ScriptedGeneration] = []
        self.most_busy = 0
        # What engines tell of their silence, and whether they say nothing even to a probe.
        self.silent_s = 0.0
        self.is_mute = False
        self.lines: deque[Line] = deque()
        self.news = asyncio.Event()

    def make_engine(self, name: str = "scripted") -> ScriptedEngine:
        """Return an engine that follows this script, whatever it is to be called."""
        engine = ScriptedEngine(self)
        self.engines.append((name, engine))
        return engine

    def say(self, *lines: str | ToolCallPiece) -> None:
        """Have whichever generation is first to listen say this."""
        self.lines.extend(lines)
        self.tell()

    def finish(self) -> None:
        """Have a generation end."""
        self.lines.append(None)
        self.tell()

    def crash(self) -> None:
        """Have a generation fail."""
        self.lines.append(DomovoiError(Code.ENGINE_FAILED))
        self.tell()

    def tell(self) -> None:
        """Wake the generations: there is something to say, or one is stopped."""
        news, self.news = self.news, asyncio.Event()
        news.set()

    @property
    def busy(self) -> int:
        """How many generations are under way."""
        return len(self.running)


class ScriptedEngine:
    """One engine over the script."""

    name = "scripted"

    def __init__(self, script: Script) -> None:
        self.script = script
        self.is_loaded = False
        self.is_dead = False
        # Whose process there is, from the moment it is started until it is seen to be gone.
        self.process_of: Path | None = None
        # What each owner has been asked, as (owner, first message or text).
        self.seen: set[tuple[str, str]] = set()

    async def load(
        self,
        model: Path,
        options: EngineOptions = DEFAULT_OPTIONS,
    ) -> AsyncGenerator[LoadProgress | LoadedModel, None]:
        self.script.loads.append(model)
        self.script.options.append(options)
        if any(engine.process_of == model for _, engine in self.script.engines):
            self.script.doubled.append(model)
        self.process_of = model
        if self.script.load_failures:
            raise self.script.load_failures.pop(0)
        content = model.read_bytes()  # noqa: ASYNC240  # a few bytes, but for the contract's model
        if content[:4] != b"GGUF":
            raise DomovoiError(Code.MODEL_DAMAGED)
        yield LoadProgress(0, len(content))
        await self.script.may_load.wait()
        yield LoadProgress(len(content), len(content))
        self.is_loaded = True
        yield LoadedModel(self.script.context, self.script.slots, self.script.can_embed)

    def generate(self, prompt: Prompt) -> ScriptedGeneration:
        return ScriptedGeneration(self, prompt)

    async def embed(self, texts: list[str]) -> Embeddings:
        """A text's vector is its length and 1/3."""
        if not self.script.can_embed:
            raise DomovoiError(Code.UNSUPPORTED)
        return Embeddings([[float(len(text)), 1 / 3] for text in texts], sum(len(text.split()) for text in texts))

    def pulse(self) -> Pulse:
        return Pulse(self.is_loaded and not self.is_dead, self.script.silent_s)

    async def unload(self) -> None:
        self.is_loaded = False
        # A process takes a while to end.
        for _ in range(TURNS_TO_END):
            await asyncio.sleep(0)
        self.process_of = None


class ScriptedGeneration:
    """One answer over the script. `say` and `finish` are for it alone."""

    def __init__(self, engine: ScriptedEngine, prompt: Prompt) -> None:
        self.prompt = prompt
        self._engine = engine
        self._script = engine.script
        self._lines: deque[Line] = deque()
        self._is_stopped = False
        self._events = self._generate()

    def say(self, *texts: str) -> None:
        self._lines.extend(texts)
        self._script.tell()

    def finish(self) -> None:
        self._lines.append(None)
        self._script.tell()

    def __aiter__(self) -> ScriptedGeneration:
        return self

    async def __anext__(self) -> EngineEvent:
        return await anext(self._events)

    def stop(self) -> None:
        self._is_stopped = True
        self._script.tell()

    async def aclose(self) -> None:
        self.stop()
        await self._events.aclose()

    async def _generate(self) -> AsyncGenerator[EngineEvent, None]:
        script, prompt = self._script, self.prompt
        if not self._engine.is_loaded:
            raise DomovoiError(Code.ENGINE_FAILED)
        if prompt.owner == probe.OWNER:
            if script.is_mute:
                await asyncio.Event().wait()
            yield Finished("length", 2, 1)
            return
        _json_of(prompt.tools)
        schema = _json_of(prompt.schema)
        texts = [prompt.text] if prompt.text is not None else [message.content for message in prompt.messages]
        tokens = sum(len(text.split()) + 1 for text in texts) + len((prompt.tools or "").split())
        if tokens > script.context - prompt.room:
            raise PromptTooLong(tokens)
        script.prompts.append(prompt)
        script.running.append(self)
        script.most_busy = max(script.most_busy, script.busy)
        script.generating.set()
        start = (prompt.owner, texts[0])
        cached = tokens - 1 if start in self._engine.seen else 0
        self._engine.seen.add(start)
        try:
            yield Reading(tokens, tokens)
            if schema is not None:
                yield Piece(msgspec.json.encode(_instance_of(schema)).decode())
                yield Finished("end", tokens, 1, cached)
                return
            async for event in self._speak(tokens, cached):
                yield event
        finally:
            script.running.remove(self)
            if not script.running:
                script.generating.clear()

    async def _speak(self, tokens: int, cached: int) -> AsyncGenerator[EngineEvent, None]:
        prompt, context = self.prompt, self._script.context
        most = min(prompt.sampling.max_tokens or context, context - tokens)
        said = 0
        lines = self._held_lines() if self._script.held else self._own_lines()
        async for line in lines:
            if line is None or line in prompt.stop:
                yield Finished("stopped" if self._is_stopped else "end", tokens, said, cached)
                return
            said += 1
            if isinstance(line, ToolCallPiece):
                yield line
                continue
            yield Piece(line, tokens=_tokens(line, prompt.logprobs))
            if said >= most:
                break
        yield Finished("length" if said >= most else "end", tokens, said, cached)

    async def _own_lines(self) -> AsyncGenerator[str | ToolCallPiece | None, None]:
        words = self._script.answer.split(" ")
        for n, word in enumerate(words):
            await asyncio.sleep(0)
            if self._is_stopped:
                yield None
            yield word if n == len(words) - 1 else f"{word} "

    async def _held_lines(self) -> AsyncGenerator[str | ToolCallPiece | None, None]:
        while True:
            news = self._script.news
            lines = self._lines or self._script.lines
            if lines:
                line = lines.popleft()
                if isinstance(line, DomovoiError):
                    raise line
                yield line
            elif self._is_stopped:
                yield None
            else:
                await news.wait()


def _json_of(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise DomovoiError(Code.BAD_REQUEST, str(error)) from error


def _instance_of(schema: Any) -> Any:
    """Return a value for the simple schemas of tests: the last one where there are several."""
    if not isinstance(schema, dict) or not isinstance(schema.get("properties", {}), dict):
        raise DomovoiError(Code.BAD_REQUEST, "That is no schema.")
    if "anyOf" in schema:
        return _instance_of(schema["anyOf"][-1])
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if schema.get("type") == "string":
        return "word"
    return {name: _instance_of(member) for name, member in schema.get("properties", {}).items()}


def _tokens(text: str, alternatives: int | None) -> list[Token]:
    if alternatives is None:
        return []
    likely = [Alternative(text, text.encode(), -0.5), *(Alternative(f"{n}", b"%d" % n, -2.0) for n in range(19))]
    return [Token(text, text.encode(), -0.5, likely[:alternatives])]
