"""What may lie in the repository: the known top level, files of a size to read, nothing of anybody's machine."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from tests.structure.tracked import ROOT, tracked

TOP_LEVEL = {
    *("pwa", "sync_server", "inference_node", "accel", "shared", "deploy", "tests", "docs"),
    *("README.md", "ARCHITECTURE.md", "LICENSE", "CHANGELOG.md", "Makefile", "pyproject.toml", "uv.lock"),
}
SOURCES = {".py", ".pyi", ".ts", ".vue", ".rs", ".css", ".js"}
GENERATED = {"pwa/src/protocol/generated.ts"}
LONGEST_FILE = 400
PRIVATE = re.compile(
    rb"/work/(?:main|shared|wt-)|/root/[.\w]|/home/[a-z]+/|C:\\Users\\|_authToken|BEGIN [A-Z ]*PRIVATE KEY"
    rb"|(?:index-url|find-links|extra-index|registry)\s*=\s*[\"']?https?://(?!pypi\.org/)"
)
# It names what it forbids.
SELF = "tests/structure/test_files.py"


def test_the_top_level_is_the_architecture() -> None:
    top = {name.partition("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_files_fit_in_a_head() -> None:
    sources = [name for name in tracked() if Path(name).suffix in SOURCES and name not in GENERATED]
    lines = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in sources}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_nothing_of_a_machine_is_tracked() -> None:
    found = {name: PRIVATE.search((ROOT / name).read_bytes()) for name in tracked() if name != SELF}
    assert {name: match[0] for name, match in found.items() if match} == {}


def test_the_python_lock_names_pypi_alone() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    registries = {package["source"].get("registry", "https://pypi.org/simple") for package in packages}
    assert registries == {"https://pypi.org/simple"}
    files = [file for package in packages for file in [*package.get("wheels", []), package.get("sdist", {})] if file]
    assert {file["url"].split("/")[2] for file in files} == {"files.pythonhosted.org"}


def test_the_app_lock_names_npm_alone() -> None:
    packages = json.loads((ROOT / "pwa" / "package-lock.json").read_text("utf-8"))["packages"]
    resolved = [package["resolved"] for package in packages.values() if "resolved" in package]
    assert {address.split("/")[2] for address in resolved} <= {"registry.npmjs.org"}
