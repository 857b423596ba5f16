"""The layers of a speech recogniser as features: a small graph in the place of the published one, with its names."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ml.evaluation.metrics import roc_auc
from ml.models.recogniser import BORROWED, MELS
from ml.tests.conftest import SMOKE
from ml.training import borrowed
from ml.training.borrowed import HEARD_S, INPUT, LAYERS, Ears, main, train_head

WIDTH = 6
FRAMES = 400


@pytest.fixture(scope="module")
def graph() -> bytes:
    """Two frames of the spectrogram make one of the layers; every layer mixes the one before."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Transpose", [INPUT], ["by_time"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["by_time", "pairs"], ["frames"]),
    ]
    weights = [numpy_helper.from_array(np.array([0, FRAMES, 2 * MELS]), "pairs")]
    before, size = "frames", 2 * MELS
    for name in LAYERS:
        matrix = rng.normal(0.0, size**-0.5, (size, WIDTH)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"{name}.weight"))
        nodes += [
            helper.make_node("MatMul", [before, f"{name}.weight"], [f"{name}.mixed"]),
            helper.make_node("Tanh", [f"{name}.mixed"], [name]),
        ]
        before, size = name, WIDTH
    nodes.append(helper.make_node("ReduceMax", [before], ["logits"]))
    made = helper.make_graph(
        nodes,
        "ears",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", MELS, 2 * FRAMES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, 1])],
        weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(content)
    return content


@pytest.fixture
def ears(graph: bytes, tmp_path: Path) -> Ears:
    path = tmp_path / "ears.onnx"
    path.write_bytes(graph)
    return Ears(path)


def test_features_are_of_the_clip_alone_whatever_its_level_and_length(ears: Ears) -> None:
    rng = np.random.default_rng(1)
    clip = rng.normal(0.0, 0.05, 48_000).astype(np.float32)
    found = ears.features(clip)
    assert found.shape == (len(LAYERS) * 3 * WIDTH,)
    assert np.allclose(ears.features(0.1 * clip), found, atol=1e-3)
    longer = np.concatenate((rng.normal(0.0, 0.05, 160_000).astype(np.float32), np.tile(clip, 3)))
    assert np.isfinite(ears.features(longer)).all()
    assert np.array_equal(ears.features(longer), ears.features(longer[-int(16_000 * HEARD_S) :]))


def test_the_spectrogram_is_the_one_that_the_recogniser_was_trained_on(ears: Ears) -> None:
    """A tone of 1 kHz lies in the triangle about 15 mel (Slaney), everything far below it at the end of the range."""
    time = np.arange(128_000) / 16_000
    found = ears.spectrogram(np.sin(2 * np.pi * 1_000.0 * time).astype(np.float32))
    assert found.shape == (MELS, 2 * FRAMES)
    edges_mel = np.linspace(0.0, 45.245640471924965, MELS + 2)  # 8 kHz: 15 + 27 * ln(8) / ln(6.4)
    assert int(found[:, 400].argmax()) == int(np.abs(edges_mel[1:-1] - 15.0).argmin())
    assert float(found.max() - found.min()) == pytest.approx(2.0)


def test_a_head_learns_what_the_features_tell_and_repeats_itself() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(3.0, 2.0, (600, 20)).astype(np.float32)
    is_spoof = features[:, 4] + features[:, 7] > 6.0
    heads = [train_head(features[:500], is_spoof[:500], seed, steps=300) for seed in (1, 1, 2)]
    with torch.no_grad():
        first, again, other = (head(torch.from_numpy(features[500:])).numpy() for head in heads)
    assert roc_auc(first.astype(np.float64), is_spoof[500:]) > 0.9
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_command_prints_the_shipped_detector_the_head_and_both(
    graph: bytes,
    toy_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    config = tmp_path / "smoke.toml"
    config.write_text(SMOKE.read_text().replace("runs/smoke/cache", str(cache)))
    sha256 = hashlib.sha256(graph).hexdigest()
    monkeypatch.setattr(borrowed, "BORROWED", replace(BORROWED, sha256=sha256))
    (cache / f"published-{sha256[:16]}.pt").write_bytes(graph)
    call = ["--config", str(config), "--manifest", str(toy_manifest), "--conditions", "clean", "short_1.5s"]
    assert main([*call, "--jobs", "1"]) == 0
    told = capsys.readouterr().out
    rows = [line.split(" | ") for line in told.splitlines()]
    assert rows[0][:4] == ["| condition", "logit", "AUC", "EER, %"]
    assert [row[0].removeprefix("| ") for row in rows[2:]] == ["clean"] * 3 + ["short_1.5s"] * 3
    assert rows[3][1] == "borrowed, 3 heads" and rows[4][1] == "both"
    assert all(0.0 <= float(row[2]) <= 1.0 for row in rows[2:])
    assert len(list(cache.glob("borrowed-*.npy"))) == 4
    assert main([*call, "--jobs", "1"]) == 0
    assert capsys.readouterr().out == told


def test_what_can_not_be_brought_is_told(
    toy_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "smoke.toml"
    config.write_text(SMOKE.read_text().replace("runs/smoke/cache", str(tmp_path / "cache")))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert main(["--config", str(config), "--manifest", str(toy_manifest)]) == 2
    assert "run again with a network" in capsys.readouterr().err
