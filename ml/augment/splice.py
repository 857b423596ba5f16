"""Partial spoofs: stretches of synthetic speech set into a human recording, with the truth for every frame.

    mixed, labels = splice(bonafide, spoof, rng)      # labels[k] is 1 where frame k is (partly) synthetic

Best with a pair of one source (`copy_synthesise` keeps the timing): then only the synthesis changes at a cut.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import Samples, sample_count
from ml.augment.draws import Range, uniform, whole
from ml.augment.spectrum import TINY_RMS, rms

SHORTEST_S = 0.1  # in less than this neither a stretch nor its fades mean anything


@dataclass(frozen=True, slots=True)
class SpliceConfig:
    segments: tuple[int, int] = (1, 2)
    segment_s: Range = (0.3, 2.0)
    fade_s: Range = (0.005, 0.03)
    largest_share: float = 0.7
    """At most this part of the clip becomes spoof: some of it must stay human."""
    frame_hop_s: float = 0.16
    label_share: float = 0.5
    """A frame is spoof when at least this part of it is."""


def splice(
    bonafide: Samples, spoof: Samples, rng: np.random.Generator, config: SpliceConfig | None = None
) -> tuple[Samples, NDArray[np.int8]]:
    """Set stretches of `spoof` into `bonafide` at the same times, cross-faded and matched in level.

    Returns the clip, as long as `bonafide`, and labels of shape (ceil(length / frame hop),): frame k covers
    [k, k + 1) * frame_hop_s. At least one stretch is set in. Raises ValueError where the two differ in length or
    are shorter than `SHORTEST_S`.
    """
    config = config or SpliceConfig()
    if bonafide.shape != spoof.shape or bonafide.ndim != 1 or bonafide.size < sample_count(SHORTEST_S):
        raise ValueError(
            f"splice needs two clips of one length, {SHORTEST_S} s or more, "
            f"not of shapes {bonafide.shape} and {spoof.shape}"
        )
    length = bonafide.size
    fade = max(1, min(sample_count(uniform(rng, config.fade_s)), length // 8))
    is_spoof = np.zeros(length, dtype=bool)
    budget = int(config.largest_share * length)
    mixed = bonafide.astype(np.float32)
    for _ in range(whole(rng, config.segments)):
        size = min(sample_count(uniform(rng, config.segment_s)), budget)
        start = int(rng.integers(0, length - size, endpoint=True))
        if size < 2 * fade or is_spoof[max(0, start - fade) : start + size + fade].any():
            continue
        budget -= size
        _set_in(mixed, spoof, start, size, fade)
        is_spoof[start : start + size] = True
    return mixed, frame_labels(is_spoof, config)


def frame_labels(is_spoof: NDArray[np.bool_], config: SpliceConfig) -> NDArray[np.int8]:
    """1 for each frame of which at least `label_share` is spoof, 0 for the others; a last part frame counts."""
    hop = sample_count(config.frame_hop_s)
    count = math.ceil(is_spoof.size / hop)
    padded = np.pad(is_spoof.astype(np.float64), (0, count * hop - is_spoof.size), constant_values=np.nan)
    share = np.nanmean(padded.reshape(count, hop), axis=1)
    labels: NDArray[np.int8] = (share >= config.label_share).astype(np.int8)
    return labels


def _set_in(mixed: Samples, spoof: Samples, start: int, size: int, fade: int) -> None:
    """Replace mixed[start : start + size] in place; the cross-fades lie inside the stretch."""
    here = slice(start, start + size)
    piece = spoof[here]
    level = rms(piece)
    target = rms(mixed[here])
    if level >= TINY_RMS and target >= TINY_RMS:
        piece = piece * np.float32(min(max(target / level, 0.1), 10.0))
    weight = np.ones(size, dtype=np.float32)
    ramp = np.sin(0.5 * np.pi * (np.arange(fade, dtype=np.float32) + 0.5) / fade) ** 2
    if start > 0:
        weight[:fade] = ramp
    if start + size < mixed.size:
        weight[-fade:] = ramp[::-1]
    mixed[here] += weight * (piece - mixed[here])
