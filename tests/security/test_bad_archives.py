"""Files for `domovoi import` that no export has written, given to the command beside a running server."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from deploy.command.application import application
from shared.errors import DomovoiError, StartupError
from tests.security.vectors import Vector, spelt_out, table
from tests.sync_server.device import PASSWORD, Device

if TYPE_CHECKING:
    from tests.security.household import Household
    from tests.security.ledger import Ledger

SLIPPED = Path("/tmp/domovoi-slipped")
COUNTS = re.compile(r"(\d+) changes and (\d+) files were new")
# Where the fields stand in an entry's head and in the list at the end (APPNOTE.TXT 4.3.7 and 4.3.12).
FIELDS = {"flags": (6, 8, 2), "method": (8, 10, 2), "crc": (14, 16, 4), "size": (22, 24, 4)}


@pytest.fixture(scope="module")
def importer(household: Household) -> Device:
    """The account that the files are read into."""
    return household.server.new_account("Importer")


@pytest.mark.parametrize("vector", table("archives"), ids=lambda vector: vector.id)
def test_every_archive_of_the_table(
    household: Household, ledger: Ledger, importer: Device, tmp_path: Path, vector: Vector
) -> None:
    file = tmp_path / "export.zip"
    write(file, spelt_out(vector.input))
    before = importer.pull(limit=1000)
    arguments = ["import", str(file), "--username", "Importer", "--server-url", household.server.url]
    result = CliRunner().invoke(application, arguments, input=PASSWORD + "\n")
    is_refused = isinstance(result.exception, StartupError | DomovoiError)
    counts = COUNTS.search(" ".join(result.output.split()))
    verdict = "refused" if is_refused else f"{counts[1]} changes, {counts[2]} files" if counts else "crashed"
    ledger.note(
        "archives",
        wrongly_accepted=counts is not None and vector.verdict == "refused",
        unhandled=verdict == "crashed",
    )
    assert verdict == vector.verdict, repr(result.exception)
    after = importer.pull(limit=1000)
    assert after.changes[: len(before.changes)] == before.changes
    assert verdict != "refused" or after.head == before.head
    assert not SLIPPED.exists()


def write(file: Path, given: dict[str, Any]) -> None:
    """Write the file that a vector describes."""
    content = os.urandom(50)
    sha = hashlib.sha256(content).hexdigest()
    manifest = {"username": "Importer", "account_id": "00" * 16, "exported_ms": 1, "changes": 1, "blobs": 1}
    entries: dict[str, Any] = {
        "manifest.json": {"text": json.dumps(manifest | {"format": "domovoi-export", "version": 1})},
        "changes.jsonl": {"text": json.dumps(good_line()) + "\n"},
        "blobs/SHA": {"hex": content.hex()},
    }
    entries |= given.get("entries", {}) | given.get("more", {})
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive, warnings.catch_warnings(action="ignore"):
        for name, entry in entries.items():
            if entry is not None:
                _add(archive, name.replace("SHA", sha), entry)
    written = file.read_bytes()
    if spoil := given.get("spoil"):
        written = _spoilt(written, spoil.pop("entry").replace("SHA", sha).encode(), spoil)
    file.write_bytes(written[: max(0, len(written) - given.get("cut", 0))])


def good_line() -> dict[str, Any]:
    """Return a change that nobody has made before."""
    return {
        "clk": "0000000000010000" + os.urandom(8).hex(),
        "etype": 2,
        "eid": os.urandom(16).hex(),
        "field": 1,
        "scope": "00" * 16,
        "kid": 0,
        "value": "oXg=",
    }


def _add(archive: zipfile.ZipFile, name: str, entry: dict[str, Any]) -> None:
    info = zipfile.ZipInfo(name)
    if entry.get("link"):
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
    if "zeros" in entry:
        archive.writestr(info, bytes(entry["zeros"]), zipfile.ZIP_DEFLATED)
    else:
        archive.writestr(info, bytes.fromhex(entry["hex"]) if "hex" in entry else entry["text"])


def _spoilt(written: bytes, name: bytes, fields: dict[str, int]) -> bytes:
    """Return the file with other values in both heads of an entry."""
    spoilt = bytearray(written)
    for field, value in fields.items():
        in_head, in_list, size = FIELDS[field]
        for signature, offset, name_at in ((b"PK\x03\x04", in_head, 30), (b"PK\x01\x02", in_list, 46)):
            [start] = [
                found.start()
                for found in re.finditer(re.escape(signature), written)
                if written[found.start() + name_at :].startswith(name)
            ]
            spoilt[start + offset : start + offset + size] = value.to_bytes(size, "little")
    return bytes(spoilt)
