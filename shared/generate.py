"""Writes what is generated from this package, or checks that it is current.

    python -m shared.generate [--check]

The only module here that touches files: a tool for developers, never imported by the parts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from shared.schema import protocol_schema
from shared.typescript import typescript
from shared.vectors import generated_vectors

ROOT = Path(__file__).parent.parent


def generated_files() -> dict[Path, str]:
    """Return path → text of every generated file."""
    schema = protocol_schema()
    files = {
        ROOT / "shared" / "schema" / "protocol.json": json.dumps(schema, indent=2) + "\n",
        ROOT / "pwa" / "src" / "protocol" / "generated.ts": typescript(schema),
    }
    for name, document in generated_vectors().items():
        files[ROOT / "shared" / "vectors" / f"{name}.json"] = _vector_file(document)
    return files


def _vector_file(document: dict[str, Any]) -> str:
    """Return the document with one vector a line, so that a change shows as one line."""
    lines = ",\n".join(json.dumps(vector) for vector in document["vectors"])
    return f'{{"comment": {json.dumps(document["comment"])}, "vectors": [\n{lines}\n]}}\n'


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` name those that are not current."""
    files = generated_files()
    if "--check" in arguments:
        stale = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
        for path in stale:
            sys.stderr.write(f"not current: {path.relative_to(ROOT)}; run python -m shared.generate\n")
        return 1 if stale else 0
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
