"""Scores of whole clips by a network in PyTorch: for held-out evaluations during training, and for parity checks.

The figures that are reported come from the exported graph through the library (`ml.evaluation.score_clips`).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.canonical import canonicalise
from earwitness.errors import InputError
from earwitness.waveform import Samples, sample_count, seconds
from ml.datasets.manifest import Clip, Label
from ml.evaluation.metrics import equal_error_rate
from ml.evaluation.scores import EvaluationInputError
from ml.evaluation.splices import make_splice, plan_splices
from ml.models.heads import SpoofNetwork
from ml.training.store import WaveformStore

WINDOW_S = 4.0
LENGTH_STEP_SAMPLES = sample_count(0.16)
"""Clips are cut to a multiple of this, so that enough of them are equally long to be scored together."""
BATCH_CLIPS = 32
SPLICES = 150  # of held-out clips: some 2,700 frames, judged in seconds


class Judged(NamedTuple):
    score: NDArray[np.float32]
    """(clips,)"""
    embedding: NDArray[np.float32]
    """(clips, dim)"""
    by_member: NDArray[np.float32]
    """(clips, members): the scores whose mean is `score`."""


@torch.no_grad()
def judge_waveforms(network: SpoofNetwork, waveforms: Sequence[Samples], *, bf16: bool = False) -> Judged:
    """Score and embedding of the first `WINDOW_S` of each waveform, canonicalised here."""
    device = next(network.parameters()).device
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, waveform in enumerate(waveforms):
        whole = min(waveform.size, sample_count(WINDOW_S))
        by_length[max(whole - whole % LENGTH_STEP_SAMPLES, LENGTH_STEP_SAMPLES)].append(i)
    score: dict[int, np.float32] = {}
    embedding: dict[int, NDArray[np.float32]] = {}
    by_member: dict[int, NDArray[np.float32]] = {}
    network.eval()
    for length, members in by_length.items():
        for start in range(0, len(members), BATCH_CLIPS):
            part = members[start : start + BATCH_CLIPS]
            batch = torch.from_numpy(np.stack([canonicalise(waveforms[i][:length]).samples for i in part])).to(
                device
            )
            each = network.each(batch, bf16=bf16)
            judged = network.joined(each)
            score.update(zip(part, judged.score.float().cpu().numpy(), strict=True))
            embedding.update(zip(part, judged.embedding.float().cpu().numpy(), strict=True))
            scores_of_each = torch.stack([one.score for one in each], dim=1).float().cpu().numpy()
            by_member.update(zip(part, scores_of_each, strict=True))
    order = range(len(waveforms))
    return Judged(
        np.array([score[i] for i in order]),
        np.stack([embedding[i] for i in order]),
        np.stack([by_member[i] for i in order]),
    )


def heldout_scores(
    network: SpoofNetwork, store: WaveformStore, *, bf16: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(clips, members) scores of every clip of the store, and whether each is spoof."""
    waveforms = [store.waveform(i) for i in range(len(store.clips))]
    is_spoof = np.array([clip.label == Label.SPOOF for clip in store.clips])
    return judge_waveforms(network, waveforms, bf16=bf16).by_member, is_spoof


class Spliced(NamedTuple):
    waveform: Samples
    """Canonical."""
    frame_labels: NDArray[np.int8]
    """1 where a frame is synthetic."""


def heldout_splices(clips: Sequence[Clip]) -> list[Spliced]:
    """Spliced recordings of held-out clips, planned as those that `make evaluate` judges frame scores on."""
    found = []
    for plan in plan_splices(clips, SPLICES, seed=1):
        try:
            mixed, labels = make_splice(plan, seconds(LENGTH_STEP_SAMPLES), WINDOW_S)
        except (InputError, EvaluationInputError):
            continue  # training has said what can't be read
        found.append(Spliced(canonicalise(mixed).samples, labels))
    return found


@torch.no_grad()
def segment_eer(network: SpoofNetwork, splices: Sequence[Spliced]) -> float:
    """EER over the frames of all of them; needs a network with a frame score every 160 ms."""
    device = next(network.parameters()).device
    network.eval()
    scores, is_spoof = [], []
    for one in splices:
        waveform = torch.from_numpy(one.waveform)[None].to(device)
        found = network(waveform).frame_scores
        assert found is not None  # of a whole network they never are
        frames = found[0].float().cpu().numpy()
        count = min(frames.size, one.frame_labels.size)  # a last part frame may lack a score
        scores.append(frames[:count])
        is_spoof.append(one.frame_labels[:count] == 1)
    return equal_error_rate(np.concatenate(scores).astype(np.float64), np.concatenate(is_spoof))[0]
