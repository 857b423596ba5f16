"""`python -m ml.evaluation.chance`: how often human speech has a suspicious stretch by chance, for a model's spec.

    python -m ml.evaluation.chance --experiment ml/experiments/twin.toml --manifest runs/manifests/earcorpus.csv \
        --model models/audio/latest.onnx --write
    python -m ml.evaluation.chance --split dev --manifest runs/manifests/earcorpus.csv

The human clips that the experiment holds out of training are joined at random to recordings of a minute, and examined
as a report's are, undistorted and under each of `HEARD_UNDER`, with windows that overlap and with windows that don't.
Of the stretches found: how many there are in a minute of speech, and how fast their number falls with their weight
(`earwitness.chance`). The spec gets, for each hop, a line above those of all conditions: what a recording went through
is mostly not known.
`make calibrate` does the same for a run. With `--write` the model's spec is written anew; nothing else of it changes.
With `--split` nothing is fitted: printed is what human clips that the rates don't know come to by the model's spec.
Exit codes: 0 done, 2 the model or the clips can't be used.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from earwitness.calibration import DEFAULT_PRIOR
from earwitness.canonical import canonicalise
from earwitness.chance import MAX_EXPECTED, StretchChance
from earwitness.errors import InputError, ModelError
from earwitness.media import read_waveform
from earwitness.model_spec import ModelSpec, default_model_path, load_spec
from earwitness.scorer import Scorer, load_scorer
from earwitness.suitability import SuitabilityMeter
from earwitness.timeline import Timeline
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, seconds
from earwitness.windows import iter_windows
from ml.config import ConfigError, load_experiment
from ml.datasets.errors import DatasetError
from ml.datasets.manifest import Clip, read_manifest
from ml.evaluation.atomic_write import write_text
from ml.evaluation.conditions import CONDITIONS
from ml.evaluation.worker import load, scorer
from ml.processes import spread
from ml.training.train import split_clips

RECORDING_S = 60.0
TURNS = 3  # each clip is heard so often, beside others: what a stretch weighs depends on its neighbours
FEWEST = 60  # stretches, each heard about `TURNS` times: of fewer the rates would be guesses
HEARD_UNDER = tuple(name for name in CONDITIONS if name != "short_1.5s")  # rates know a recording's length already
HEAVIEST = 100.0  # three hours of human speech hardly have one that weighs more
TOLD_MINUTES = (1.0, 5.0)
SEED, JOBS, BATCH = 1, 2, 8

ScoredWindow: TypeAlias = tuple[float, float, NDArray[np.float32]]
"""Start, raw score and frame scores of a window."""


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found in one recording with windows of one hop."""

    minutes: float
    """Of speech."""
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Recording:
    clips: Sequence[Path]
    seed: Sequence[int]
    """Of the noise and the room."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One recording."""

    by_condition: Mapping[str, Mapping[float, Searched]]
    """And by hop; {} where no clip could be read."""
    left_out: tuple[str, ...]
    """Clips of it that could not be read, and why."""


@dataclass(frozen=True, slots=True)
class Line:
    """All recordings under one condition, with windows of one hop."""

    condition: str
    hop_s: float
    found: Sequence[Searched]

    @property
    def chance(self) -> StretchChance | None:
        return fitted(self.hop_s, self.found)

    def marked(self, chance: StretchChance, minutes: float) -> float:
        """How many stretches so many minutes of this speech have that `chance` expects too rarely to leave them out."""
        weights = [weight for one in self.found for weight in one.weights]
        rare = sum(chance.expected(weight, minutes) < MAX_EXPECTED for weight in weights)
        heard = sum(one.minutes for one in self.found)
        return rare * minutes / heard if heard else 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    by_condition: tuple[Line, ...]
    left_out: tuple[str, ...]

    @property
    def chances(self) -> tuple[StretchChance, ...]:
        """One a hop, of the worst that any condition has; none where the human clips have too few stretches to tell."""
        by_hop: dict[float, list[StretchChance]] = {}
        for line in self.by_condition:
            if (chance := line.chance) is not None:
                by_hop.setdefault(line.hop_s, []).append(chance)
        return tuple(above_all(by_hop[hop_s]) for hop_s in sorted(by_hop))

    def lines(self, chances: Sequence[StretchChance]) -> list[str]:
        """What was measured, and what it comes to by `chances`."""
        told = [
            f"stretches by chance, windows every {chance.hop_s:g} s: of at least a weight w at most "
            f"{chance.per_minute:.2f} x exp(-{chance.decay:.4f} w) in a minute of human speech"
            for chance in chances
        ] or ["stretches by chance: too few to tell, every stretch is marked"]
        minutes = " and ".join(f"{minutes:g}" for minutes in TOLD_MINUTES)
        for chance in chances:
            told.append(f"windows every {chance.hop_s:g} s; marked: in {minutes} minutes of human speech")
            for line in self.by_condition:
                if line.hop_s == chance.hop_s:
                    own = line.chance
                    marked = ", ".join(f"{line.marked(chance, minutes):5.2f}" for minutes in TOLD_MINUTES)
                    rates = f"{own.per_minute:5.2f} x exp(-{own.decay:.4f} w)" if own else "too few to tell"
                    told.append(f"  {line.condition:12} {rates:24} marked {marked}")
        return told


def joined(clips: Sequence[Clip], seed: int) -> list[list[Path]]:
    """Which clips make up which recording of a minute, `TURNS` times all of them in an order of their own."""
    recordings: list[list[Path]] = []
    for turn in range(TURNS):
        length_s = RECORDING_S
        for index in np.random.default_rng([seed, turn]).permutation(len(clips)):
            if length_s >= RECORDING_S:
                recordings.append([])
                length_s = 0.0
            recordings[-1].append(clips[index].path)
            length_s += clips[index].duration_s
    return recordings


def speech_of(sound: Samples) -> SuitabilityMeter:
    """A meter that has heard `sound`: it tells where somebody speaks."""
    meter = SuitabilityMeter()
    for start in range(0, sound.size, SAMPLE_RATE_HZ):
        meter.push(sound[start : start + SAMPLE_RATE_HZ])
    meter.finish()
    return meter


def scored_windows(sound: Samples, network: Scorer, hop_s: float) -> list[ScoredWindow]:
    """The windows of `sound` every `hop_s`, scored as a recording's are."""
    windows = list(iter_windows([sound], replace(network.spec.window, hop_s=hop_s)))
    found: list[ScoredWindow] = []
    for first in range(0, len(windows), BATCH):
        batch = windows[first : first + BATCH]
        scores = network.score(np.stack([canonicalise(window.samples).samples for window in batch]))
        found += [
            (window.start_s, float(score), frames)
            for window, score, frames in zip(batch, scores.score, scores.frame_scores, strict=True)
        ]
    return found


def searched(sound: Samples, speech: SuitabilityMeter, network: Scorer, hop_s: float) -> Searched:
    """The stretches of `sound` as reports find them, those that chance explains among them."""
    spec = network.spec
    timeline = Timeline(spec.calibration, spec.thresholds, DEFAULT_PRIOR)
    for start_s, score, frames in scored_windows(sound, network, hop_s):
        timeline.add(start_s, score, frames, spec.frame_hop_s, speech.speech_share)
    found = timeline.finish(seconds(sound.size), speech.speech_share).stretches
    return Searched(timeline.spoken_minutes, tuple(one.weight for one in found if one.weight is not None))


def fitted(hop_s: float, found: Sequence[Searched]) -> StretchChance | None:
    """The rates of all recordings together; None where fewer than `FEWEST` stretches tell nothing."""
    minutes = sum(one.minutes for one in found)
    weights = np.array([weight for one in found for weight in one.weights])
    if weights.size < FEWEST:
        return None
    likeliest = 1.0 / float(weights.mean())  # of all exponentials
    return StretchChance(hop_s=hop_s, per_minute=weights.size / minutes, decay=likeliest)


def above_all(lines: Sequence[StretchChance]) -> StretchChance:
    """A line that none of `lines`, all of one hop, exceeds at a weight up to `HEAVIEST`; at both ends one reaches it.

    The logarithms of what is expected are straight lines, so that the largest of them is nowhere above its chord."""
    per_minute = max(line.per_minute for line in lines)
    end = max(math.log(line.per_minute) - line.decay * HEAVIEST for line in lines)
    return StretchChance(lines[0].hop_s, per_minute, (math.log(per_minute) - end) / HEAVIEST)


def measure(graph: Path, human: Sequence[Clip], *, seed: int, jobs: int) -> Measured:
    """For each condition and each hop that recordings are cut with, of the `human` clips that can be read."""
    recordings = [Recording(paths, (seed, index)) for index, paths in enumerate(joined(human, seed))]
    heard = list(spread(_hear, recordings, jobs=jobs, initializer=load, initargs=(graph,)))
    return Measured(
        tuple(
            Line(condition, hop_s, [one.by_condition[condition][hop_s] for one in heard if one.by_condition])
            for hop_s in _hops_s(load_spec(graph))
            for condition in HEARD_UNDER
        ),
        tuple(sorted({line for one in heard for line in one.left_out})),
    )


def _hops_s(spec: ModelSpec) -> list[float]:
    """With overlap and without (`windows.plan_for`)."""
    return sorted({spec.window.hop_s, spec.window.window_s})


def _hear(recording: Recording) -> Heard:
    """Read once, and under each condition listened to once for all hops."""
    parts, left_out = [np.zeros(0, dtype=np.float32)], []
    for path in recording.clips:
        try:
            parts.append(read_waveform(path)[0])
        except InputError as error:
            left_out.append(f"{path}: {error}")
    whole = np.concatenate(parts)
    by_condition = {}
    for condition in HEARD_UNDER if whole.size else ():
        sound = CONDITIONS[condition](whole, np.random.default_rng(recording.seed))
        speech = speech_of(sound)
        hops_s = _hops_s(scorer().spec)
        by_condition[condition] = {hop_s: searched(sound, speech, scorer(), hop_s) for hop_s in hops_s}
    return Heard(by_condition, tuple(left_out))


def write_chance(graph: Path, chances: tuple[StretchChance, ...]) -> None:
    """Write the spec beside `graph` anew, with `chances`."""
    spec = replace(load_spec(graph), stretch_chance=chances)
    write_text(graph.with_suffix(".json"), spec.to_json())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ml.evaluation.chance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    clips_of = parser.add_mutually_exclusive_group(required=True)
    clips_of.add_argument("--experiment", type=Path, help="whose held-out clips are heard")
    clips_of.add_argument("--split", help="whose clips are heard and compared with the model's spec")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--write", action="store_true", help="into the model's spec")
    parser.add_argument("--seed", type=int, default=SEED, help="of what is joined to what, of noise and rooms")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    if options.write and options.split:
        parser.error("--write goes with --experiment: rates are of clips held out of training")
    try:
        spec = load_scorer(options.model).spec  # before processes are started that could not
        human = _human_clips(options)
        measured = measure(options.model, human, seed=options.seed, jobs=options.jobs)
        chances = spec.stretch_chance if options.split else measured.chances
        if options.write:
            write_chance(options.model, chances)
    except (ConfigError, DatasetError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    whose = options.split or f"held out by {options.experiment.name}"
    print(f"{spec.model_version}; {len(human)} human clips, {whose}, seed {options.seed}")
    for line in measured.left_out:
        print(f"left out: {line}", file=sys.stderr)
    print("\n".join(measured.lines(chances)))
    return 0


def _human_clips(options: argparse.Namespace) -> list[Clip]:
    if options.split:
        clips = [clip for clip in read_manifest(Path(options.manifest)) if clip.split == options.split]
    else:
        every, split = split_clips(load_experiment(options.experiment, {"data.manifest": options.manifest}))
        clips = [every[i] for i in split.heldout]
    return [clip for clip in clips if not clip.is_spoof]


if __name__ == "__main__":
    sys.exit(main())
