"""What every architecture ends in: scores of frames, one embedding, one score.

A backbone turns a spectrogram into (batch, channels, frames); this head gives the graph's three outputs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOCAL_KERNEL = 5  # frames: the shortest stretch that is asked for, 0.5 s, and what lies on either side of it


class Scores(NamedTuple):
    score: Tensor
    """(batch,): raw logit of the whole window, higher = more likely spoof."""
    frame_scores: Tensor | None
    """(batch, frames): raw logit of each frame; of members with frames of their own how far it lies from the window's
    mean. None: this member of several gives none."""
    embedding: Tensor
    """(batch, dim)"""


class AttentiveHead(nn.Module):
    """Attentive statistics pooling (Okabe et al., 2018) over time, then one linear score."""

    def __init__(self, channels: int, embedding: int, dropout: float, *, frames: bool = True) -> None:
        """Without `frames` it gives no frame scores."""
        super().__init__()
        self.frame_score = nn.Conv1d(channels, 1, 1) if frames else None
        self.attention = nn.Sequential(
            nn.Conv1d(channels, channels // 2, 1), nn.Tanh(), nn.Conv1d(channels // 2, 1, 1)
        )
        self.project = nn.Sequential(nn.Linear(2 * channels, embedding), nn.BatchNorm1d(embedding), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(embedding, 1)

    def forward(self, features: Tensor) -> Scores:
        weights = torch.softmax(self.attention(features), dim=-1)
        mean = (features * weights).sum(-1)
        # Not as E[x^2] - mean^2, which loses digits: the export's parity check found 1.3e-4 of it.
        variance = ((features - mean.unsqueeze(-1)).square() * weights).sum(-1)
        pooled = torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)
        embedding = self.project(pooled)
        score = self.score(self.dropout(embedding)).squeeze(1)
        frames = None if self.frame_score is None else self.frame_score(features).squeeze(1)
        return Scores(score, frames, embedding)


def frame_scorer(width: int, hidden: int) -> nn.Sequential:
    """(batch, width, frames) to (batch, 1, frames): a score of each frame out of it and its neighbours."""
    return nn.Sequential(
        nn.Conv1d(width, hidden, 1, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Conv1d(hidden, hidden, LOCAL_KERNEL, padding=LOCAL_KERNEL // 2, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Conv1d(hidden, 1, 1),
    )


def halved(loudest: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, channels, frames) each to half as many frames, rounded up as the stages' strides do: the one to its
    maximum, the other to its mean. In two dimensions: max_pool1d ties the exported graph to one length."""
    strongest = F.max_pool2d(loudest.unsqueeze(2), (1, 3), (1, 2), (0, 1))
    average = F.avg_pool2d(mean.unsqueeze(2), (1, 3), (1, 2), (0, 1), count_include_pad=False)
    return strongest.squeeze(2), average.squeeze(2)


class LocalFrames(nn.Module):
    """(batch, frames) logits to add to the frame scores, from the maps of stages before the last.

    A frame of the last stage has heard a second around it and, through the gates of squeeze-and-excitation, the whole
    clip; a splice is shorter. The maps of each earlier stage are mixed over frequency and pooled to the frames; beside
    the result stands how it differs from the clip's mean, since what is set in differs from what it is set into.
    """

    def __init__(self, stages: Sequence[tuple[int, int]], width: int = 48, hidden: int = 64) -> None:
        """`stages`: channels and rows of frequency of each map, each at twice the rate of the next; the last of them
        at twice that of the frames."""
        super().__init__()
        self.mixes = nn.ModuleList(
            nn.Sequential(nn.Conv1d(channels * rows, width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU())
            for channels, rows in stages
        )
        self.score = frame_scorer(4 * width * len(stages), hidden)
        # Adds nothing before it has learnt something.
        last = self.score[-1]
        assert isinstance(last, nn.Conv1d)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        pooled = []
        for place, (mix, features) in enumerate(zip(self.mixes, maps, strict=True)):
            loudest = mean = mix(features.flatten(1, 2))
            for _ in range(len(maps) - place):
                loudest, mean = halved(loudest, mean)
            pooled += [loudest, mean]
        local = torch.cat(pooled, dim=1)
        scores: Tensor = self.score(torch.cat([local, local - local.mean(-1, keepdim=True)], dim=1))
        return scores.squeeze(1)


class FrequencyPool(nn.Module):
    """(batch, channels, bins, frames) to (batch, out, frames): mean and maximum over frequency, mixed."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv1d(2 * channels, out, 1, bias=False), nn.BatchNorm1d(out), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([features.mean(2), features.amax(2)], dim=1))
        return mixed


class FrequencyRows(nn.Module):
    """(batch, channels, rows, frames) to (batch, out, frames): every row of frequency keeps weights of its own.

    What gives synthesis away at 6 kHz means nothing at 300 Hz; a mean over frequency can't tell the two apart.
    """

    def __init__(self, channels: int, rows: int, out: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv1d(channels * rows, out, 1, bias=False), nn.BatchNorm1d(out), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        mixed: Tensor = self.mix(features.flatten(1, 2))
        return mixed


class Member(nn.Module):
    """Front-end, backbone and head: (batch, samples) to `Scores`."""

    def __init__(self, frontend: nn.Module, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.frontend = frontend
        self.backbone = backbone
        self.head = head

    def forward(self, waveforms: Tensor, mask_bins: int = 0, bf16: bool = False) -> Scores:
        spectrogram = self.frontend(waveforms)  # in float32 always: the logarithm needs the range
        if mask_bins:
            spectrogram = mask_frequency(spectrogram, mask_bins)
        with torch.autocast(waveforms.device.type, torch.bfloat16, enabled=bf16):
            scores = self.judge(spectrogram)
        if not bf16:
            return scores
        frames = None if scores.frame_scores is None else scores.frame_scores.float()
        return Scores(scores.score.float(), frames, scores.embedding.float())

    def judge(self, spectrogram: Tensor) -> Scores:
        """Of a (batch, 1, bins, frames) spectrogram."""
        scores: Scores = self.head(self.backbone(spectrogram))
        return scores

    def frame_parts(self) -> list[nn.Module]:
        """What gives the frame scores and nothing else; empty where none are given."""
        return [part for name, part in self.head.named_children() if name == "frame_score"]

    @torch.no_grad()
    def scale_score(self, factor: float) -> None:
        """Multiply every score of a whole window by `factor`: what is averaged must be of one size."""
        last = self.head.get_submodule("score")
        assert isinstance(last, nn.Linear)
        last.weight.mul_(factor)
        last.bias.mul_(factor)

    def borrow(self, folder: Path) -> None:
        """Take the weights that others trained, brought to `folder` if need be. Most members have none to take."""

    def borrowed(self) -> list[nn.Parameter]:
        """Those that `borrow` sets."""
        return []


class SpoofNetwork(nn.Module):
    """One member or several in one graph: (batch, samples) to `Scores`.

    Of several, scores are averaged, frame scores over those that give them, and embeddings joined. Training gives each
    a loss of its own (`each`), so that they stay as different as separate runs would make them (deep ensembles,
    Lakshminarayanan et al., 2017).
    """

    def __init__(self, *members: Member) -> None:
        super().__init__()
        if not members:
            raise ValueError("a network needs a member")
        self.members = nn.ModuleList(members)

    def forward(self, waveforms: Tensor) -> Scores:
        return self.joined(self.each(waveforms))

    def each(self, waveforms: Tensor, mask_bins: int = 0, bf16: bool = False) -> list[Scores]:
        """The scores of every member; `mask_bins` is the widest band that training blanks, 0 for none."""
        return [member(waveforms, mask_bins, bf16) for member in self.members]

    def frame_parts(self) -> list[nn.Module]:
        """What gives the frame scores of all members and nothing else."""
        return [part for member in self.members for part in member.frame_parts()]  # type: ignore[operator]

    def borrow(self, folder: Path) -> None:
        """Every member does; see `Member.borrow`."""
        for member in self.members:
            member.borrow(folder)  # type: ignore[operator]

    def borrowed(self) -> list[nn.Parameter]:
        return [parameter for member in self.members for parameter in member.borrowed()]  # type: ignore[operator]

    @staticmethod
    def joined(parts: Sequence[Scores]) -> Scores:
        if len(parts) == 1:
            return parts[0]
        return Scores(
            torch.stack([part.score for part in parts]).mean(0),
            torch.stack([part.frame_scores for part in parts if part.frame_scores is not None]).mean(0),
            torch.cat([part.embedding for part in parts], dim=1),
        )


def mask_frequency(spectrogram: Tensor, widest: int) -> Tensor:
    """Blank one random band of at most `widest` bins in each (batch, 1, bins, frames) spectrogram (Park, 2019)."""
    batch, _, bins, _ = spectrogram.shape
    width = torch.rand(batch, 1, device=spectrogram.device) * widest
    start = torch.rand(batch, 1, device=spectrogram.device) * (bins - width)
    index = torch.arange(bins, device=spectrogram.device)
    inside = (index >= start) & (index < start + width)
    return spectrogram.masked_fill(inside[:, None, :, None], 0.0)  # 0 is the mean of every normalised bin
