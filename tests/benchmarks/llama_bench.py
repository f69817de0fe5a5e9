"""llama.cpp as somebody built it on this machine, where its `llama-bench` is on the path."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks.turns import Figure, Turns

if TYPE_CHECKING:
    from tests.benchmarks.contestants import Native

PROGRAM = "llama-bench"
TOKENS = 128


def measure(turns: Turns, engine: Native, model: str, where: str) -> None:
    """Writing and reading, against what `llama-bench` says of itself."""
    story = {"messages": [{"role": "user", "content": "Tell me a long story about a house with a stove."}]}
    for name, asked, ours in (
        ("decode", ["-p", "0", "-n", str(TOKENS)], lambda: engine(story, TOKENS).writing),
        ("prefill", ["-p", "512", "-n", "0"], lambda: engine({"text": " house" * 512}, 1).reading),
    ):
        figure = Figure(f"{name}_tokens_per_second", where, "tok/s", PROGRAM)
        command = [PROGRAM, "-m", model, "-t", str(engine.threads), "-r", "1", "-o", "json", *asked]
        turns.measure(ours, partial(_rate, command), [(figure, float)], 20.0)


def _rate(command: list[str]) -> float:
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(said)[0]["avg_ts"])
