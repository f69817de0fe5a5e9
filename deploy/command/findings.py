"""What `domovoi doctor` finds, in words for people and in a shape for programs."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from inference_node.engines.present import EngineReport
from inference_node.hardware.survey import Hardware
from inference_node.loading.fitting import Choice
from shared.library_wire import LibraryModel

# "stop": Domovoi can't run like this. "warning": it runs, and worse than it could. "note": worth knowing.
Status = Literal["ok", "note", "warning", "stop"]


class Finding(Struct, frozen=True):
    """One thing that was looked at; `advice` says what to do, and is empty when nothing is wrong."""

    topic: str
    status: Status
    what: str
    advice: str = ""


class Report(Struct, frozen=True):
    """`domovoi doctor --json`, described by `domovoi doctor --schema`. New members may be added; none changes.

    `fingerprint` names this machine's make-up; `choice` is what would run the default model, null when nothing can.
    """

    version: int
    fingerprint: str
    hardware: Hardware
    engines: list[EngineReport]
    models: list[LibraryModel]
    choice: Choice | None
    findings: list[Finding]

    @property
    def stops(self) -> bool:
        """Whether something keeps Domovoi from running."""
        return any(finding.status == "stop" for finding in self.findings)
