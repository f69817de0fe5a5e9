from __future__ import annotations

import jsonschema
import msgspec
import pytest

from shared import errors, schema, wire
from shared.generate import generated_files, main


def test_generated_files_are_current() -> None:
    stale = [str(path) for path, text in generated_files().items() if path.read_text("utf-8") != text]
    assert stale == [], "run python -m shared.generate"
    assert main(["--check"]) == 0


def test_the_schema_takes_what_the_structs_write_and_refuses_the_rest() -> None:
    document = schema.protocol_schema()
    jsonschema.Draft202012Validator.check_schema(document)
    validator = jsonschema.Draft202012Validator(document | {"$ref": "#/$defs/Pushed"})
    pushed = wire.Pushed(acked_dseq=3, head=9, server_ms=1, rejected=[wire.Rejected(4, "clock_ahead")])
    validator.validate(msgspec.to_builtins(pushed))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"acked_dseq": -1, "head": 9, "server_ms": 1})


@pytest.mark.parametrize("code", list(errors.Code))
def test_E1_every_code_says_what_to_do(code: errors.Code) -> None:
    problem = errors.DomovoiError(code).problem()
    assert 400 <= problem.status < 600
    assert problem.title.endswith(".")
    assert problem.detail.endswith(".")
    assert problem.code == code
