"""What leaving out the overlap of windows does to the finding on long recordings made of real speech.

    python benchmarks/compare_hops.py --manifest runs/manifests/earcorpus.csv [--split dev] [--recordings 20]

Clips of one class are joined to recordings of five minutes, scored every 2 s as short recordings are, and compared with
every second window of the same, which is what a hop of 4 s scores. Then a synthetic passage of 12 s is put into each
human recording, and the suspicious stretches found with and without overlap are compared with it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from earwitness.calibration import DEFAULT_PRIOR
from earwitness.canonical import canonicalise
from earwitness.media import read_waveform
from earwitness.model_spec import default_model_path
from earwitness.scorer import Scorer, load_scorer
from earwitness.timeline import Timeline
from earwitness.waveform import Samples, sample_count
from earwitness.windows import iter_windows
from ml.datasets.manifest import Clip, read_manifest

SEED = 1
LONGEST_S = 300.0
LENGTHS_S = (60.0, 120.0, 300.0)
PASSAGE_S = 12.0
BATCH = 8


Scored = list[tuple[float, float, np.ndarray]]
"""Start, score and frame scores of each window."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--recordings", type=int, default=20, help="of each class")
    parser.add_argument("--model", type=Path, default=default_model_path())
    arguments = parser.parse_args()
    scorer = load_scorer(arguments.model)
    clips = [clip for clip in read_manifest(arguments.manifest) if clip.split == arguments.split]
    random = np.random.default_rng(SEED)
    print(f"model {scorer.spec.model_version}; seed {SEED}; {arguments.manifest.name}, {arguments.split}")
    human, spoof = (
        [_joined([c for c in clips if c.label == label], random) for _ in range(arguments.recordings)]
        for label in ("bonafide", "spoof")
    )
    _compare_scores({"human": human, "synthetic": spoof}, scorer)
    _compare_stretches(human, spoof, scorer, random)


def _joined(clips: Sequence[Clip], random: np.random.Generator) -> Samples:
    parts: list[Samples] = []
    length = 0
    while length < sample_count(LONGEST_S):
        part, _ = read_waveform(Path(clips[random.integers(len(clips))].path))
        parts.append(part)
        length += part.size
    return np.concatenate(parts)[: sample_count(LONGEST_S)]


def _scored(sound: Samples, scorer: Scorer) -> Scored:
    windows = list(iter_windows([sound], scorer.spec.window))
    found: Scored = []
    for start in range(0, len(windows), BATCH):
        batch = windows[start : start + BATCH]
        scores = scorer.score(np.stack([canonicalise(window.samples).samples for window in batch]))
        found += [
            (window.start_s, float(score), frames)
            for window, score, frames in zip(batch, scores.score, scores.frame_scores, strict=True)
        ]
    return found


def _compare_scores(recordings: dict[str, list[Samples]], scorer: Scorer) -> None:
    print(
        "\nlength   overlapping: spread of the score   without overlap: difference, root mean square and largest"
    )
    scored = {name: [_scored(sound, scorer) for sound in sounds] for name, sounds in recordings.items()}
    for length_s in LENGTHS_S:
        for name, all_scores in scored.items():
            with_overlap, without = (
                np.array([_mean(one, length_s, step, scorer) for one in all_scores]) for step in (1, 2)
            )
            difference = without - with_overlap
            print(
                f"  {length_s:4.0f} s {name:10} sd {with_overlap.std(ddof=1):.3f}   "
                f"rms {np.sqrt(np.mean(difference**2)):.3f}, largest {np.abs(difference).max():.3f}"
            )


def _mean(scored: Scored, length_s: float, step: int, scorer: Scorer) -> float:
    inside = [score for start_s, score, _ in scored if start_s + scorer.spec.window.window_s <= length_s]
    return float(np.mean(inside[::step]))


def _all_speech(_start_s: float, _end_s: float) -> float:
    return 1.0


def _compare_stretches(
    human: list[Samples], spoof: list[Samples], scorer: Scorer, random: np.random.Generator
) -> None:
    print(f"\na synthetic passage of {PASSAGE_S:g} s in 5 minutes of human speech, {len(human)} recordings")
    counts = {1: [0, 0], 2: [0, 0]}
    for sound, other in zip(human, spoof, strict=True):
        start_s = float(random.uniform(20.0, 260.0))
        spliced = sound[: sample_count(300.0)].copy()
        passage = slice(sample_count(start_s), sample_count(start_s + PASSAGE_S))
        spliced[passage] = other[: sample_count(PASSAGE_S)]
        scored = _scored(spliced, scorer)
        for step, (found, false) in counts.items():
            timeline = Timeline(scorer.spec.calibration, scorer.spec.thresholds, DEFAULT_PRIOR)
            for at_s, score, frames in scored[::step]:
                timeline.add(at_s, score, frames, scorer.spec.frame_hop_s, _all_speech)
            stretches = timeline.finish(300.0, _all_speech).stretches
            hits = [s for s in stretches if s.start_s < start_s + PASSAGE_S and start_s < s.end_s]
            counts[step] = [found + bool(hits), false + len(stretches) - len(hits)]
    for step, (found, false) in counts.items():
        print(f"  every {2 * step} s: found in {found} of {len(human)}; {false} stretches elsewhere")


if __name__ == "__main__":
    main()
