"""What a smaller encoder is taught: to say of a sound what the whole one says of it, layer by layer, without labels.

FitNets (Romero et al., 2015, ICLR). Where both have layers of one width, nothing stands between the two; a wider
teacher's are read off the student's by a linear map, as a head would read them. A few thousand labelled clips teach
seven million weights the clips (docs/experiments.md, eighth round); each of these clips holds a hundred frames of some
hundred numbers to be hit, whoever speaks.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from earwitness.canonical import canonicalise
from ml.config import ConfigError
from ml.models.encoders import BORROWED, whole_encoder
from ml.models.heads import SpoofNetwork
from ml.models.recogniser import Encoder, RecogniserMember
from ml.training.store import WaveformStore

VARIANCE_FLOOR = 1e-6  # a channel that never changes stays finite
RIDGE = 0.01  # of the mean variance of the student's channels, so that a batch of few frames has a map too


class Listening(nn.Module):
    """The layers of a network's one member, as one module for DDP."""

    def __init__(self, network: SpoofNetwork) -> None:
        super().__init__()
        self.member = listener(network)

    def forward(self, waveforms: Tensor) -> list[Tensor]:
        """(batch, samples) to the layers of `Encoder`."""
        layers: list[Tensor] = self.member.backbone(self.member.frontend(waveforms))
        return layers


def listener(network: SpoofNetwork) -> RecogniserMember:
    """The network's one member; ConfigError where it is of another architecture or one of several."""
    member = network.members[0]
    if len(network.members) > 1 or not isinstance(member, RecogniserMember):
        raise ConfigError('this needs an experiment with architecture = "recogniser"')
    return member


class Teacher:
    """A whole encoder as it was borrowed, or its first blocks; kept in `cache`."""

    def __init__(
        self, student: RecogniserMember, cache: Path, device: torch.device, name: str = "", blocks: int = 0
    ) -> None:
        """`name` and `blocks` are `train.mimic_of` and `train.mimic_blocks`. ConfigError where there is no such one."""
        self.frontend, self.step = student.frontend, student.backbone.step
        if name and name not in BORROWED:
            raise ConfigError(f"train.mimic_of: unknown encoder {name!r}; known: {', '.join(sorted(BORROWED))}")
        origin = BORROWED[name] if name else student.backbone.origin
        if not 0 <= blocks <= origin.blocks:
            raise ConfigError(f"train.mimic_blocks must lie between 1 and {origin.blocks}, or be 0 for all")
        blocks = blocks or origin.blocks
        self.encoder = Encoder(origin, blocks, origin.hidden).eval().requires_grad_(requires_grad=False)
        self.encoder.take(whole_encoder(origin, cache))
        self.encoder.to(device)
        count = len(student.backbone.blocks)
        self.heard = [round(number * blocks / count) for number in range(count + 1)]
        """Which of the teacher's layers each of the student's is to say: the first and the last, and between them
        those that lie as far on."""

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> list[Tensor]:
        """(batch, samples) to a layer for each of the student's, at its frames."""
        layers = self.encoder(self.frontend(waveforms))
        return [layers[number][:, :: self.step] for number in self.heard]


def read_off(said: Tensor, wanted: Tensor) -> Tensor:
    """What the linear map that is best for this batch reads of `wanted` (batch, frames, any width) off `said` (batch,
    frames, width). Differentiable by `said`; the map stands still, which at its best is all that the gradient needs."""
    rows, targets = said.detach().flatten(0, 1), wanted.flatten(0, 1)
    centre, middle = rows.mean(0), targets.mean(0)
    rows = rows - centre
    squares = rows.T @ rows
    squares.diagonal().add_(RIDGE * squares.diagonal().mean() + VARIANCE_FLOOR)
    reading = torch.linalg.solve(squares, rows.T @ (targets - middle))
    read: Tensor = (said - centre) @ reading + middle
    return read


def unexplained(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """(layers,) shares of the teacher's variance over a batch's frames that the student misses: the mean over the
    channels, each of which counts alike (some vary a thousand times as much as others). Of a teacher of another width
    it is what can't be read off the student (`read_off`). Differentiable."""
    shares = []
    for said, wanted in zip(student, teacher, strict=True):
        read = said if said.shape == wanted.shape else read_off(said, wanted)
        shares.append(((read - wanted).square().mean((0, 1)) / (wanted.var((0, 1)) + VARIANCE_FLOOR)).mean())
    return torch.stack(shares)


@torch.no_grad()
def heldout_unexplained(network: SpoofNetwork, teacher: Teacher, heldout: WaveformStore) -> list[float]:
    """By layer, the mean over held-out clips, each by itself; of a wider teacher, over the frames of all of them, since
    one clip has too few for a map of its own."""
    listening = Listening(network).eval()
    device = next(listening.parameters()).device
    shares, all_said, all_wanted = [], [], []
    for index in range(len(heldout.clips)):
        waveform = torch.from_numpy(canonicalise(heldout.waveform(index)).samples)[None].to(device)
        said, wanted = listening(waveform), teacher(waveform)
        if said[0].shape == wanted[0].shape:
            shares.append(unexplained(said, wanted))
        else:
            all_said.append(said)
            all_wanted.append(wanted)
    if all_said:
        said, wanted = ([torch.cat(layer, 1) for layer in zip(*of, strict=True)] for of in (all_said, all_wanted))
        shares.append(unexplained(said, wanted))
    means: list[float] = torch.stack(shares).mean(0).tolist()
    return means
