"""What a smaller encoder is taught: to say of a sound what the whole one says of it, layer by layer, without labels.

FitNets (Romero et al., 2015, ICLR) with layers of one width, so that nothing stands between the two. A few thousand
labelled clips teach seven million weights the clips (docs/experiments.md, eighth round); each of these clips holds a
hundred frames of some hundred numbers to be hit, whoever speaks.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from earwitness.canonical import canonicalise
from ml.config import ConfigError
from ml.models.encoders import whole_encoder
from ml.models.heads import SpoofNetwork
from ml.models.recogniser import Encoder, RecogniserMember
from ml.training.store import WaveformStore

VARIANCE_FLOOR = 1e-6  # a channel that never changes stays finite


class Listening(nn.Module):
    """The layers of a network's one member, as one module for DDP."""

    def __init__(self, network: SpoofNetwork) -> None:
        super().__init__()
        self.member = listener(network)

    def forward(self, waveforms: Tensor, bf16: bool = False) -> list[Tensor]:
        """(batch, samples) to the layers of `Encoder`."""
        return _layers(self.member.frontend, self.member.backbone, waveforms, bf16)


def listener(network: SpoofNetwork) -> RecogniserMember:
    """The network's one member; ConfigError where it is of another architecture or one of several."""
    member = network.members[0]
    if len(network.members) > 1 or not isinstance(member, RecogniserMember):
        raise ConfigError('this needs an experiment with architecture = "recogniser"')
    return member


def _layers(frontend: nn.Module, encoder: nn.Module, waveforms: Tensor, bf16: bool) -> list[Tensor]:
    spectrogram = frontend(waveforms)  # in float32 always, as in `Member.forward`
    with torch.autocast(waveforms.device.type, torch.bfloat16, enabled=bf16):
        layers: list[Tensor] = encoder(spectrogram)
    return [layer.float() for layer in layers]


class Teacher:
    """The whole encoder as it was borrowed, kept in `cache`, or the first `blocks` of its blocks."""

    def __init__(self, student: RecogniserMember, cache: Path, device: torch.device, blocks: int = 0) -> None:
        """Raises ConfigError where the encoder has fewer than `blocks`, or the student more."""
        self.frontend, self.step = student.frontend, student.backbone.step
        origin, count = student.backbone.origin, len(student.backbone.blocks)
        blocks = blocks or origin.blocks
        if not count <= blocks <= origin.blocks:
            raise ConfigError(f"train.mimic_blocks must lie between {count}, the student's, and {origin.blocks}")
        self.encoder = Encoder(origin, blocks, origin.hidden).eval().requires_grad_(requires_grad=False)
        self.encoder.take(whole_encoder(origin, cache))
        self.encoder.to(device)
        self.heard = [round(number * blocks / count) for number in range(count + 1)]
        """Which of the teacher's layers each of the student's is to say: the first and the last, and between them
        those that lie as far on."""

    @torch.no_grad()
    def __call__(self, waveforms: Tensor, bf16: bool = False) -> list[Tensor]:
        """(batch, samples) to a layer for each of the student's, at its frames."""
        layers = _layers(self.frontend, self.encoder, waveforms, bf16)
        return [layers[number][:, :: self.step] for number in self.heard]


def unexplained(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """(layers,) shares of the teacher's variance over a batch's frames that the student misses: the mean over the
    channels, each of which counts alike (some vary a thousand times as much as others). Differentiable."""
    return torch.stack(
        [
            ((said - wanted).square().mean((0, 1)) / (wanted.var((0, 1)) + VARIANCE_FLOOR)).mean()
            for said, wanted in zip(student, teacher, strict=True)
        ]
    )


@torch.no_grad()
def heldout_unexplained(network: SpoofNetwork, teacher: Teacher, heldout: WaveformStore) -> list[float]:
    """By layer, the mean over held-out clips, each by itself."""
    listening = Listening(network).eval()
    device = next(listening.parameters()).device
    shares = []
    for index in range(len(heldout.clips)):
        waveform = torch.from_numpy(canonicalise(heldout.waveform(index)).samples)[None].to(device)
        shares.append(unexplained(listening(waveform), teacher(waveform)))
    means: list[float] = torch.stack(shares).mean(0).tolist()
    return means
