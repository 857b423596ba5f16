"""What leaving out the overlap of windows does to the finding on recordings made of real speech, and what chance does.

    python benchmarks/compare_hops.py --manifest runs/manifests/earcorpus.csv [--split dev] [--recordings 20]
        [--condition opus_16k]

Clips of one class are joined to recordings of five minutes, scored every 2 s as short recordings are, and compared with
every second window of the same, which is what a hop of 4 s scores. Then a synthetic passage is put into each human
recording, and the suspicious stretches found with and without overlap are compared with it: all of them, and those
that reports mark, which human speech of the length has less than once by chance (`earwitness.chance`). With a
condition the recordings go through it with the passage in them, and only stretches are compared.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from earwitness.calibration import DEFAULT_PRIOR
from earwitness.grounds import SuspiciousStretch
from earwitness.media import read_waveform
from earwitness.model_spec import default_model_path
from earwitness.scorer import Scorer, load_scorer
from earwitness.suitability import SuitabilityMeter
from earwitness.timeline import Timeline
from earwitness.waveform import Samples, sample_count
from ml.datasets.manifest import Clip, read_manifest
from ml.evaluation.chance import ScoredWindow, scored_windows, speech_of
from ml.evaluation.conditions import ALL_CONDITIONS, Degrade
from ml.evaluation.scores import CLEAN

SEED = 1
LONGEST_S = 300.0
LENGTHS_S = (16.0, 30.0, 60.0, 120.0, 300.0)
SPLICED_S = (60.0, 300.0)
PASSAGES_S = (1.0, 2.0, 4.0, 12.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--recordings", type=int, default=20, help="of each class")
    parser.add_argument("--condition", choices=ALL_CONDITIONS, default=CLEAN)
    parser.add_argument("--model", type=Path, default=default_model_path())
    arguments = parser.parse_args()
    scorer = load_scorer(arguments.model)
    clips = [clip for clip in read_manifest(arguments.manifest) if clip.split == arguments.split]
    random = np.random.default_rng(SEED)
    where = f"{arguments.manifest.name}, {arguments.split}, {arguments.condition}"
    print(f"model {scorer.spec.model_version}; seed {SEED}; {where}")
    human, spoof = (
        [_joined([c for c in clips if c.label == label], random) for _ in range(arguments.recordings)]
        for label in ("bonafide", "spoof")
    )
    if arguments.condition == CLEAN:
        _compare_scores({"human": human, "synthetic": spoof}, scorer)
    _compare_stretches(human, spoof, scorer, random, ALL_CONDITIONS[arguments.condition])


def _joined(clips: Sequence[Clip], random: np.random.Generator) -> Samples:
    parts: list[Samples] = []
    length = 0
    while length < sample_count(LONGEST_S):
        part, _ = read_waveform(Path(clips[random.integers(len(clips))].path))
        parts.append(part)
        length += part.size
    return np.concatenate(parts)[: sample_count(LONGEST_S)]


def _compare_scores(recordings: dict[str, list[Samples]], scorer: Scorer) -> None:
    print(
        "\nlength   overlapping: spread of the score   without overlap: difference, root mean square and largest"
    )
    hop_s = scorer.spec.window.hop_s
    scored = {
        name: [scored_windows(sound, scorer, hop_s) for sound in sounds] for name, sounds in recordings.items()
    }
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


def _mean(scored: list[ScoredWindow], length_s: float, step: int, scorer: Scorer) -> float:
    inside = [score for start_s, score, _ in scored if start_s + scorer.spec.window.window_s <= length_s]
    return float(np.mean(inside[::step]))


def _compare_stretches(
    human: list[Samples], spoof: list[Samples], scorer: Scorer, random: np.random.Generator, degrade: Degrade
) -> None:
    print(
        f"\nsynthetic passages in human speech, {len(human)} recordings of each kind; found: recordings with a stretch "
        "that touches the passage; elsewhere: stretches a recording that don't"
    )
    print("  length  passage  windows every   all: found, elsewhere   marked: found, elsewhere")
    for length_s in SPLICED_S:
        for passage_s in PASSAGES_S:
            counts = {step: {True: [0, 0], False: [0, 0]} for step in (1, 2)}
            for index, (sound, other) in enumerate(zip(human, spoof, strict=True)):
                start_s = float(random.uniform(0.1 * length_s, 0.9 * length_s - passage_s))
                spliced = sound[: sample_count(length_s)].copy()
                passage = slice(sample_count(start_s), sample_count(start_s + passage_s))
                spliced[passage] = other[: sample_count(passage_s)]
                spliced = degrade(spliced, np.random.default_rng([SEED, index]))
                scored, speech = scored_windows(spliced, scorer, scorer.spec.window.hop_s), speech_of(spliced)
                for step, by_marked in counts.items():
                    for marked, count in by_marked.items():
                        stretches = _stretches(scored, step, scorer, length_s, speech, marked=marked)
                        hits = [s for s in stretches if s.start_s < start_s + passage_s and start_s < s.end_s]
                        count[0] += bool(hits)
                        count[1] += len(stretches) - len(hits)
            for step, by_marked in counts.items():
                (found, false), (found_marked, false_marked) = by_marked[False], by_marked[True]
                print(
                    f"  {length_s:4.0f} s  {passage_s:5.0f} s  {step * scorer.spec.window.hop_s:9.0f} s"
                    f"{found:14d}{false / len(human):10.2f}{found_marked:18d}{false_marked / len(human):10.2f}"
                )


def _stretches(
    scored: list[ScoredWindow],
    step: int,
    scorer: Scorer,
    length_s: float,
    speech: SuitabilityMeter,
    *,
    marked: bool,
) -> tuple[SuspiciousStretch, ...]:
    spec = scorer.spec
    chance = spec.chance_at(step * spec.window.hop_s) if marked else None
    timeline = Timeline(spec.calibration, spec.thresholds, DEFAULT_PRIOR, chance)
    for at_s, score, frames in scored[::step]:
        timeline.add(at_s, score, frames, spec.frame_hop_s, speech.speech_share)
    return timeline.finish(length_s, speech.speech_share).stretches


if __name__ == "__main__":
    main()
