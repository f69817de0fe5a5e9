"""`domovoi bench`: how fast the engines of this machine are."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inference_node.engines.child_engine import ChildEngine
from inference_node.engines.present import examine_all
from inference_node.hardware.survey import Hardware, survey
from inference_node.loading import bench, measuring
from inference_node.loading.bench import Contestant, Record
from inference_node.loading.quiet import QUIET_SHARE, wait_until_quiet
from inference_node.models.models import ModelStore
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from deploy.command.configuration import Configuration
    from inference_node.models.models import ModelFile

errors = Console(stderr=True)
console = Console()


def run(configuration: Configuration, *, model: str | None, rounds: int, wait_s: float, as_json: bool) -> None:
    """Measure the usable engines with a model and print the figures. Raises DomovoiError."""
    node = configuration.node()
    store = ModelStore(node.models, chosen=node.chosen_model)
    file = store.find(model) if model is not None else store.find_configured(configuration.model)
    records = asyncio.run(_measure(configuration, file, rounds, wait_s))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(records), indent=1).decode() + "\n")
    else:
        _print(records)


async def _measure(configuration: Configuration, model: ModelFile, rounds: int, wait_s: float) -> list[Record]:
    reports = [report for report in await examine_all() if not report.problem]
    wanted = [report for report in reports if configuration.engine in {None, report.name}]
    machine = _machine(survey(configuration.data))
    contestants: list[Contestant] = []
    try:
        for report in wanted:
            engine = ChildEngine(report.name)
            try:
                loaded = await measuring.load(engine, model.path, bench.OPTIONS)
            except DomovoiError as error:
                errors.print(f"{report.name} is left out: {error.detail}", markup=False)
                await engine.unload()
            else:
                contestants.append(Contestant(f"{report.name} {report.version}".strip(), engine, loaded))
        if not contestants:
            raise DomovoiError(Code.ENGINE_UNAVAILABLE)
        return await _quietly(contestants, model, machine, rounds, wait_s)
    finally:
        await asyncio.gather(*(contestant.engine.unload() for contestant in contestants))


async def _quietly(
    contestants: list[Contestant], model: ModelFile, machine: str, rounds: int, wait_s: float
) -> list[Record]:
    """Measure when nothing else computes; a machine that does not get quiet is named so in every figure."""
    with errors.status("waiting for a quiet machine") as status:
        before = await wait_until_quiet(wait_s)
        records = await bench.compare(contestants, model, machine, rounds, status.update)
        after = await wait_until_quiet(0)
    busiest = max(before, after)
    if busiest <= QUIET_SHARE:
        return records
    said = f"busy: other programs took {busiest:.1f} cores"
    errors.print(f"[bold]The machine was not quiet[/bold] ({said}): these figures are worth little.")
    return [msgspec.structs.replace(record, machine=f"{machine}; {said}") for record in records]


def _machine(hardware: Hardware) -> str:
    features = [name for name in hardware.processor.features or [] if name.startswith(("AVX", "NEON", "AMX"))]
    cards = [card.name for card in hardware.cards if not card.problem]
    return ", ".join([f"{hardware.processor.usable} vCPU {hardware.processor.model}", *features[-1:], *cards])


def _print(records: list[Record]) -> None:
    table = Table("figure", "workload", "value", "peer", "its value", "ratio", "runs", title=records[0].machine)
    for record in records:
        table.add_row(
            record.name.replace("_", " "),
            escape(record.workload),
            f"{record.value:.4g} {record.unit}",
            record.peer or "",
            f"{record.peer_value:.4g}" if record.peer_value is not None else "",
            f"{record.ratio:.2f}" if record.ratio is not None else "",
            str(record.runs),
        )
    console.print(table)
