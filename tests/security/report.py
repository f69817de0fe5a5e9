"""The table in docs/security.md: what was tried by class, and which tests look for which published hole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.security.known_holes import HOLES
from tests.structure.tracked import ROOT

if TYPE_CHECKING:
    from tests.security.ledger import Row

PAGE = ROOT / "docs" / "security.md"
WRITE = "python -m tests.security"
# Set by that command.
WRITING = "DOMOVOI_WRITE_SECURITY_PAGE"
_BEGIN, _END = "<!-- Made by `" + WRITE + "`. -->\n", "<!-- Until here. -->\n"


def page_with(rows: dict[str, Row]) -> str:
    """Return the page with its tables made anew from the ledger's rows."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + "\n" + _inputs(rows) + "\n" + _holes() + "\n" + _END + after


def _inputs(rows: dict[str, Row]) -> str:
    lines = ["| inputs | tried | wrongly accepted | unhandled errors |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {kind} | {row.tried} | {row.wrongly_accepted} | {row.unhandled} |" for kind, row in sorted(rows.items())
    ]
    total = [sum(getattr(row, name) for row in rows.values()) for name in ("tried", "wrongly_accepted", "unhandled")]
    lines.append(f"| in all | {total[0]} | {total[1]} | {total[2]} |")
    return "\n".join(lines) + "\n"


def _holes() -> str:
    lines = ["| hole | published in | looked for by |", "| --- | --- | --- |"]
    for hole in HOLES:
        tests = "<br>".join(f"`{test}`" for test in hole.tests)
        lines.append(f"| {hole.name} | {hole.found} | {tests} |")
    return "\n".join(lines) + "\n"
