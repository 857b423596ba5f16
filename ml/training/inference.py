"""Scores of whole clips by a network in PyTorch: for held-out evaluations during training, and for parity checks.

The figures that are reported come from the exported graph through the library (`ml.evaluation.run`).
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.canonical import canonicalise
from earwitness.waveform import Samples, sample_count
from ml.datasets.manifest import Label
from ml.models.heads import SpoofNetwork
from ml.training.store import WaveformStore

WINDOW_S = 4.0
LENGTH_STEP_SAMPLES = sample_count(0.16)
"""Clips are cut to a multiple of this, so that enough of them are equally long to be scored together."""
BATCH_CLIPS = 32


@torch.no_grad()
def score_waveforms(
    network: SpoofNetwork, waveforms: Sequence[Samples], *, bf16: bool = False
) -> NDArray[np.float32]:
    """(clips,): the score of the first `WINDOW_S` of each waveform, canonicalised here."""
    device = next(network.parameters()).device
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, waveform in enumerate(waveforms):
        whole = min(waveform.size, sample_count(WINDOW_S))
        by_length[max(whole - whole % LENGTH_STEP_SAMPLES, LENGTH_STEP_SAMPLES)].append(i)
    scores = np.zeros(len(waveforms), np.float32)
    network.eval()
    for length, members in by_length.items():
        for start in range(0, len(members), BATCH_CLIPS):
            part = members[start : start + BATCH_CLIPS]
            batch = torch.from_numpy(np.stack([canonicalise(waveforms[i][:length]).samples for i in part])).to(
                device
            )
            spectrogram = network.frontend(batch)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                scored = network.from_spectrogram(spectrogram)
            scores[part] = scored.score.float().cpu().numpy()
    return scores


def heldout_scores(
    network: SpoofNetwork, store: WaveformStore, *, bf16: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(clips,) scores of every clip of the store, and whether each is spoof."""
    waveforms = [store.waveform(i) for i in range(len(store.clips))]
    is_spoof = np.array([clip.label == Label.SPOOF for clip in store.clips])
    return score_waveforms(network, waveforms, bf16=bf16), is_spoof
