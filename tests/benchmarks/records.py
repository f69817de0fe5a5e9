"""Figures: one record each, printed as a table for people and written as JSON for machines.

A figure without its peer, workload and machine is no figure; every benchmark measures its peer in the same run.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Record:
    """One figure and, where there is one, its peer's in the same run and their ratio (ours to the peer's)."""

    name: str
    workload: str
    value: float
    unit: str
    runs: int
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    machine: str = ""


def machine() -> str:
    """Return the machine in a few words: cores and processor."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text("utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{os.cpu_count()} vCPU {model}"


def report(suite: str, records: list[Record]) -> None:
    """Print the records and write them to `results/<suite>.json`."""
    here = machine()
    table = Table("figure", "workload", "value", "peer", "its value", "ratio", "runs", title=f"{suite}, {here}")
    for record in records:
        value = f"{record.value:.4g} {record.unit}"
        peer_value = "" if record.peer_value is None else f"{record.peer_value:.4g} {record.unit}"
        ratio = "" if record.ratio is None else f"{record.ratio:.2f}"
        table.add_row(record.name, record.workload, value, record.peer or "", peer_value, ratio, str(record.runs))
    Console(width=160).print(table)
    RESULTS.mkdir(exist_ok=True)
    filled = [asdict(record) | {"machine": here} for record in records]
    (RESULTS / f"{suite}.json").write_text(json.dumps(filled, indent=1) + "\n", "utf-8")
