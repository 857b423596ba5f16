import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.chance import StretchChance
from earwitness.errors import ModelMismatchError, ModelNotFoundError
from earwitness.model_spec import (
    MODEL_ENVIRONMENT_VARIABLE,
    OodReference,
    default_model_path,
    file_sha256,
    load_spec,
    parse_spec,
)
from tests.toy_model import SPEC, rewrite_spec, write_toy_model


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(SPEC.to_json()), **changes})


def without(key: str) -> str:
    raw = json.loads(SPEC.to_json())
    del raw[key]
    return json.dumps(raw)


CHANCE = {"hop_s": 2.0, "per_minute": 4.0, "decay": 0.1}


def test_what_is_written_is_read_back_equal() -> None:
    assert parse_spec(SPEC.to_json()) == SPEC
    measured = replace(SPEC, stretch_chance=(StretchChance(**CHANCE), StretchChance(4.0, 5.0, 0.1)))
    assert parse_spec(measured.to_json()) == measured


def test_the_chance_of_stretches_goes_by_the_hop() -> None:
    """A spec of before it was measured has none."""
    assert parse_spec(without("stretch_chance")).stretch_chance == ()
    measured = replace(SPEC, stretch_chance=(StretchChance(**CHANCE),))
    assert measured.chance_at(2.0) == StretchChance(**CHANCE)
    assert measured.chance_at(4.0) is None


def test_the_text_is_stable() -> None:
    assert parse_spec(SPEC.to_json()).to_json() == SPEC.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        (changed(spec_version=99), "spec_version is 99"),
        (changed(colour="red"), "unknown keys: colour"),
        (without("ood"), "ood"),
        (without("model_version"), "model_version"),
        (changed(window={"window_s": 1.0, "hop_s": 2.0}), "hop"),
        (changed(window={"length": 1.0}), "length"),
        (changed(calibration={"slope": -1.0, "intercept": 0, "llr_min": -1, "llr_max": 1}), "slope"),
        (changed(thresholds={"t_low": 0.9, "t_high": 0.1}), "t_low"),
        (changed(limits={}), "min_duration_s"),
        (changed(ood={"means": [["x"]], "components": []}), "ill-formed"),
        (changed(ood={"means": [[1.0, 2.0]], "components": [[1.0]]}), "one length"),
        (changed(ood={"means": [], "components": []}), "one length"),
        (changed(model_version=7), "model_version is 7"),
        (changed(min_window_s="long"), "min_window_s is 'long'"),
        (changed(inputs=["waveform"]), "inputs is"),
        (changed(limits={**json.loads(SPEC.to_json())["limits"], "min_snr_db": None}), "min_snr_db is None"),
        (changed(sample_rate_hz=8_000), "8000 Hz"),
        (changed(canonical_version=99), "canonical view 99"),
        (changed(stretch_chance=[{**CHANCE, "decay": 0.0}]), "stretches by chance need"),
        (changed(stretch_chance=[{**CHANCE, "surprise": 5.0}]), "surprise"),
        (changed(stretch_chance=[{**CHANCE, "per_minute": "many"}]), "ill-formed"),
        (changed(stretch_chance=[{"hop_s": 2.0}]), "per_minute"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ModelMismatchError, match=message):
        parse_spec(text)


def test_graph_and_spec_are_loaded_together(toy_model: Path) -> None:
    assert load_spec(toy_model).graph_sha256 == file_sha256(toy_model)


def test_a_missing_graph_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=MODEL_ENVIRONMENT_VARIABLE):
        load_spec(tmp_path / "none.onnx")


def test_a_missing_spec_is_missed(tmp_path: Path) -> None:
    graph = write_toy_model(tmp_path)
    graph.with_suffix(".json").unlink()

    with pytest.raises(ModelNotFoundError, match="no model spec"):
        load_spec(graph)


def test_a_graph_of_another_version_is_refused(tmp_path: Path) -> None:
    graph = write_toy_model(tmp_path)
    graph.write_bytes(graph.read_bytes() + b"\0")

    with pytest.raises(ModelMismatchError, match="copy graph and spec of one version"):
        load_spec(graph)


def test_a_broken_spec_is_named(tmp_path: Path) -> None:
    graph = write_toy_model(tmp_path)
    rewrite_spec(graph, spec_version=7)

    with pytest.raises(ModelMismatchError, match=r"toy\.json"):
        load_spec(graph)


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_ENVIRONMENT_VARIABLE, "/some/where.onnx")

    assert default_model_path() == Path("/some/where.onnx")


@pytest.mark.parametrize(("profile", "name"), [("default", "latest.onnx"), ("accurate", "accurate.onnx")])
def test_the_environment_names_a_profile(profile: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_ENVIRONMENT_VARIABLE, profile)

    assert default_model_path().parts[-3:] == ("models", "audio", name)


def test_without_the_environment_the_repositorys_model_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL_ENVIRONMENT_VARIABLE, raising=False)

    assert default_model_path().name == "latest.onnx"


def test_the_distance_is_to_the_nearest_class_in_standard_deviations() -> None:
    reference = OodReference(means=((0.0, 0.0), (10.0, 0.0)), components=((0.5, 0.0), (0.0, 1.0)))

    def distance(x: float, y: float) -> float:
        return reference.distance(np.array([x, y], dtype=np.float32))

    assert distance(0.0, 0.0) == 0.0
    assert distance(10.0, 0.0) == 0.0
    assert distance(2.0, 0.0) == pytest.approx(np.sqrt(0.5))
    assert distance(9.0, 1.0) == pytest.approx(np.sqrt((0.25 + 1.0) / 2))
