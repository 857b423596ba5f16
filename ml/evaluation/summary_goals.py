"""What the detector is to reach, each goal with its figure and whether it is met.

    for goal in judge_goals(summary, Measured(model_bytes=2_900_000)):
        print(goal.what, goal.figure, goal.met)

The limits are the project's, for recordings from sources that were never trained or tuned on. A goal whose
figure was not measured is neither met nor missed: its `met` is None, and it must be shown so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from ml.evaluation.conditions import GOAL_CONDITIONS
from ml.evaluation.summary import MIN_CLIPS_FOR_RATE, Part, Summary

Sense = Literal["at most", "at least"]

MODEL_LIMIT_BYTES = 6_000_000
"""6 MB, so that the model travels with the program."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures that no score table holds; None where they were not measured."""

    model_bytes: int | None = None
    cost_over_vad: float | None = None
    """Time for a 4 s window on one core over that of the voice-activity graph for the same 4 s in the same run"""
    segment_eer: float | None = None
    """At 160 ms, on spliced recordings"""
    segment_note: str = ""


@dataclass(frozen=True, slots=True)
class JudgedGoal:
    key: str
    what: str
    sense: Sense
    limit: float
    figure: float | None
    met: bool | None
    note: str = ""


def judge_goals(summary: Summary, measured: Measured | None = None) -> tuple[JudgedGoal, ...]:
    """Every goal, in the order of the goal table."""
    measured = measured or Measured()
    outcome, calibration = summary.pooled.outcome, summary.calibration
    kinds = {part.name: part.eer for part in summary.by_kind}
    language = _worst(
        (p for p in summary.by_language if p.bonafide >= MIN_CLIPS_FOR_RATE),
        lambda p: p.outcome.bonafide_called_deepfake,
    )
    return (
        _at_most("eer_pooled", "pooled EER, all kinds", 0.10, summary.pooled.eer),
        _at_most("eer_tts", "EER on TTS", 0.05, kinds.get("tts")),
        _at_most("eer_vc", "EER on VC", 0.05, kinds.get("vc")),
        _at_most("eer_vocoder", "EER on vocoder copy-synthesis", 0.18, kinds.get("vocoder")),
        _at_most("eer_codec", "EER on neural codec", 0.15, kinds.get("codec")),
        _worst_condition(summary.by_condition),
        _at_least("decided", "decided cases (not SUSPICIOUS)", 0.75, outcome.decided_share),
        _at_most("wrong_among_decided", "wrong among the decided", 0.04, outcome.wrong_among_decided),
        _at_most("ece", "ECE (equal-mass bins)", 0.03, calibration.ece_equal_mass),
        _at_most("cllr", "Cllr", 0.40, calibration.cllr),
        _at_most("cllr_cal", "Cllr - minCllr", 0.05, calibration.cllr_cal),
        _at_most("bonafide_deepfake", "human speech called DEEPFAKE", 0.02, outcome.bonafide_called_deepfake),
        _at_most(
            "bonafide_deepfake_language", "the same in the worst language of 30 clips or more", 0.04, *language
        ),
        _at_most("model_bytes", "size of the model in bytes", MODEL_LIMIT_BYTES, measured.model_bytes),
        _at_most(
            "cost_over_vad", "cost of a 4 s window over the voice-activity graph's", 1.0, measured.cost_over_vad
        ),
        _at_most(
            "segment_eer",
            "segment EER at 160 ms on spliced recordings",
            0.20,
            measured.segment_eer,
            measured.segment_note,
        ),
    )


def _worst_condition(parts: Iterable[Part]) -> JudgedGoal:
    """Missed as soon as one condition misses it, met only where all were measured; robustness conditions stay out."""
    measured = [part for part in parts if part.name in GOAL_CONDITIONS]
    figure, name = _worst(measured, lambda p: p.eer)
    goal = _at_most("eer_worst_condition", "pooled EER in the worst condition", 0.16, figure, name)
    if figure is None or len(measured) == len(GOAL_CONDITIONS):
        return goal
    note = f"{name}, of {len(measured)} of {len(GOAL_CONDITIONS)} conditions"
    return replace(goal, met=None if goal.met else False, note=note)


def _at_most(key: str, what: str, limit: float, figure: float | None, note: str = "") -> JudgedGoal:
    return JudgedGoal(key, what, "at most", limit, figure, None if figure is None else figure <= limit, note)


def _at_least(key: str, what: str, limit: float, figure: float | None, note: str = "") -> JudgedGoal:
    return JudgedGoal(key, what, "at least", limit, figure, None if figure is None else figure >= limit, note)


def _worst(parts: Iterable[Part], figure_of: Callable[[Part], float | None]) -> tuple[float | None, str]:
    """The greatest figure and the name of its part; (None, "") where no part has one."""
    found = [(figure, part.name) for part in parts if (figure := figure_of(part)) is not None]
    return max(found) if found else (None, "")
