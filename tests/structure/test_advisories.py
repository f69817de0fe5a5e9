"""What auditors of published holes say is understood: found, none, or nobody to ask."""

from __future__ import annotations

import json

from tests.advisories import Audit, read_app, read_python, read_rust


def test_a_hole_is_named() -> None:
    python = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}]}
    assert read_python(json.dumps(python)) == Audit(["a 1: PYSEC-1"])
    assert read_app('{"vulnerabilities": {"b": {"severity": "high"}}}') == Audit(["b: high"])
    rust = {"type": "diagnostic", "fields": {"severity": "error", "code": "vulnerability", "message": "c leaks"}}
    assert read_rust(1, f"text\n{json.dumps(rust)}") == Audit(["c leaks"])


def test_nothing_found_is_not_the_same_as_nobody_asked() -> None:
    assert read_python('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}') == Audit([])
    assert read_app('{"vulnerabilities": {}}') == Audit([])
    assert read_rust(0, "") == Audit([])
    for nobody in (
        read_python('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}'),
        read_python("Traceback"),
        read_app('{"message": "405", "statusCode": 405}'),
        read_rust(1, "failed to fetch the advisory database"),
    ):
        assert nobody.holes == []
        assert nobody.skipped is not None
