"""Measurements, and for how long they are believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from inference_node.engines.child_engine import ChildEngine
from inference_node.engines.present import EngineReport
from inference_node.hardware.survey import Hardware, survey
from inference_node.loading import calibration
from inference_node.loading.calibration import Calibrations, Speed, candidates, in_order
from inference_node.loading.fitting import choose
from inference_node.models.models import ModelFile, ModelStore
from shared.errors import Code, DomovoiError
from tests.inference_node.gguf_file import settle, write_gguf
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from pathlib import Path

SPEED = Speed(prefill=900.0, decode=120.0, measured_ms=1)


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    (tmp_path / "models").mkdir()
    write_gguf(tmp_path / "models" / "A.gguf")
    return ModelStore(tmp_path / "models").find("A")


@pytest.fixture
def hardware(tmp_path: Path) -> Hardware:
    return survey(tmp_path)


@pytest.fixture
def calibrations(tmp_path: Path) -> Calibrations:
    return Calibrations(tmp_path / "node" / "calibrations.json")


def test_a_measurement_is_remembered(calibrations: Calibrations, model: ModelFile, hardware: Hardware) -> None:
    assert calibrations.find("llama_cpp", model, hardware) is None
    calibrations.keep("llama_cpp", model, hardware, SPEED)
    assert calibrations.find("llama_cpp", model, hardware) == SPEED
    assert calibrations.find("native", model, hardware) is None


def test_it_does_not_hold_on_another_machine(calibrations: Calibrations, model: ModelFile, hardware: Hardware) -> None:
    calibrations.keep("llama_cpp", model, hardware, SPEED)
    other = replace(hardware, processor=replace(hardware.processor, model="Another"))
    assert calibrations.find("llama_cpp", model, other) is None


def test_it_does_not_hold_for_another_file_of_that_name(
    calibrations: Calibrations, model: ModelFile, hardware: Hardware
) -> None:
    calibrations.keep("llama_cpp", model, hardware, SPEED)
    model.path.touch()
    assert calibrations.find("llama_cpp", model, hardware) is None
    settle(model.path)
    assert calibrations.find("llama_cpp", model, hardware) == SPEED


def test_a_damaged_store_is_an_empty_one(
    calibrations: Calibrations, model: ModelFile, hardware: Hardware, tmp_path: Path
) -> None:
    calibrations.keep("llama_cpp", model, hardware, SPEED)
    (tmp_path / "node" / "calibrations.json").write_text("{nonsense")
    assert calibrations.find("llama_cpp", model, hardware) is None
    calibrations.keep("llama_cpp", model, hardware, SPEED)
    assert calibrations.find("llama_cpp", model, hardware) == SPEED


def test_old_measurements_are_let_go(
    calibrations: Calibrations, model: ModelFile, hardware: Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MOST_KEPT", 2)
    for number, engine in enumerate(("native", "llama_cpp", "other")):
        calibrations.keep(engine, model, hardware, replace(SPEED, measured_ms=number))
    assert calibrations.find("native", model, hardware) is None
    assert calibrations.find("other", model, hardware) is not None


def test_what_was_measured_decides(calibrations: Calibrations, model: ModelFile, hardware: Hardware) -> None:
    engines = [EngineReport("native", "1", 0), EngineReport("llama_cpp", "1", 1)]

    def chosen() -> str:
        choice = choose(candidates(engines, model, hardware, calibrations), hardware)
        assert choice is not None
        return choice.engine

    def order() -> list[str]:
        return in_order([engine.name for engine in engines], model, hardware, calibrations)

    assert chosen() == order()[0] == "native"
    calibrations.keep("llama_cpp", model, hardware, SPEED)
    assert chosen() == order()[0] == "native"
    calibrations.keep("native", model, hardware, replace(SPEED, decode=60.0))
    assert chosen() == order()[0] == "llama_cpp"


async def test_an_engine_is_measured_and_unloaded(model: ModelFile) -> None:
    engine = Script(context=2000, answer="word " * 100).make_engine()
    speed = await calibration.measure(engine, model)
    assert speed.decode > 0
    assert speed.prefill > 0
    assert not engine.is_loaded


async def test_an_engine_that_fails_is_unloaded_too(model: ModelFile) -> None:
    script = Script()
    script.load_failures = [DomovoiError(Code.OUT_OF_MEMORY)]
    engine = script.make_engine()
    with pytest.raises(DomovoiError):
        await calibration.measure(engine, model)
    assert not engine.is_loaded


async def test_a_real_engine_is_measured(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MEASURE_S", 0.2)
    file = ModelStore(tiny_model.parent).find(tiny_model.name)
    speed = await calibration.measure(ChildEngine("llama_cpp"), file)
    assert speed.decode > 0
    assert speed.prefill > 0
