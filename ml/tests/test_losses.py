"""The optional terms of the loss and the optional ways of a step: each does what its paper says, and learns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ml.config import Experiment
from ml.training.batches import Batch
from ml.training.checkpoint import load
from ml.training.losses import ONE_CLASS_FAR, ONE_CLASS_NEAR, contrastive_loss, one_class_loss
from ml.training.mixing import mixed
from ml.training.sharpness import climbed
from ml.training.train import train

LABELS = torch.tensor([0.0, 0.0, 1.0, 1.0])


def directions(*degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.mark.parametrize("loss", [one_class_loss, contrastive_loss])
def test_classes_apart_cost_less_than_classes_mingled(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    apart, mingled = directions(0, 5, 180, 185), directions(0, 180, 5, 185)
    assert loss(apart, LABELS) < loss(mingled, LABELS)
    assert loss(3.0 * apart, LABELS) == pytest.approx(float(loss(apart, LABELS)), abs=1e-5)  # of directions alone


def test_one_class_asks_nothing_of_where_spoof_clips_lie_once_they_are_far() -> None:
    together, scattered = directions(-2, 2, 150, 151), directions(-2, 2, 100, 260)
    assert float(one_class_loss(together, LABELS)) == pytest.approx(
        float(one_class_loss(scattered, LABELS)), abs=0.01
    )
    assert float(contrastive_loss(together, LABELS)) < float(contrastive_loss(scattered, LABELS)) - 0.1
    assert ONE_CLASS_FAR < ONE_CLASS_NEAR


def test_mixing_mixes_clips_labels_and_frames_alike() -> None:
    torch.manual_seed(1)
    ones = torch.ones(4, 5)
    batch = Batch(LABELS[:, None] * ones, LABELS, LABELS[:, None] * ones, torch.ones(2, dtype=torch.bool))
    found = mixed(batch, alpha=1.0)
    assert torch.allclose(found.waveforms, found.labels[:, None] * ones)
    assert torch.allclose(found.frame_labels, found.waveforms)
    assert ((found.labels > 0) & (found.labels < 1)).any()
    assert ((found.labels - LABELS).abs() <= 0.5).all()  # the larger share is its own


def test_climbing_goes_up_the_gradient_and_comes_back() -> None:
    layer = nn.Linear(3, 1, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.tensor([[3.0, 0.0, 4.0]])
    with climbed([layer], 0.5):
        assert torch.allclose(layer.weight - before, torch.tensor([[0.3, 0.0, 0.4]]), atol=1e-6)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    "change",
    [
        {"one_class_weight": 0.5},
        {"contrastive_weight": 0.2},
        {"mixup_alpha": 0.4},
        {"sharpness_radius": 0.05},
        {"rank_loss_weight": 0.5},
    ],
)
def test_a_step_with_each_of_them_changes_what_is_learnt(
    smoke_experiment: Experiment, tmp_path: Path, change: dict[str, Any]
) -> None:
    short = replace(smoke_experiment.train, max_steps=1, evaluate_every=1, warmup_steps=0)
    # Copies, so that there are pairs.
    plain = replace(smoke_experiment, data=replace(smoke_experiment.data, copy_share=0.5), train=short)
    weights = []
    for name, experiment in (("plain", plain), ("changed", replace(plain, train=replace(short, **change)))):
        train(experiment, tmp_path / name, quiet=True)
        weights.append(load(tmp_path / name / "last.pt").weights)
    assert all(torch.isfinite(value).all() for value in weights[1].values())
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
