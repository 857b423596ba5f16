"""`python -m ml.evaluation.chance`: how often human speech has a suspicious stretch by chance, for a model's spec.

    python -m ml.evaluation.chance --experiment ml/experiments/twin.toml --manifest runs/manifests/earcorpus.csv \
        --model models/audio/latest.onnx --write

The human clips that the experiment holds out of training are joined at random to recordings of a minute, and examined
as a report's are, with windows that overlap and with windows that don't. Of the stretches found: how many there are in
a minute of speech, and how fast their number falls with their weight (`earwitness.chance`).
`make calibrate` does the same for a run. With `--write` the model's spec is written anew; nothing else of it changes.
Exit codes: 0 done, 2 the model or the clips can't be used.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from earwitness.calibration import DEFAULT_PRIOR
from earwitness.canonical import canonicalise
from earwitness.chance import StretchChance
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
from ml.datasets.manifest import Clip
from ml.evaluation.atomic_write import write_text
from ml.evaluation.worker import load, scorer
from ml.processes import spread
from ml.training.train import split_clips

RECORDING_S = 60.0
TURNS = 3  # each clip is heard so often, beside others: what a stretch weighs depends on its neighbours
FEWEST = 60  # stretches, each heard about `TURNS` times: of fewer the rates would be guesses
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
class Heard:
    """One recording."""

    by_hop: Mapping[float, Searched]
    left_out: tuple[str, ...]
    """Clips of it that could not be read, and why."""


@dataclass(frozen=True, slots=True)
class Measured:
    chances: tuple[StretchChance, ...]
    """One a hop; none where the human clips have too few stretches to tell."""
    left_out: tuple[str, ...]

    def lines(self) -> list[str]:
        return [
            f"stretches by chance, windows every {chance.hop_s:g} s: {chance.per_minute:.2f} in a minute of human "
            f"speech, of at least a weight w {chance.per_minute:.2f} x exp(-{chance.decay:.4f} w)"
            for chance in self.chances
        ] or ["stretches by chance: too few to tell, every stretch is marked"]


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


def measure(graph: Path, human: Sequence[Clip], *, seed: int, jobs: int) -> Measured:
    """For each hop that recordings are cut with, of the `human` clips that can be read."""
    heard = list(spread(_hear, joined(human, seed), jobs=jobs, initializer=load, initargs=(graph,)))
    chances = [fitted(hop_s, [one.by_hop[hop_s] for one in heard]) for hop_s in _hops_s(load_spec(graph))]
    return Measured(
        tuple(chance for chance in chances if chance is not None),
        tuple(sorted({line for one in heard for line in one.left_out})),
    )


def _hops_s(spec: ModelSpec) -> list[float]:
    """With overlap and without (`windows.plan_for`)."""
    return sorted({spec.window.hop_s, spec.window.window_s})


def _hear(paths: Sequence[Path]) -> Heard:
    """The recording that these clips make up, read and listened to once for all hops."""
    parts, left_out = [np.zeros(0, dtype=np.float32)], []
    for path in paths:
        try:
            parts.append(read_waveform(path)[0])
        except InputError as error:
            left_out.append(f"{path}: {error}")
    sound = np.concatenate(parts)
    speech = speech_of(sound)
    by_hop = {hop_s: searched(sound, speech, scorer(), hop_s) for hop_s in _hops_s(scorer().spec)}
    return Heard(by_hop, tuple(left_out))


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
    parser.add_argument("--experiment", type=Path, required=True, help="whose held-out clips are heard")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--write", action="store_true", help="into the model's spec")
    parser.add_argument("--seed", type=int, default=SEED, help="of what is joined to what")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    try:
        version = load_scorer(options.model).spec.model_version  # before processes are started that could not
        clips, split = split_clips(load_experiment(options.experiment, {"data.manifest": options.manifest}))
        human = [clips[i] for i in split.heldout if not clips[i].is_spoof]
        measured = measure(options.model, human, seed=options.seed, jobs=options.jobs)
        if options.write:
            write_chance(options.model, measured.chances)
    except (ConfigError, DatasetError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{version}; {len(human)} human clips held out by {options.experiment.name}, seed {options.seed}")
    for line in measured.left_out:
        print(f"left out: {line}", file=sys.stderr)
    print("\n".join(measured.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
