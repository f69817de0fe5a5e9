"""What llama.cpp says about a text, to compare the native engine with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import xllamacpp  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from pathlib import Path


class Reference(NamedTuple):
    """A text and how likely llama.cpp found each token of it after the prompt: natural logarithms."""

    prompt: list[int]
    tokens: list[int]
    log_probabilities: list[float]


def read(path: Path) -> Reference:
    """Return what was said before."""
    return Reference(*json.loads(path.read_text("utf-8")))


def write(path: Path, said: Reference) -> None:
    """Keep what was said, to the fourth decimal."""
    rounded = said._replace(log_probabilities=[round(value, 4) for value in said.log_probabilities])
    path.write_text(json.dumps(rounded) + "\n", "utf-8")


# Keeps every token whole UTF-8: llama.cpp's server tells no probabilities of others. Probabilities are told as they
# were before it.
ASCII = r"root ::= [ -~\n]*"


def sample(path: Path, folder: Path, prompt: list[int], count: int, grammar: str = "") -> Reference:
    """Let llama.cpp say `count` tokens at temperature 1: likely and unlikely ones, as in any text."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    # Its listener can't be turned off; a socket file in a folder of the test is nobody's business.
    parameters.hostnames = [str(folder / "engine.sock")]
    parameters.n_ctx = 2048
    parameters.cache_ram_mib = 0
    parameters.verbosity = 0
    parameters.fit_params = False
    for cpu in (parameters.cpuparams, parameters.cpuparams_batch):
        # Two threads of llama.cpp wait for each other on a busy machine.
        cpu.n_threads = 1
    server = xllamacpp.Server(parameters)
    request = {
        "prompt": prompt,
        "n_predict": count,
        "seed": 7,
        "temperature": 1.0,
        "top_k": 100,
        "top_p": 1.0,
        "min_p": 0.0,
        "n_probs": 1,
        "ignore_eos": True,
        "grammar": grammar,
    }
    answers: list[bytes] = []
    server.handle_completions(json.dumps(request).encode(), answers.append)
    answer = json.loads(answers[0])
    said = answer["choices"][0]["logprobs"]["content"]
    # Tokens that end inside a character are left out of the list; then the rest can't be placed.
    assert len(said) == answer["usage"]["completion_tokens"] == count
    return Reference(prompt, [token["id"] for token in said], [token["logprob"] for token in said])
