"""The measurable grounds of a finding: signals, explanations, suspicious stretches, deletion evidence.

    output.grounds.signals          # what was measured, beside what is usual
    output.grounds.explanations     # codes, severities, sentences and the figures in them
    output.grounds.stretches        # where the evidence for synthesis lies
    output.grounds.deletions        # what the log-likelihood ratio becomes without a stretch

Plain frozen values, no behaviour. `earwitness.signals` measures, `timeline` finds the stretches, `deletion` scores
the recording without them, `explain` writes the sentences.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """What a sentence does in a report, from the finding itself to mere figures."""

    VERDICT = "verdict"
    """States the finding, or why there is none; the first sentence, and the only one of its kind."""
    EVIDENCE = "evidence"
    """A ground that points the way the verdict goes, or to something that should be listened to."""
    CAUTION = "caution"
    """Reduces certainty, or tells what speaks for a second look."""
    INFO = "info"
    """Figures without a direction."""


class Direction(StrEnum):
    """Which proposition a sentence speaks for."""

    SPOOF = "spoof"
    BONA_FIDE = "bona_fide"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class UsualRange:
    """What the middle 90 % of the recordings of one class and like bandwidth measured, and where a value lies there."""

    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""
    percentile: float
    """Part of these recordings that measured less than the value, 0 to 100."""
    percent_above: float
    """Part that measured more; less than `100 - percentile` where many measured the same."""
    count: int
    """Recordings behind these figures."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One measured property of the sound. The same recording gives the same value, bit for bit."""

    name: str
    """Stable, the unit in the name where it has one (`pitch_sd_semitones`)."""
    title: str
    """In words, for a table's first column (`Pitch variability`)."""
    value: float | None
    """None: could not be measured, for want of speech, of pauses or of sound."""
    unit: str
    """`Hz`, `dB`, `dBFS`, `s`, `ms`, `semitones`, `per minute`, `share` (0 to 1), `full scale` or `1`."""
    reference: str
    """Where the measure comes from: paper or standard."""
    human: UsualRange | None = None
    """None: no table of usual values, no value, or too few recordings of this bandwidth."""
    synthetic: UsualRange | None = None
    bandwidth_class: str | None = None
    """Which recordings it was compared with: `narrow`, `medium` or `wide` (`earwitness.signals.usual`)."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One sentence of the closed catalogue. `code` and `figures` make the text, in any language."""

    code: str
    """Stable; listed with its template in `earwitness/explanations/en.json`."""
    severity: Severity
    direction: Direction
    text: str
    figures: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SuspiciousStretch:
    """Neighbouring 160 ms frames that point to synthesis, merged."""

    start_s: float
    end_s: float
    strength: float
    """Mean p_fake, at the stated prior, of those of its frames that point to synthesis; 0 to 1."""
    llr: float
    """Mean natural-log likelihood ratio of those frames."""
    peak_s: float
    """Middle of its strongest frame."""
    weight: float | None = None
    """Of the heaviest part of it: the llr of its frames less half of that of T_high at even odds, summed. Above 0.
    None: of a run from before it was kept."""
    expected_by_chance: float | None = None
    """How many stretches of at least this weight human speech of the recording's length has on average, at most
    (`earwitness.chance`). None: not known of this model."""


@dataclass(frozen=True, slots=True)
class FrameCurve:
    """The calibrated scores of all frames, for drawing."""

    hop_s: float
    """0.16, and more where a long recording was thinned out: a point is then the highest of its frames."""
    llr: tuple[float | None, ...]
    """From the beginning of the recording on; None where nobody speaks."""


@dataclass(frozen=True, slots=True)
class DeletionEvidence:
    """The recording scored again without one stretch of it: computed, not guessed."""

    start_s: float
    end_s: float
    llr_with: float
    """Of the whole recording."""
    llr_without: float | None
    """None: nothing that could be judged is left without the stretch."""
    p_fake_with: float
    p_fake_without: float | None
    score_with: float
    score_without: float | None
    """The raw scores show a change where the llr is at its cap."""


@dataclass(frozen=True, slots=True)
class ByChance:
    """What the stretches were weighed against: in so many minutes of human speech `minutes * per_minute *
    exp(-decay * weight)` stretches of at least some weight are expected at most (`earwitness.chance`)."""

    minutes: float
    """Of speech that was searched."""
    hop_s: float
    per_minute: float
    decay: float
    left_out: int
    """Stretches that are not marked, for as heavy ones are expected once or more."""


@dataclass(frozen=True, slots=True)
class Grounds:
    signals: tuple[Signal, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    """In order of importance, the verdict first."""
    stretches: tuple[SuspiciousStretch, ...] = ()
    """In the order of time; the heaviest ones where there are more than `timeline.MAX_STRETCHES`."""
    by_chance: ByChance | None = None
    """None: not known of this model, and every stretch is marked."""
    deletions: tuple[DeletionEvidence, ...] = ()
    """For the strongest stretches, strongest first."""
    frames: FrameCurve | None = None
    """None: nothing was scored."""
    usual_ranges_version: str | None = None
    """Which table of usual values the signals were compared with; None: none was there."""
