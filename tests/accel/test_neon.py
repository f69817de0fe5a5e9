"""The kernels for ARM, cross-compiled and run by qemu: Rust's own tests, on a processor that this machine has not."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.effort import SLOW
from tests.structure.tracked import ROOT

TARGET = "aarch64-unknown-linux-gnu"
LINKER = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"
SETTING = f"CARGO_TARGET_{TARGET.upper().replace('-', '_')}"


def has_target() -> bool:
    """Say whether Rust's standard library for ARM is here."""
    if shutil.which("rustc") is None:
        return False
    command = ("rustc", "--print", "target-libdir", "--target", TARGET)
    return os.path.isdir(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


@pytest.mark.skipif(not SLOW, reason="takes four minutes")
@pytest.mark.skipif(
    shutil.which(EMULATOR) is None or shutil.which(LINKER) is None or not has_target(),
    reason=f"needs qemu-user, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, and: rustup target add {TARGET}",
)
@pytest.mark.timeout(1800)
def test_what_rust_tests_holds_on_arm() -> None:
    settings = {f"{SETTING}_LINKER": LINKER, f"{SETTING}_RUNNER": f"{EMULATOR} -L /usr/aarch64-linux-gnu"}
    command = ("cargo", "test", "--quiet", "--no-default-features", "--lib", "--target", TARGET)
    done = subprocess.run(
        command, cwd=ROOT / "accel", env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test result: ok" in done.stdout
