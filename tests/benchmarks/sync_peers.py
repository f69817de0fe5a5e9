"""Domovoi's sync beside its peers (Yjs with Hocuspocus, PouchDB), on the same workloads in the same run.

`make bench-sync PEERS=folder`: the folder holds the harness (run.mjs, adapters), its packages are installed in
PEERS_HOME. Without it, ours can't run either: the harness is what measures. Says so and leaves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.records import Record, report

ROOT = Path(__file__).parents[2]
OURS = Path(__file__).parent / "peers" / "ours"
PWA = ROOT / "pwa"
BUILT = ROOT / ".cache" / "peers"
# What tells them apart, by the harness's names; the rest is in its own file.
FIGURES = {
    "live_latency_p50",
    "live_latency_p99",
    "local_write_p50",
    "bootstrap_first_list",
    "bootstrap_everything",
    "wire_down",
    "server_peak_rss",
    "reopen_and_read_all_offline",
    "offline_write_10k",
    "push_acknowledged",
    "push_wire_up",
}


def main() -> None:
    """Build our adapter, run the harness, and report."""
    harness = Path(os.environ.get("PEERS", ROOT.parent / "shared" / "peers"))
    if not (harness / "run.mjs").exists():
        print(f"No harness in {harness}; name its folder with PEERS=. Nothing was measured.")  # noqa: T201
        return
    build()
    arguments = sys.argv[1:] or ["--peers", "yjs,pouchdb,ours"]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        command = ["node", str(harness / "run.mjs"), "--adapters", str(BUILT), "--out", str(results), *arguments]
        subprocess.run(command, check=True, cwd=folder)
        measured = json.loads(results.read_text("utf-8"))
    report("sync", records(measured))


def build() -> None:
    """Bundle the page and write the adapter with this checkout's places in it."""
    target = BUILT / "ours"
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["npx", "vite", "build", "--logLevel", "warn", "--config", str(OURS / "vite.config.mjs"), "--outDir", target],
        cwd=PWA,
        check=True,
    )
    text = (OURS / "adapter.json").read_text("utf-8")
    filled = text.replace("{root}", str(ROOT)).replace("{python}", sys.executable)
    (target / "adapter.json").write_text(filled, "utf-8")


def records(measured: list[dict[str, object]]) -> list[Record]:
    """Return ours with each peer's figure beside it."""
    ours = {(row["name"], row["workload"]): row for row in measured if row["peer"] == "ours"}
    made = []
    for (name, workload), row in ours.items():
        if name not in FIGURES:
            continue
        value = float(str(row["value"]))
        mine = (str(name), str(workload), value, str(row["unit"]), int(str(row["runs"])))
        others = [peer for peer in measured if (peer["name"], peer["workload"]) == (name, workload) and peer is not row]
        for peer in others:
            theirs = float(str(peer["value"]))
            made.append(Record(*mine, str(peer["peer"]), theirs, value / theirs if theirs else None))
        if not others:
            made.append(Record(*mine))
    return made


if __name__ == "__main__":
    main()
