"""One process at a time, and no lock outlives its holder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from inference_node.file_lock import exclusive

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys; from pathlib import Path; from inference_node.file_lock import exclusive\n"
    "with exclusive(Path(sys.argv[1])) as is_ours: print(is_ours, flush=True); sys.stdin.read()"
)


def test_the_second_is_told_at_once_and_gets_it_later(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive(path) as first, exclusive(path) as second:
        assert (first, second) == (True, False)
    with exclusive(path) as again:
        assert again


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with exclusive(path) as is_ours:
            assert not is_ours
        holder.kill()
        holder.wait()
    with exclusive(path) as is_ours:
        assert is_ours
