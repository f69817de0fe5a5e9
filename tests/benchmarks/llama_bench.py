"""llama.cpp as somebody built it on this machine, where its `llama-bench` is on the path."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.benchmarks.turns import Figure, Turns

if TYPE_CHECKING:
    from tests.benchmarks.contestants import Native

PROGRAM = "llama-bench"
TOKENS = 128


def measure(turns: Turns, engine: Native, model: str, where: str) -> None:
    """Writing and reading, against what `llama-bench` says of itself."""
    try:
        peer = (
            f"{PROGRAM} {_run([PROGRAM, '-m', model, '-p', '8', '-n', '0', '-r', '1', '-o', 'json'])['build_commit']}"
        )
    except subprocess.CalledProcessError as error:
        # One built for AMX dies where the system does not let programs use it.
        sys.stderr.write(f"{PROGRAM} is left out, for it fails: {error} {error.stderr}\n")
        return
    story = {"messages": [{"role": "user", "content": "Tell me a long story about a house with a stove."}]}
    for name, asked, ours in (
        ("decode", ["-p", "0", "-n", str(TOKENS)], lambda: engine(story, TOKENS).writing),
        ("prefill", ["-p", "512", "-n", "0"], lambda: engine({"text": " house" * 512}, 1).reading),
    ):
        figure = Figure(f"{name}_tokens_per_second", where, "tok/s", peer)
        command = [PROGRAM, "-m", model, "-t", str(engine.threads), "-r", "1", "-o", "json", *asked]
        turns.measure(ours, partial(_rate, command), [(figure, float)], 20.0)


def _rate(command: list[str]) -> float:
    return float(_run(command)["avg_ts"])


def _run(command: list[str]) -> dict[str, Any]:
    """Return what it says of its one measurement. Raises CalledProcessError."""
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    [measured] = json.loads(said)
    return dict(measured)
