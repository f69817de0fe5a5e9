from __future__ import annotations

import json
import logging
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.logs import JsonFormatter, TextFormatter


def record(message: str, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("test").makeRecord("test", logging.INFO, "", 0, message, (), None, extra=extra)


def test_facts_stand_behind_the_sentence() -> None:
    line = TextFormatter("%(levelname)s %(message)s").format(
        record("step down", model="Two words", context=4096, code=None, detail="")
    )
    assert line == 'INFO step down model="Two words" context=4096 detail=""'


def test_a_traceback_comes_after_the_facts() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        failed = record("failed", engine="native")
        failed.exc_info = sys.exc_info()
    lines = TextFormatter("%(message)s").format(failed).splitlines()
    assert lines[0] == "failed engine=native"
    assert lines[-1] == "ValueError: no"
    assert "ValueError: no" in json.loads(JsonFormatter().format(failed))["traceback"]


@given(st.text(), st.text())
def test_a_line_is_one_line_of_json_whatever_is_in_it(message: str, fact: str) -> None:
    line = JsonFormatter().format(record(message.replace("%", ""), fact=fact))
    assert "\n" not in line
    assert json.loads(line)["fact"] == fact


@given(st.text())
def test_a_fact_never_starts_a_line_of_its_own(fact: str) -> None:
    line = TextFormatter("%(message)s").format(record("said", fact=fact))
    assert "\n" not in line
