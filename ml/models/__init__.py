"""The architectures that can be trained: one explicit table, one file each.

network, frame_hop = build_network("seresnet", {"channels": [16, 32, 64, 128]})
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml.config import ConfigError, parse
from ml.models import conformer, ensemble, lcnn, raw, recogniser, seresnet
from ml.models.heads import Scores, SpoofNetwork

__all__ = ["ARCHITECTURES", "Architecture", "Scores", "SpoofNetwork", "build_network"]


class Architecture(NamedTuple):
    config: type[Any]
    build: Callable[[Any], SpoofNetwork]
    frame_hop_samples: Callable[[Any], int]


ARCHITECTURES: Mapping[str, Architecture] = {
    "seresnet": Architecture(seresnet.SeResNetConfig, seresnet.build, seresnet.frame_hop_samples),
    "ensemble": Architecture(ensemble.EnsembleConfig, ensemble.build, ensemble.frame_hop_samples),
    "lcnn": Architecture(lcnn.LcnnConfig, lcnn.build, lcnn.frame_hop_samples),
    "conformer": Architecture(conformer.ConformerConfig, conformer.build, conformer.frame_hop_samples),
    "raw": Architecture(raw.RawConfig, raw.build, raw.frame_hop_samples),
    "recogniser": Architecture(recogniser.RecogniserConfig, recogniser.build, recogniser.frame_hop_samples),
}


def build_network(architecture: str, model: Mapping[str, Any]) -> tuple[SpoofNetwork, int]:
    """The untrained network and its frame hop in samples; ConfigError for an unknown name or key."""
    if architecture not in ARCHITECTURES:
        raise ConfigError(f"unknown architecture {architecture!r}; known: {', '.join(sorted(ARCHITECTURES))}")
    entry = ARCHITECTURES[architecture]
    config = parse(entry.config, model, "model.")
    return entry.build(config), entry.frame_hop_samples(config)
