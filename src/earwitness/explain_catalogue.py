"""The closed catalogue of sentences: stable codes, what each one does in a report, and its words by language.

    explanation = sentence(Code.CLIPPED, share=0.02)        # in English
    render(Code.CLIPPED, {"share": 0.02}, language="en")

`explanations/catalogue.json` holds each code's severity and direction, `explanations/en.json` its English template. A
translation is one more file of templates with the same codes and the same figures in braces. Which sentence is said
when, `earwitness.explain` decides.
"""

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from string import Formatter
from typing import Any

from earwitness.clock import clock
from earwitness.grounds import Direction, Explanation, Severity

LANGUAGE = "en"


class Code(StrEnum):
    """Never renamed and never reused: records refer to them for years."""

    VERDICT_DEEPFAKE = "verdict_deepfake"
    VERDICT_AUTHENTIC = "verdict_authentic"
    VERDICT_SUSPICIOUS = "verdict_suspicious"
    VERDICT_AT_PRIOR = "verdict_at_prior"
    NOT_JUDGED = "not_judged"
    STRETCH_STRONGEST = "stretch_strongest"
    STRETCH_STANDS_OUT = "stretch_stands_out"
    STRETCH_HARMLESS = "stretch_harmless"
    STRETCHES_POINT = "stretches_point"
    STRETCHES_TO_HEAR = "stretches_to_hear"
    SPREAD_OUT = "spread_out"
    DELETION_FALLS = "deletion_falls"
    DELETION_STAYS = "deletion_stays"
    DELETION_RISES = "deletion_rises"
    DELETION_LEAVES_NOTHING = "deletion_leaves_nothing"
    PITCH_CONSISTENT = "pitch_consistent"
    SPECTRUM_SMOOTH = "spectrum_smooth"
    ENERGY_UNIFORM = "energy_uniform"
    PAUSES_EMPTY = "pauses_empty"
    NOISE_STEADY = "noise_steady"
    PHASE_NARROW = "phase_narrow"
    PHASE_WIDE = "phase_wide"
    HIGH_BAND_WEAK = "high_band_weak"
    HIGH_BAND_STRONG = "high_band_strong"
    UNUSUAL_BUT_OUTWEIGHED = "unusual_but_outweighed"
    UNUSUAL_FOR_BOTH = "unusual_for_both"
    UNREMARKABLE = "unremarkable"  # not said any more: it spoke for signals that nothing was compared with, too
    COMPARED_AS_USUAL = "compared_as_usual"
    SCORE_ALONE = "score_alone"
    MEASURED = "measured"
    COMPRESSION = "compression"
    LOSSY_CODEC = "lossy_codec"
    EARLIER_GENERATION = "earlier_generation"
    TELEPHONE_BAND = "telephone_band"
    CLIPPED = "clipped"
    FRAMES_DISAGREE = "frames_disagree"
    DIGITAL_SILENCE = "digital_silence"
    CHANNELS_CANCEL = "channels_cancel"


def sentence(code: Code, /, **figures: float | str) -> Explanation:
    """The sentence of `code` in English. Raises KeyError where a figure of its template is missing."""
    kind = _kinds()[code.value]
    return Explanation(
        code=code.value,
        severity=Severity(kind["severity"]),
        direction=Direction(kind["direction"]),
        text=render(code, figures),
        figures=figures,
    )


def render(code: Code, figures: Mapping[str, float | str], language: str = LANGUAGE) -> str:
    """The words of `code`. Raises KeyError for a figure that is missing, FileNotFoundError for a language."""
    return _Figures().vformat(templates(language)[code.value], (), figures)


@lru_cache(maxsize=8)
def templates(language: str = LANGUAGE) -> dict[str, str]:
    """Template by code; raises FileNotFoundError for a language that there is not."""
    words: dict[str, str] = _load(f"{language}.json")["templates"]
    return words


@lru_cache(maxsize=1)
def _kinds() -> dict[str, dict[str, str]]:
    kinds: dict[str, dict[str, str]] = _load("catalogue.json")["codes"]
    return kinds


def _load(name: str) -> dict[str, Any]:
    text = resources.files("earwitness").joinpath("explanations", name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


class _Figures(Formatter):
    """Format specifications of templates: `pct` for probabilities and shares, `clock` for times, or Python's own."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "pct":
            return percent(value)
        if format_spec == "clock":
            return clock(value)
        formatted: str = super().format_field(value, format_spec)
        return formatted


def percent(probability: float) -> str:
    """A probability in per cent with one decimal, rounded towards 50 %, so that no claim grows by rounding.

    Never 0 or 100 %: `under 0.1 %` and `over 99.9 %` stand for the ends.
    """
    thousandths = probability * 1000.0
    if probability < 0.5:
        rounded = math.ceil(thousandths - 1e-9)
        return f"{rounded / 10:.1f} %" if thousandths >= 1.0 else "under 0.1 %"
    rounded = math.floor(thousandths + 1e-9)
    return f"{rounded / 10:.1f} %" if thousandths <= 999.0 else "over 99.9 %"
