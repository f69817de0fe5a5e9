"""Which engines this node has, and whether each can run here."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from msgspec import Struct

from inference_node import accelerator
from inference_node.engines.chain import IN_ACCEL
from inference_node.engines.process import ENGINES

# Whose version is the engine's.
_PACKAGES = {"llama_cpp": "xllamacpp", "native": "domovoi-accel"}
# Importing a large library from a slow disk takes a while.
TRY_WITHIN_S = 60.0


class EngineReport(Struct, frozen=True):
    """An engine; `problem` says why it can't be used here, and is empty when it can."""

    name: str
    version: str
    order: int
    problem: str = ""


async def examine_all() -> list[EngineReport]:
    """Return every engine, preferred ones first. Each is tried in a process of its own, as native code may crash."""
    reports = await asyncio.gather(*(_examine(name, module) for name, (module, _) in ENGINES.items()))
    return sorted(reports, key=lambda report: report.order)


def order_of(name: str) -> int:
    """Return an engine's rank, 0 for the one that is tried first."""
    return list(ENGINES).index(name)


def version_of(name: str) -> str:
    """Return the version of an engine, "" for one that is not installed."""
    try:
        return version(_PACKAGES.get(name, "domovoi"))
    except PackageNotFoundError:
        return ""


async def _examine(name: str, module: str) -> EngineReport:
    if find_spec(module) is None:
        problem = "It is not part of this installation."
    elif name in IN_ACCEL and not accelerator.accelerated:
        problem = "accel is not built here. With a Rust toolchain: make accel."
    else:
        problem = await _trial(module)
    return EngineReport(name, version_of(name), order_of(name), problem)


async def _trial(module: str) -> str:
    """Import the engine in another process; return what went wrong, or ""."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"import {module}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        async with asyncio.timeout(TRY_WITHIN_S):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"It did not start within {TRY_WITHIN_S:g} s."
    if process.returncode == 0:
        return ""
    if process.returncode == -getattr(signal, "SIGILL", 0):
        return "It is built for a newer processor than this one."
    last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
    return f"It does not start: {last[0]}"
