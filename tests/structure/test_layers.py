"""The layout shows the architecture; this holds it there."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = {"shared", "sync_server", "inference_node", "deploy", "accel"}
MAY_IMPORT = {
    "shared": {"shared"},
    "sync_server": {"sync_server", "shared"},
    "inference_node": {"inference_node", "shared"},
    "deploy": {"deploy", "inference_node", "sync_server", "shared"},
}
ACCELERATOR_DOOR = "inference_node/accelerator.py"
TOP_LEVEL = {
    *("pwa", "sync_server", "inference_node", "accel", "shared", "deploy", "tests", "docs"),
    *("README.md", "ARCHITECTURE.md", "LICENSE", "CHANGELOG.md", "Makefile", "pyproject.toml", "uv.lock"),
}
APP_LAYERS = ["protocol", "local", "sync", "stores", "composables", "components", "views"]
SOURCES = {".py", ".ts", ".vue", ".rs", ".css"}
LONGEST_FILE = 400
GENERATED = {"pwa/src/protocol/generated.ts"}


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).exists()]


def python_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_a_python_part_imports_only_what_it_may(part: str) -> None:
    for path in (ROOT / part).rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        allowed = MAY_IMPORT[part] | ({"accel"} if name == ACCELERATOR_DOOR else set())
        assert python_imports(path) & PARTS <= allowed, name


def test_app_layers_import_downwards_only() -> None:
    source = ROOT / "pwa" / "src"
    for path in [*source.rglob("*.ts"), *source.rglob("*.vue")]:
        layer = path.relative_to(source).parts[0]
        if layer not in APP_LAYERS:
            continue
        for target in re.findall(r"""from ['"]((?:@/|\.)[^'"]+)['"]""", path.read_text("utf-8")):
            resolved = source / target[2:] if target.startswith("@/") else (path.parent / target).resolve()
            imported = resolved.relative_to(source).parts[0]
            if imported in APP_LAYERS:
                assert rank(imported) <= rank(layer), f"{path.relative_to(ROOT)} imports {target}"


def rank(layer: str) -> int:
    # Stores and composables are one layer, as are components and views.
    return {"stores": 3, "composables": 3, "components": 4, "views": 4}.get(layer, APP_LAYERS.index(layer))


def test_components_know_the_composables_and_nothing_below() -> None:
    source = ROOT / "pwa" / "src"
    below = re.compile(r"""from ['"](?:@/|\.\./)+(?:protocol|local|sync|stores)/""")
    for folder in ("components", "views"):
        for path in (source / folder).rglob("*.*"):
            assert not below.search(path.read_text("utf-8")), path.relative_to(ROOT)


def test_the_top_level_is_the_architecture() -> None:
    top = {name.partition("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_files_fit_in_a_head() -> None:
    long = {
        name: lines
        for name in tracked()
        if Path(name).suffix in SOURCES and name not in GENERATED
        if (lines := len((ROOT / name).read_text("utf-8").splitlines())) > LONGEST_FILE
    }
    assert long == {}


def test_no_machine_paths_or_private_registries_are_tracked() -> None:
    private = re.compile(rb"/work/(?:main|shared|wt-)|/root/\.|/home/[a-z]+/|_authToken|BEGIN [A-Z ]*PRIVATE KEY")
    hosts = re.compile(rb"https?://([a-z0-9.-]+)")
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if name != "tests/structure/test_layers.py":
            assert not private.search(content), name
        if Path(name).name in {"uv.lock", "package-lock.json", "Cargo.lock"}:
            known = {b"pypi.org", b"files.pythonhosted.org", b"registry.npmjs.org"}
            registries = {host for host in hosts.findall(content) if b"npm" in host or b"py" in host}
            assert registries <= known, name
