"""The NEON kernels, which no x86 processor has: cross-compiled, and run by QEMU."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.accel import reference
from tests.accel.test_model import RECORDED
from tests.effort import SLOW

ACCEL = Path(__file__).parents[2] / "accel"
TARGET = "aarch64-unknown-linux-gnu"
LINKER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
LIBRARIES = "/usr/aarch64-linux-gnu"
TOKENS = 24

pytestmark = [
    pytest.mark.skipif(not SLOW, reason="a slow test: DOMOVOI_SLOW_TESTS=1"),
    # Compiles everything for another processor.
    pytest.mark.timeout(1800),
]


def missing() -> str:
    """Return what must be installed, or nothing."""
    if shutil.which("cargo") is None:
        return "Rust (cargo)"
    tools = {LINKER: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross", EMULATOR: "qemu-user"}
    packages = [package for program, package in tools.items() if shutil.which(program) is None]
    if packages:
        return f"Debian's {' '.join(packages)}"
    folder = subprocess.run(
        ["rustc", "--print", "target-libdir", "--target", TARGET], check=True, capture_output=True, text=True
    ).stdout.strip()
    return "" if Path(folder).is_dir() else f"rustup target add {TARGET}"


@pytest.fixture(autouse=True)
def _tools() -> None:
    if what := missing():
        pytest.skip(f"NEON KERNELS ARE NOT TESTED; install {what}")


def cargo(*arguments: str, told: str = "") -> str:
    """Run cargo for the other processor and return what the program said."""
    name = TARGET.upper().replace("-", "_")
    environment = os.environ | {
        f"CARGO_TARGET_{name}_LINKER": LINKER,
        f"CARGO_TARGET_{name}_RUNNER": f"{EMULATOR} -L {LIBRARIES}",
    }
    command = ["cargo", arguments[0], "--quiet", "--no-default-features", "--target", TARGET, *arguments[1:]]
    done = subprocess.run(command, cwd=ACCEL, env=environment, input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kernels_and_models_pass_their_tests_with_neon() -> None:
    said = cargo("test", "--lib", "--", "kernels", "model", "--show-output")
    assert "test result: ok" in said
    assert "NOT TESTED on this processor: avx2" in said
    assert "NOT TESTED on this processor: neon" not in said


def test_the_default_model_says_the_same_bits_with_neon(default_test_model: Path) -> None:
    recorded = reference.read(RECORDED)
    tokens = " ".join(map(str, [*recorded.prompt, *recorded.tokens][:TOKENS]))
    ours = subprocess.run(
        ["cargo", "run", "--quiet", "--no-default-features", "--example", "score", str(default_test_model)],
        cwd=ACCEL,
        input=tokens,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    theirs = cargo("run", "--example", "score", str(default_test_model), "1", "neon", told=tokens)
    assert len(theirs.split()) == TOKENS - 1
    assert theirs == ours
