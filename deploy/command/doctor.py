"""`domovoi doctor`: what was found here, what was chosen and why, and what to do about what is wrong."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.command import machine_checks, service_checks
from deploy.command.findings import Report
from inference_node.engines.child_engine import ChildEngine
from inference_node.engines.present import examine_all
from inference_node.hardware.survey import survey
from inference_node.loading import calibration
from inference_node.loading.calibration import Calibrations
from inference_node.loading.fitting import choose
from inference_node.loading.quiet import wait_until_quiet
from inference_node.models import library
from inference_node.models.models import ModelStore
from shared.errors import DomovoiError

if TYPE_CHECKING:
    from deploy.command.configuration import Configuration
    from inference_node.engines.present import EngineReport
    from inference_node.hardware.survey import Hardware
    from inference_node.models.models import ModelFile

VERSION = 1
MARKS = {"ok": "[green]✓[/green]", "note": "·", "warning": "[yellow]![/yellow]", "stop": "[red]✗[/red]"}

# A measurement is remembered for long, and one among a browser and a compiler says nothing about the engine.
MOST_SHARE = 0.25
QUIET_WITHIN_S = 10.0

console = Console()
errors = Console(stderr=True)


def run(configuration: Configuration, *, measure: bool, as_json: bool) -> int:
    """Look at everything and print it; with `measure`, run each engine for two seconds. Returns the exit code."""
    report = asyncio.run(examine(configuration, measure=measure))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n")
    else:
        _print(report)
    return 1 if report.stops else 0


def print_schema() -> None:
    """Print the JSON Schema of the report."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(msgspec.json.schema(Report)), indent=1).decode() + "\n")


async def examine(configuration: Configuration, *, measure: bool = False) -> Report:
    """Look at everything, whether Domovoi runs just now or not, and change nothing."""
    node = configuration.node()
    store = ModelStore(node.models, chosen=node.chosen_model)
    calibrations = Calibrations(node.calibrations)
    machine = survey(node.models)
    engines = await examine_all()
    shown = library.overview(store, configuration.model, machine)
    model = _default(store, configuration.model)
    if measure and model is not None:
        await _measure(engines, model, machine, calibrations)
    wanted = [engine for engine in engines if configuration.engine in {None, engine.name}]
    choice = choose(calibration.candidates(wanted, model, machine, calibrations), machine) if model else None
    findings = [
        *machine_checks.hardware(machine),
        *machine_checks.graphics(machine.cards, engines),
        *machine_checks.engines(engines, configuration.engine),
        *machine_checks.models(shown.models, configuration, choice),
        *service_checks.data(configuration),
        await service_checks.database(configuration),
        *await service_checks.ports(configuration),
        *await service_checks.addresses(configuration),
        *service_checks.direct(configuration),
        *service_checks.certificates(configuration.data),
    ]
    return Report(VERSION, machine.fingerprint, machine, engines, shown.models, choice, findings)


async def _measure(
    engines: list[EngineReport], model: ModelFile, machine: Hardware, calibrations: Calibrations
) -> None:
    """Measure each engine that can run, one after the other, unless that was done or the machine is busy."""
    able = [engine.name for engine in engines if not engine.problem]
    for name in able:
        if calibrations.find(name, model, machine) is not None:
            continue
        if (share := await wait_until_quiet(QUIET_WITHIN_S)) > MOST_SHARE:
            errors.print(f"Other programs take {share:.1f} cores, so nothing was measured. Close them and try again.")
            return
        try:
            speed = await calibration.measure(ChildEngine(name), model)
        except DomovoiError as error:
            errors.print(f"{name} can't run {model.name}: {error.detail}", markup=False)
        else:
            calibrations.keep(name, model, machine, speed)


def _default(store: ModelStore, setting: str | None) -> ModelFile | None:
    try:
        return store.find_configured(setting)
    except DomovoiError:
        return None


def _print(report: Report) -> None:
    table = Table("", "", "found", "what to do", show_lines=False)
    topic = ""
    for finding in report.findings:
        shown = finding.topic if finding.topic != topic else ""
        topic = finding.topic
        table.add_row(MARKS[finding.status], shown, escape(finding.what), escape(finding.advice))
    console.print(table)
    stops = sum(finding.status == "stop" for finding in report.findings)
    warnings = sum(finding.status == "warning" for finding in report.findings)
    if stops:
        console.print(f"[bold]{stops} of these stop Domovoi.[/bold] What to do stands beside them.")
    elif warnings:
        console.print(f"Domovoi can run. {warnings} of these could be better.")
    else:
        console.print("All is well.")
