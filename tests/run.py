"""`make test`: installs what tests need, runs every step, and ends with a table of them.

Most steps keep one core busy, so two lanes of them run side by side; three took as long, and starved each other. Uses
the standard library alone, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PWA = ROOT / "pwa"
ACCEL = ROOT / "accel"
UV = shutil.which("uv") or str(ROOT / ".cache" / "tools" / "bin" / "uv")
RUN = (UV, "run", "--no-sync")
PYTEST = (*RUN, "python", "-m", "pytest", "-q")
# Of Python's tests, those with a process of their own; the latter run in the lane of the app and of Rust, so that both
# lanes take as long.
APART = {"tests/deploy": "commands", "tests/simulation": "simulation"}
BESIDE = {"tests/security": "security", "tests/end_to_end": "end to end", "tests/network": "network"}
# Debian package → a program it brings.
PACKAGES = {"mariadb-server": "mariadbd", "chromium": "chromium", "nginx-light": "nginx", "iproute2": "ip"}
POLICY = Path("/usr/sbin/policy-rc.d")
CHECK = "check"
TEST = "test"
# Needs the network, and its answer changes by itself: no part of `make test`.
ADVISORIES = "advisories"


@dataclass(frozen=True)
class Step:
    """One command; `kind` is check, test or advisories."""

    name: str
    kind: str
    command: tuple[str, ...]
    folder: Path = ROOT


@dataclass(frozen=True)
class Result:
    """How a step went."""

    name: str
    seconds: float
    code: int


# Steps that follow each other.
Lane = list[Step]


def stages(*, rust: bool) -> list[list[Lane]]:
    """Return what runs one after the other: each stage is lanes that run side by side, fastest to fail first."""
    prepare = [
        Step("packages", TEST, ()),
        Step("install", TEST, ("make", "python-tests", "pwa/node_modules/.package-lock.json")),
        # Builds it, or says that there is no toolchain.
        Step("accel", TEST, ("make", "accel")),
    ]
    python = [
        Step("format", CHECK, (*RUN, "ruff", "format", "--check", "--quiet", ".")),
        Step("lint", CHECK, (*RUN, "ruff", "check", "--quiet", ".")),
        Step("lock files", CHECK, (UV, "lock", "--check", "--quiet")),
        Step("generated files", CHECK, (*RUN, "python", "-m", "shared.generate", "--check")),
        Step("types", CHECK, (*RUN, "mypy")),
        Step("python tests", TEST, (*PYTEST, *(f"--ignore={folder}" for folder in (*APART, *BESIDE)))),
        *_pytests(APART),
        Step("advisories", ADVISORIES, (*RUN, "python", "-m", "tests.advisories")),
    ]
    rust_steps = [
        Step("rust format", CHECK, ("cargo", "fmt", "--check"), ACCEL),
        Step("rust lint", CHECK, ("cargo", "clippy", "--quiet", "--all-targets", "--", "-D", "warnings"), ACCEL),
        # Without the Python side: a test program would need a libpython to link to.
        Step("rust tests", TEST, ("cargo", "test", "--quiet", "--no-default-features"), ACCEL),
        Step("rust stubs", CHECK, (*RUN, "python", "-m", "mypy.stubtest", "accel")),
    ]
    app = [
        Step("app checks", CHECK, ("npm", "run", "--silent", "check"), PWA),
        Step("app tests", TEST, ("npm", "run", "--silent", "test"), PWA),
        Step("app build", TEST, ("make", "pwa/dist/index.html")),
    ]
    return [[prepare], [python, [*app, *(rust_steps if rust else []), *_pytests(BESIDE)]]]


def _pytests(suites: dict[str, str]) -> Lane:
    return [Step(name, TEST, (*PYTEST, folder)) for folder, name in suites.items()]


def main() -> int:
    """Run the steps and return 1 if one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true", help="the slow suites too")
    parser.add_argument("--only", choices=[CHECK, TEST], help="one kind of steps")
    parser.add_argument("--rust", action="store_true", help="there is a Rust toolchain for accel")
    options = parser.parse_args()
    environment = _environment() | ({"DOMOVOI_SLOW_TESTS": "1"} if options.all else {})
    started = time.monotonic()
    results: list[Result] = []
    for number, stage in enumerate(stages(rust=options.rust)):
        kinds = {None: (CHECK, TEST), CHECK: (CHECK, ADVISORIES), TEST: (TEST,)}[options.only]
        lanes = [[step for step in lane if step.kind in kinds] for lane in stage]
        with ThreadPoolExecutor(len(lanes)) as threads:
            for lane in threads.map(lambda lane: [_run(step, environment) for step in lane], lanes):
                results += lane
        if number == 0 and any(result.code for result in results):
            break
    return _report(results, time.monotonic() - started)


def _environment() -> dict[str, str]:
    """Return the environment of every step: Python keeps what it compiled, even where it is told not to.

    Tests start some hundreds of processes, and each would compile all it imports anew: a second of a core.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "python")}


def _run(step: Step, environment: dict[str, str]) -> Result:
    """Run one step. Its output is shown when it has ended, for two lanes at once would be unreadable."""
    _say(f"── {step.name} …")
    started = time.monotonic()
    if not step.command:
        code, output = install_packages(), ""
    else:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
            code = subprocess.run(
                step.command, cwd=step.folder, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
            ).returncode
            file.seek(0)
            output = file.read()
    seconds = time.monotonic() - started
    _say(f"── {step.name}: {'ok' if code == 0 else 'FAILED'} after {seconds:.0f} s\n{output}".rstrip())
    return Result(step.name, seconds, code)


def install_packages() -> int:
    """Install Debian's packages for the programs that are missing, where this may; say so where it may not."""
    missing = [package for package, program in PACKAGES.items() if _find(program) is None]
    if not missing:
        return 0
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        _say(
            f"Missing for some tests: {', '.join(missing)}. Install them (Debian: sudo apt-get install "
            f"{' '.join(missing)}); until then those tests are skipped."
        )
        return 0
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing)
    with _no_services_started():
        # The lists of packages are renewed only where the ones at hand do not do.
        for command in (install, ("apt-get", "update", "-qq"), install):
            done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
            if done and command is install:
                return 0
    _say(f"apt-get could not install {', '.join(missing)}; the tests that need them are skipped.")
    return 0


@contextmanager
def _no_services_started() -> Iterator[None]:
    """Keep Debian from starting what it installs (invoke-rc.d's policy layer): tests start servers of their own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", "utf-8")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _find(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _report(results: list[Result], seconds: float) -> int:
    _say("")
    for result in results:
        _say(f"{'ok  ' if result.code == 0 else 'FAIL'} {result.name:<18}{result.seconds:7.1f} s")
    failed = sum(result.code != 0 for result in results)
    _say(f"{seconds:.0f} s in all")
    _say(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
