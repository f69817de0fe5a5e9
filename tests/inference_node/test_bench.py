"""What the benchmark measures and how it reports; not how fast anything is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from inference_node.loading import bench, measuring, quiet
from inference_node.loading.bench import CHATS, Contestant, Record, compare
from inference_node.models.models import ModelFile
from tests.inference_node.gguf_file import HEADER, write_gguf
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = ModelFile(Path("A.gguf"), "A", 1, HEADER)
FIGURES = [
    "prefill_tokens_per_second",
    "decode_tokens_per_second",
    "first_token_cold",
    "first_token_follow_up",
    *["tokens_per_second_together"] * len(CHATS),
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "A.gguf")


async def contestants(model: Path, *scripts: Script) -> list[Contestant]:
    entered = []
    for number, script in enumerate(scripts):
        engine = script.make_engine()
        entered.append(Contestant(f"engine{number} 1.0", engine, await measuring.load(engine, model, bench.OPTIONS)))
    return entered


def new_script() -> Script:
    return Script(context=4000, answer="word " * 200, slots=4)


async def test_every_figure_has_its_peer_in_the_same_run(model: Path) -> None:
    told: list[str] = []
    entered = await contestants(model, new_script(), new_script())
    records = await compare(entered, MODEL, "1 vCPU Test", 3, told.append)
    ours = [record for record in records if record.workload.startswith("engine0")]
    assert [record.name for record in ours] == FIGURES
    for record in ours:
        assert (record.peer, record.runs, record.machine) == ("engine1 1.0", 3, "1 vCPU Test")
        assert record.value > 0
        assert record.peer_value
        assert record.ratio == pytest.approx(record.value / record.peer_value, rel=0.05)
    assert [record.peer for record in records if record.workload.startswith("engine1")] == [None] * len(FIGURES)


async def test_engines_take_turns(model: Path) -> None:
    told: list[str] = []
    await compare(await contestants(model, new_script(), new_script()), MODEL, "", 2, told.append)
    assert [line.split()[-2] for line in told] == ["engine0", "engine1"] * 3
    assert told[0].startswith("warming up")


async def test_a_slow_machine_has_fewer_rounds(model: Path) -> None:
    records = await compare(await contestants(model, new_script()), MODEL, "", 5, lambda _: None, within_s=0.0)
    assert {record.runs for record in records} == {1}
    assert [record.name for record in records] == FIGURES


async def test_an_engine_alone_has_no_peer(model: Path) -> None:
    records = await compare(await contestants(model, new_script()), MODEL, "", 1, lambda _: None)
    assert {(record.peer, record.ratio) for record in records} == {(None, None)}


async def test_what_is_asked_is_what_is_said(model: Path) -> None:
    script = new_script()
    records = await compare(await contestants(model, script), MODEL, "", 1, lambda _: None)
    workloads = {record.name: record.workload for record in records}
    tokens = int(workloads["prefill_tokens_per_second"].split()[-2])
    assert abs(tokens - bench.PREFILL_TOKENS) < 16
    assert "A Q4_1" in workloads["decode_tokens_per_second"]
    assert script.most_busy == max(CHATS)
    # No prompt begins like an earlier one, or it would be remembered and not read.
    firsts = [prompt.messages[0].content for prompt in script.prompts if len(prompt.messages) == 1]
    assert len(set(firsts)) == len(firsts)


async def test_fewer_slots_mean_fewer_chats(model: Path) -> None:
    [entered] = await contestants(model, new_script())
    narrow = entered._replace(loaded=type(entered.loaded)(context=4000, slots=2))
    records = await compare([narrow], MODEL, "", 1, lambda _: None)
    together = [record for record in records if record.name == "tokens_per_second_together"]
    assert [record.workload.split()[-4] for record in together] == ["1", "2"]


async def test_a_busy_machine_is_waited_for() -> None:
    shares = iter([1.5, 0.8, 0.01, 9.9])
    look: Callable[[], float] = lambda: next(shares)  # noqa: E731
    assert await quiet.wait_until_quiet(60.0, look) == 0.01
    assert await quiet.wait_until_quiet(0.0, look) == 9.9


def test_what_others_take_is_counted() -> None:
    assert 0 <= quiet.others_share(0.01) <= (psutil.cpu_count() or 1)


def test_records_have_the_form_of_all_benchmarks() -> None:
    wanted = {"name", "workload", "value", "unit", "peer", "peer_value", "ratio", "runs", "machine"}
    assert set(Record.__struct_fields__) == wanted
