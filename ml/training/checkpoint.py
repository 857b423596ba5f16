"""Checkpoints: everything needed to go on with a run, and to say later what it was.

Written to a temporary name and renamed, so that a killed run leaves the last whole one.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ml.config import ConfigError, Experiment, parse
from ml.models import build_network
from ml.models.heads import SpoofNetwork


@dataclass(frozen=True, slots=True)
class Checkpoint:
    experiment: Experiment
    step: int
    """Steps done."""
    weights: dict[str, Any]
    """The network as trained."""
    averaged_weights: dict[str, Any]
    """Exponential moving average of the weights over the steps: what is evaluated and exported."""
    optimiser: dict[str, Any]
    best_eer: float
    """Of the held-out clips; of frames of spliced ones where only frame scores are trained."""
    evaluations_since_best: int
    provenance: dict[str, Any] = field(default_factory=dict)
    """git revision, library versions, manifest hash, machine, held-out repositories."""
    history: tuple[dict[str, float], ...] = ()
    """One entry an evaluation."""

    @property
    def ended(self) -> bool:
        """Whether all steps are done, or the held-out EER no longer fell for as long as the experiment waits."""
        settings = self.experiment.train
        return self.step >= settings.max_steps or self.evaluations_since_best >= settings.patience


def save(checkpoint: Checkpoint, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    values["experiment"] = asdict(checkpoint.experiment)
    partial = path.with_suffix(".part")
    torch.save(values, partial)
    partial.replace(path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; no code in it is run. Raises ConfigError where it is missing or of another version."""
    if not path.is_file():
        raise ConfigError(f"no checkpoint at {path}: train first (`make train`)")
    values = torch.load(path, map_location="cpu", weights_only=True)
    values["experiment"] = parse(Experiment, values["experiment"], f"{path}: ")
    return Checkpoint(**values)


def load_network(checkpoint: Checkpoint) -> tuple[SpoofNetwork, int]:
    """The network with its averaged weights, in evaluation mode, and its frame hop in samples."""
    network, frame_hop = build_network(checkpoint.experiment.architecture, checkpoint.experiment.model)
    network.load_state_dict(checkpoint.averaged_weights)
    return network.eval(), frame_hop
