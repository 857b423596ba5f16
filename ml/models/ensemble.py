"""Several networks in one graph, each with a spectrogram of its own.

A short window shows when something happens, a long one at which frequency; what a vocoder leaves behind is plain in the
one or the other. Their mean is better on systems never heard than either of them (docs/experiments.md). A recogniser's
encoder can stand beside them: it errs elsewhere.
"""

from dataclasses import dataclass, field
from typing import Any

from ml.models import recogniser
from ml.models.frontend import FrontendConfig
from ml.models.heads import SpoofNetwork
from ml.models.recogniser import RecogniserConfig
from ml.models.seresnet import SeResNetConfig, member
from ml.models.seresnet import frame_hop_samples as frame_hop_of


def _short_and_long() -> tuple[SeResNetConfig, ...]:
    half: dict[str, Any] = {"channels": (16, 32, 64, 128), "blocks": (1, 1, 1, 1), "pool": "rows"}
    return (
        SeResNetConfig(
            FrontendConfig(fft=512, window=400, hop=160, margin=200), stem_stride=4, time_stride=2, **half
        ),
        SeResNetConfig(FrontendConfig(fft=1024, window=800, hop=320), stem_stride=8, time_stride=1, **half),
    )


@dataclass(frozen=True, slots=True)
class EnsembleConfig:
    members: tuple[SeResNetConfig, ...] = field(default_factory=_short_and_long)
    recognisers: tuple[RecogniserConfig, ...] = ()
    """Further members, after those."""

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("an ensemble needs members")
        if all(one.frames == "none" for one in self.members) and not any(r.frame_width for r in self.recognisers):
            raise ValueError("one of the members must give frame scores")
        hops = {frame_hop_of(one) for one in self.members} | {
            recogniser.frame_hop_samples(r) for r in self.recognisers
        }
        if len(hops) > 1:
            raise ValueError(
                "all members must give a frame score as often: frontend.hop * time_stride * 2 per stage"
            )
        heard = {one.frontend.window + 2 * one.frontend.margin for one in self.members}
        if len(heard | {recogniser.FFT + 2 * one.margin for one in self.recognisers}) > 1:
            raise ValueError("frontend.window + 2 * frontend.margin must be the same for all members")


def build(config: EnsembleConfig) -> SpoofNetwork:
    return SpoofNetwork(
        *(member(one) for one in config.members), *(recogniser.member(one) for one in config.recognisers)
    )


def frame_hop_samples(config: EnsembleConfig) -> int:
    """Samples from one frame score to the next."""
    return frame_hop_of(config.members[0])
