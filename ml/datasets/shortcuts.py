"""The shortcut report: does anything trivial tell the classes apart, before and after the canonical view?

    report = shortcut_report(clips, per_split=500, seed=0)
    print(report_text(report))

Each trivial feature alone is used as a classifier of spoof; its ROC-AUC is folded to 0.5 or more, with the
direction beside it. Above `WARN_ABOVE` a network can learn the corpus instead of the speech (Mueller et al. 2021,
"Speech is silver, silence is golden": the length of the silence alone reached 85 % on ASVspoof 2019).

Names (codec, container, rates) have no order: a clip's score is the share of spoof among the clips of the same
name in the other four fifths of the split, so that a rare name can't score itself. The network never sees a name,
nor how the file is stored: those have no "after".
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from earwitness.canonical import CANONICAL_VERSION, canonicalise
from earwitness.errors import InputError
from earwitness.media import read_waveform
from ml.datasets.manifest import Clip
from ml.datasets.trivial import FEATURES, FRAME, measure

WARN_ABOVE = 0.60
FOLDS = 5
SMOOTHING = 5.0  # clips of the average kind added to each name: one clip of a rare codec proves nothing
STORAGE = ("codec", "container", "sample_rate_hz", "source_rate_hz", "bit_rate_kbps")
BIT_RATE = "bit_rate_kbps"


@dataclass(frozen=True, slots=True)
class FeatureAuc:
    split: str
    feature: str
    auc_before: float
    """0.5 to 1, on the recording as it is stored."""
    spoof_is: str
    """`higher` or `lower` than bona fide in this feature, before; `by name` for names."""
    auc_after: float | None
    """After the canonical view; None for what the network doesn't see."""

    @property
    def leaks(self) -> bool:
        return max(self.auc_before, self.auc_after or 0.0) > WARN_ABOVE


@dataclass(frozen=True, slots=True)
class ShortcutReport:
    canonical_version: int
    warn_above: float
    clips: Mapping[str, tuple[int, int]]
    """Bona fide and spoof clips measured, by split."""
    unreadable: tuple[str, ...]
    features: tuple[FeatureAuc, ...]

    @property
    def warnings(self) -> tuple[FeatureAuc, ...]:
        return tuple(feature for feature in self.features if feature.leaks)


def shortcut_report(
    clips: Sequence[Clip], *, per_split: int | None, seed: int, progress: bool = False
) -> ShortcutReport:
    """Measure every clip, or `per_split` of each split drawn at random with `seed`.

    Unreadable clips are listed and left out. A split without both classes is left out: nothing can be told.
    """
    unreadable: list[str] = []
    features: list[FeatureAuc] = []
    counts: dict[str, tuple[int, int]] = {}
    by_split: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_split[clip.split].append(clip)
    for split, members in sorted(by_split.items()):
        drawn = _draw(members, per_split, seed)
        kept: list[Clip] = []
        before: list[dict[str, float]] = []
        after: list[dict[str, float]] = []
        for clip in tqdm(drawn, unit="clip", desc=split, disable=not progress):
            try:
                samples, _ = read_waveform(clip.path)
            except (InputError, OSError) as e:
                unreadable.append(f"{clip.path}: {e}")
                continue
            if samples.size < FRAME:
                unreadable.append(f"{clip.path}: too short to measure")
                continue
            kept.append(clip)
            before.append(measure(samples))
            after.append(measure(canonicalise(samples).samples))
        spoof = np.array([clip.is_spoof for clip in kept], dtype=bool)
        counts[split] = (int(np.sum(~spoof)), int(np.sum(spoof)))
        if 0 in counts[split]:
            continue
        features += [_ordered(split, name, spoof, before, after) for name in FEATURES]
        features += _stored(split, kept, spoof, seed)
    return ShortcutReport(CANONICAL_VERSION, WARN_ABOVE, counts, tuple(unreadable), tuple(features))


def folded_auc(spoof: NDArray[np.bool_], values: NDArray[np.float64]) -> tuple[float, str]:
    """ROC-AUC of `values` as a score for spoof, folded to 0.5 or more, and where spoof lies."""
    auc = float(roc_auc_score(spoof, values))
    return (auc, "higher") if auc >= 0.5 else (1.0 - auc, "lower")


def name_scores(names: Sequence[str], spoof: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """Share of spoof among the clips of the same name in the other folds, drawn towards the average."""
    fold = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    scores = np.zeros(len(names))
    for held in range(FOLDS):
        known = np.flatnonzero(fold != held).tolist()
        average = float(np.mean(spoof[known])) if known else 0.5
        total = Counter(names[i] for i in known)
        positive = Counter(names[i] for i in known if spoof[i])
        for i in np.flatnonzero(fold == held).tolist():
            share = (positive[names[i]] + SMOOTHING * average) / (total[names[i]] + SMOOTHING)
            # The average differs a little between folds: each is measured from its own. Rounded, so that two
            # equal shares stay equal to the AUC, which looks at ranks alone.
            scores[i] = round(share - average, 9)
    return scores


def _draw(clips: Sequence[Clip], count: int | None, seed: int) -> list[Clip]:
    if count is None or count >= len(clips):
        return list(clips)
    chosen = np.random.default_rng(seed).choice(len(clips), size=count, replace=False)
    return [clips[i] for i in sorted(chosen)]


def _ordered(
    split: str,
    name: str,
    spoof: NDArray[np.bool_],
    before: Sequence[Mapping[str, float]],
    after: Sequence[Mapping[str, float]],
) -> FeatureAuc:
    auc, direction = folded_auc(spoof, np.array([row[name] for row in before]))
    auc_after, _ = folded_auc(spoof, np.array([row[name] for row in after]))
    return FeatureAuc(split, name, auc, direction, auc_after)


def _stored(split: str, clips: Sequence[Clip], spoof: NDArray[np.bool_], seed: int) -> list[FeatureAuc]:
    found = []
    for name in STORAGE:
        if name == BIT_RATE:
            rates = np.array([clip.path.stat().st_size * 8e-3 / clip.duration_s for clip in clips])
            auc, direction = folded_auc(spoof, rates)
        else:
            auc, _ = folded_auc(spoof, name_scores([_name(clip, name) for clip in clips], spoof, seed))
            direction = "by name"
        found.append(FeatureAuc(split, name, auc, direction, None))
    return found


def _name(clip: Clip, feature: str) -> str:
    return clip.path.suffix.lower() if feature == "container" else str(getattr(clip, feature))


def report_text(report: ShortcutReport) -> str:
    """A table a split, then what to do about the warnings."""
    lines = []
    for split, (bonafide, spoof) in report.clips.items():
        lines.append(f"{split}: {bonafide} bona fide, {spoof} spoof")
        rows = [feature for feature in report.features if feature.split == split]
        if not rows:
            lines.append("  only one class: nothing can be told")
            continue
        lines.append(f"  {'feature':<20} {'before':>7} {'after':>7}  spoof is")
        for row in rows:
            after = "-" if row.auc_after is None else f"{row.auc_after:.3f}"
            mark = "  WARNING" if row.leaks else ""
            lines.append(f"  {row.feature:<20} {row.auc_before:>7.3f} {after:>7}  {row.spoof_is}{mark}")
    if report.unreadable:
        lines.append(f"{len(report.unreadable)} recordings could not be read; run validate")
    if report.warnings:
        lines.append(
            f"{len(report.warnings)} features tell the classes apart with an AUC above {report.warn_above:.2f}: "
            "balance the corpus in them, or randomise them in training for both classes alike"
        )
    else:
        lines.append(f"no feature alone tells the classes apart with an AUC above {report.warn_above:.2f}")
    return "\n".join(lines)
