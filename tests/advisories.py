"""`make check`: asks whether anything that is locked has a published hole. Says so where nobody can be asked.

Each ecosystem has its own auditor, which needs its advisories from the network: pip-audit (Python), npm audit (the app;
what is built into it, not what builds it) and cargo-deny (Rust, where it is installed).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv") or str(ROOT / ".cache" / "tools" / "bin" / "uv")
WITHIN_S = 180


class Audit(NamedTuple):
    """What an auditor said: the holes it found, or why it could not look."""

    holes: list[str]
    skipped: str | None = None


def read_python(text: str) -> Audit:
    """Read pip-audit's JSON. An index that knows no advisories knows none of the packages either."""
    packages = _json(text, "dependencies")
    if packages is None:
        return Audit([], "pip-audit could not reach the advisories")
    looked_at = [package for package in packages if "skip_reason" not in package]
    if not looked_at:
        return Audit([], "the package index has no advisories")
    return Audit([f"{one['name']} {one['version']}: {hole['id']}" for one in looked_at for hole in one["vulns"]])


def read_app(text: str) -> Audit:
    """Read npm's JSON."""
    found = _json(text, "vulnerabilities")
    if found is None:
        return Audit([], "the npm registry has no advisories")
    return Audit([f"{name}: {found[name]['severity']}" for name in sorted(found)])


def read_rust(code: int, text: str) -> Audit:
    """Read what cargo-deny wrote, a line of JSON for each thing it has to say."""
    said = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    errors = [one["fields"] for one in said if one.get("fields", {}).get("severity") == "error"]
    holes = [str(error["message"]) for error in errors if error.get("code") in {"vulnerability", "unsound", "yanked"}]
    if code != 0 and not holes:
        return Audit([], "cargo-deny could not reach the advisories")
    return Audit(holes)


def main() -> int:
    """Return 1 if something has a hole."""
    code = 0
    for what, audit in (("Python", _python()), ("the app", _app()), ("Rust", _rust())):
        for hole in audit.holes:
            sys.stdout.write(f"{what}: {hole}\n")
            code = 1
        if audit.skipped is not None:
            sys.stdout.write(f"{what}: not looked at, {audit.skipped}\n")
    return code


def _python() -> Audit:
    with tempfile.TemporaryDirectory() as folder:
        locked = Path(folder) / "requirements.txt"
        groups = ("--all-groups", "--no-emit-workspace", "--quiet", "--output-file", str(locked))
        if _run(ROOT, UV, "export", "--frozen", *groups).returncode != 0:
            return Audit([], "uv could not say what is locked")
        options = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off")
        return read_python(_run(ROOT, UV, "tool", "run", "pip-audit", "-r", str(locked), *options).stdout)


def _app() -> Audit:
    return read_app(_run(ROOT / "pwa", "npm", "audit", "--json", "--omit=dev").stdout)


def _rust() -> Audit:
    if _run(ROOT, "cargo", "deny", "--version").returncode != 0:
        return Audit([], "cargo-deny is not installed")
    ran = _run(ROOT / "accel", "cargo", "deny", "--format", "json", "check", "advisories")
    return read_rust(ran.returncode, ran.stderr)


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _json(text: str, member: str) -> Any:
    try:
        return json.loads(text)[member]
    except (ValueError, KeyError, TypeError):
        return None


if __name__ == "__main__":
    sys.exit(main())
