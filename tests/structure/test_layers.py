"""The layout shows the architecture; this holds it there: who may import whom."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.structure.tracked import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = {"shared", "sync_server", "inference_node", "deploy", "accel", "tests"}
MAY_IMPORT = {
    "shared": {"shared"},
    "sync_server": {"sync_server", "shared"},
    "inference_node": {"inference_node", "shared"},
    "deploy": {"deploy", "inference_node", "sync_server", "shared"},
    "accel/python": {"accel"},
}
ACCELERATOR_DOOR = "inference_node/accelerator.py"

APP = ROOT / "pwa" / "src"
# Each layer imports its own number and lower ones; components go through the composables.
APP_RANKS = {"protocol": 0, "local": 1, "sync": 2, "stores": 3, "composables": 3, "components": 4, "views": 4}
# import … from 'x', export … from 'x', import 'x', import('x')
IMPORT = re.compile(r"""(?:\bfrom|\bimport|\bimport\()\s*['"]((?:@/|\.)[^'"]*)['"]""")


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


def app_imports(*layers: str) -> Iterator[tuple[Path, str, str]]:
    """Yield (file, its layer, imported layer) for what files of these layers import of the app."""
    for layer in layers:
        for path in (APP / layer).rglob("*.*"):
            for target in IMPORT.findall(path.read_text("utf-8")):
                resolved = APP / target[2:] if target.startswith("@/") else (path.parent / target).resolve()
                if resolved.is_relative_to(APP):
                    yield path.relative_to(ROOT), layer, resolved.relative_to(APP).parts[0]


def test_app_layers_import_downwards_only() -> None:
    for path, layer, imported in app_imports(*APP_RANKS):
        assert APP_RANKS.get(imported, 0) <= APP_RANKS[layer], f"{path} imports {imported}"


def test_components_know_the_composables_and_nothing_below() -> None:
    below = {"protocol", "local", "sync", "stores"}
    assert [f"{path} imports {name}" for path, _, name in app_imports("components", "views") if name in below] == []


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("import { a } from '@/local/log'", "@/local/log"),
        ("} from '../sync/http'", "../sync/http"),
        ("export * from './types'", "./types"),
        ("import './style.css'", "./style.css"),
        ('const page = () => import("@/views/ChatView.vue")', "@/views/ChatView.vue"),
    ],
)
def test_every_form_of_import_is_seen(line: str, target: str) -> None:
    assert IMPORT.findall(line) == [target]
