"""A fault in Rust is an exception with a name in Python, and the process goes on."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# In the checkout `accel` alone is found as a namespace package even where nothing was built.
if importlib.util.find_spec("accel._native") is None:
    pytest.skip("accel is not built here: install Rust (cargo), then `make accel`", allow_module_level=True)

# A process for each, as the wish is read once: accel/src/fault.rs.
PROGRAM = """
import sys
import accel

def answer(engine):
    generation = engine.start(b'{"text": "Hi", "sampling": {"max_tokens": 20}}')
    while generation.next(60) != b"[]":
        pass

try:
    engine = accel.Engine(sys.argv[1], b"{}", None)
    answer(engine)
except accel.Failed as error:
    print("failed:", error)
# What failed fails by name for ever; a new one works.
try:
    answer(engine)
    print("it goes on")
except accel.Failed as error:
    print("failed again")
except NameError:
    pass
answer(accel.Engine(sys.argv[1], b"{}", None))
print("a new one answers")
"""


@pytest.mark.parametrize(
    ("place", "after"), [("load 1", []), ("start 1", ["it goes on"]), ("word 3", ["failed again"])]
)
def test_a_panic_is_an_exception(tiny_model: Path, place: str, after: list[str]) -> None:
    environment = os.environ | {"DOMOVOI_ACCEL_PANIC": place}
    command = [sys.executable, "-c", PROGRAM, str(tiny_model)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    said = f"failed: the engine failed: a panic, as asked: {place.split(maxsplit=1)[0]}"
    assert done.stdout.splitlines() == [said, *after, "a new one answers"], done.stderr
    assert done.returncode == 0
