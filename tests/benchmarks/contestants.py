"""Who is measured: accel's engine through its Python door, and llama.cpp in the wheel that is its peer."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import xllamacpp  # type: ignore[import-untyped]

from inference_node.accelerator import accel
from inference_node.engines import llama_cpp
from inference_node.engines.engine import EngineOptions


class Timing(NamedTuple):
    """When each piece of an answer came, in seconds since it was asked for, and its tokens."""

    pieces_s: list[float]
    prompt_tokens: int
    tokens: int

    @property
    def first_ms(self) -> float:
        """Milliseconds to the first text."""
        return 1000 * self.pieces_s[0]

    @property
    def writing(self) -> float:
        """Tokens a second after the first."""
        return (self.tokens - 1) / (self.pieces_s[-1] - self.pieces_s[0])

    @property
    def reading(self) -> float:
        """Tokens of the prompt a second, up to the first of the answer."""
        return self.prompt_tokens / self.pieces_s[0]


class Native:
    """Ours."""

    def __init__(self, model: str, **options: Any) -> None:
        assert accel is not None
        began = time.perf_counter()
        self._engine = accel.Engine(model, msgspec.json.encode({"context": 4096} | options), None)
        self.load_s = time.perf_counter() - began
        self.threads: int = msgspec.json.decode(self._engine.description)["threads"]
        self.instructions: str = msgspec.json.decode(self._engine.description)["instructions"]
        self.said = ""

    def __call__(self, request: dict[str, Any], tokens: int, *, speculate: bool = False) -> Timing:
        sampling = {"temperature": 0.0, "max_tokens": tokens}
        asked = {"speculate": speculate, "sampling": sampling} | request
        began = time.perf_counter()
        generation = self._engine.start(msgspec.json.encode(asked))
        pieces_s: list[float] = []
        said = ""
        while (data := generation.next(60.0, 0.0)) != b"[]":
            for event in msgspec.json.decode(data or b"[]"):
                if event["type"] == "piece":
                    pieces_s.append(time.perf_counter() - began)
                    said += event["text"]
                elif event["type"] == "finished":
                    last = event
        self.said = said
        # An answer of one token may have no text of its own.
        return Timing(pieces_s or [time.perf_counter() - began], last["prompt_tokens"], last["completion_tokens"])

    def together(self, requests: list[dict[str, Any]], tokens: int) -> float:
        """Return the tokens a second of several answers at once, all together, reading of the prompts included."""
        began = time.perf_counter()
        with ThreadPoolExecutor(len(requests)) as threads:
            timings = list(threads.map(lambda request: self(request, tokens), requests))
        return sum(timing.tokens for timing in timings) / (time.perf_counter() - began)

    def close(self) -> None:
        self._engine.close()


class LlamaCpp:
    """The peer, with the parameters that the node gives it."""

    def __init__(self, model: str, threads: int | None = None) -> None:
        options = EngineOptions(context=4096, slots=1)
        plan = llama_cpp.plan_for(llama_cpp.header_of(Path(model)), options)
        plan = msgspec.structs.replace(plan, threads=threads or plan.threads)
        self.threads = plan.threads
        with tempfile.TemporaryDirectory() as folder:
            self._server = xllamacpp.Server(llama_cpp.parameters_for(model, f"{folder}/engine.sock", plan, options))

    def __call__(self, request: dict[str, Any], tokens: int) -> Timing:
        asked = {"temperature": 0.0, "max_tokens": tokens, "stream": True, "cache_prompt": False}
        asked |= {"stream_options": {"include_usage": True}} | request
        handle = self._server.handle_chat_completions
        if "text" in request:
            asked["prompt"] = asked.pop("text")
            handle = self._server.handle_completions
        pieces_s: list[float] = []
        usage: dict[str, int] = {}
        began = time.perf_counter()

        def on_chunk(data: bytes) -> bool:
            chunk = msgspec.json.decode(data)
            if any(choice.get("text") or choice.get("delta", {}).get("content") for choice in chunk["choices"]):
                pieces_s.append(time.perf_counter() - began)
            usage.update(chunk.get("usage") or {})
            return False

        handle(msgspec.json.encode(asked), on_chunk)
        return Timing(pieces_s or [time.perf_counter() - began], usage["prompt_tokens"], usage["completion_tokens"])
