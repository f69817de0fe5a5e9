"""`make test`: installs what tests need, runs every step, and ends with a table of them.

Uses the standard library alone, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
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
# Debian package → a program it brings.
PACKAGES = {"mariadb-server": "mariadbd", "chromium": "chromium", "nginx-light": "nginx"}
POLICY = Path("/usr/sbin/policy-rc.d")
CHECK = "check"
TEST = "test"
SLOW = "slow"


@dataclass(frozen=True)
class Step:
    """One command; `kind` is check, test or slow."""

    name: str
    kind: str
    command: tuple[str, ...]
    folder: Path = ROOT


def steps(*, rust: bool) -> list[Step]:
    """Return every step in order: what fails fastest comes first."""
    listed = [
        Step("format", CHECK, (*RUN, "ruff", "format", "--check", "--quiet", ".")),
        Step("lint", CHECK, (*RUN, "ruff", "check", "--quiet", ".")),
        Step("lock files", CHECK, (UV, "lock", "--check", "--quiet")),
        Step("generated files", CHECK, (*RUN, "python", "-m", "shared.generate", "--check")),
        Step("types", CHECK, (*RUN, "mypy")),
    ]
    # Builds it, or says that there is no toolchain.
    listed.append(Step("accel", TEST, ("make", "accel")))
    if rust:
        listed += [
            Step("rust format", CHECK, ("cargo", "fmt", "--check"), ACCEL),
            Step("rust lint", CHECK, ("cargo", "clippy", "--quiet", "--all-targets", "--", "-D", "warnings"), ACCEL),
            # Without the Python side: a test program would need a libpython to link to.
            Step("rust tests", TEST, ("cargo", "test", "--quiet", "--no-default-features"), ACCEL),
            Step("rust stubs", CHECK, (*RUN, "python", "-m", "mypy.stubtest", "accel")),
        ]
    return [
        *listed,
        Step("app checks", CHECK, ("npm", "run", "--silent", "check"), PWA),
        Step("app tests", TEST, ("npm", "run", "--silent", "test"), PWA),
        Step("app build", TEST, ("make", "pwa/dist/index.html")),
        Step("python tests", TEST, (*RUN, "python", "-m", "pytest", "-q", "--ignore=tests/end_to_end")),
        Step("end to end", TEST, (*RUN, "python", "-m", "pytest", "-q", "tests/end_to_end")),
    ]


def main() -> int:
    """Run the steps and return 1 if one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true", help="the slow suites too")
    parser.add_argument("--only", choices=[CHECK, TEST], help="one kind of steps")
    parser.add_argument("--rust", action="store_true", help="there is a Rust toolchain for accel")
    options = parser.parse_args()
    table: list[tuple[str, float, int]] = []
    chosen = [step for step in steps(rust=options.rust) if options.only in (None, step.kind)]
    prepare = [
        Step("packages", TEST, ()),
        Step("install", TEST, ("make", "python-tests", "pwa/node_modules/.package-lock.json")),
    ]
    for step in [*prepare, *chosen] if options.only is None else chosen:
        started = time.monotonic()
        code = _run(step, slow=options.all)
        table.append((step.name, time.monotonic() - started, code))
        if code and step in prepare:
            break
    return _report(table)


def _run(step: Step, *, slow: bool) -> int:
    _say(f"── {step.name}")
    if not step.command:
        return install_packages()
    environment = os.environ | {"DOMOVOI_SLOW_TESTS": "1"} if slow else dict(os.environ)
    return subprocess.run(step.command, cwd=step.folder, env=environment, check=False).returncode


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


def _report(table: list[tuple[str, float, int]]) -> int:
    _say("")
    for name, seconds, code in table:
        _say(f"{'ok  ' if code == 0 else 'FAIL'} {name:<18}{seconds:7.1f} s")
    failed = sum(code != 0 for _, _, code in table)
    _say(f"total {sum(seconds for _, seconds, _ in table):.0f} s")
    _say(f"{len(table) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
