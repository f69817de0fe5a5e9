"""Every target over its corpus, and a short walk from there that is the same each time; `make fuzz` goes on from it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.effort import SLOW
from tests.fuzz.__main__ import INTO
from tests.fuzz.targets import CORPUS, TARGETS, corpus
from tests.structure.tracked import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# About a second each; a push asks a server and its database.
RUNS = {"tokens": 2000, "pushes": 200, "archives": 500, "gguf_files": 2000, "frames": 2000}
TIMES = 10 if SLOW else 1


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_surprises_a_target(name: str, tmp_path: Path) -> None:
    assert corpus(name), "there is something to begin with"
    if importlib.util.find_spec("atheris") is None:
        # No wheel for this Python or system: without its guidance the walk is not worth its time.
        target = importlib.import_module(f"tests.fuzz.{name}").make()
        for file in corpus(name):
            target(file.read_bytes())
        pytest.skip("atheris is not installed here: only the corpus was tried")
    options = [f"-runs={RUNS[name] * TIMES}", "-seed=8460"]
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, *options],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, INTO: str(tmp_path / name)},
        timeout=250,
    )
    assert run.returncode == 0, run.stderr[-4000:]


def test_the_corpus_is_small() -> None:
    assert sum(file.stat().st_size for file in CORPUS.rglob("*") if file.is_file()) < 400_000
