"""JavaScript to the first chat, as files and compressed alike.

Peer figures were measured with the same `gzip -6` on the same machine kind: llama.cpp's web UI 2,601 kB,
Open WebUI 0.12.4 2,065 kB in 180 files.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from tests.benchmarks.records import Record, report

DIST = Path(__file__).parents[2] / "pwa" / "dist"
PEER = "Open WebUI 0.12.4 (measured earlier)"
PEER_KB = 2065.0


def first_scripts() -> list[Path]:
    """Return the scripts that index.html loads, and what those import statically."""
    pending = [
        DIST / name.lstrip("/") for name in re.findall(r'(?:src|href)="(/[^"]+\.js)"', _read(DIST / "index.html"))
    ]
    found: list[Path] = []
    while pending:
        path = pending.pop()
        if path in found or not path.exists():
            continue
        found.append(path)
        imports = re.findall(r"""(?:^|[;}\s])(?:import|export)[^;"'()]*from\s*["'](\./[^"']+)["']""", _read(path))
        imports += re.findall(r"""(?:^|[;}])import["'](\./[^"']+)["']""", _read(path))
        pending += [(path.parent / name).resolve() for name in imports]
    return found


def _read(path: Path) -> str:
    return path.read_text("utf-8")


def main() -> None:
    """Print and write the figures."""
    scripts = first_scripts()
    first = sum(len(gzip.compress(path.read_bytes(), 6)) for path in scripts) / 1000
    everything = sum(len(gzip.compress(path.read_bytes(), 6)) for path in DIST.rglob("*.js")) / 1000
    workload = f"{len(scripts)} scripts that index.html needs, gzip -6"
    report(
        "app_weight",
        [
            Record("javascript_to_start", workload, first, "kB", 1, PEER, PEER_KB, first / PEER_KB),
            Record("javascript_in_all", "every script, lazy ones and the worker too, gzip -6", everything, "kB", 1),
        ],
    )


if __name__ == "__main__":
    main()
