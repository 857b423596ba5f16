"""The vocabulary of a finding: verdicts, abstentions, scores of windows. Plain frozen values, no behaviour.

Polarity, everywhere: a higher score, llr or p_fake means more likely synthetic.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    AUTHENTIC = "AUTHENTIC"
    SUSPICIOUS = "SUSPICIOUS"
    DEEPFAKE = "DEEPFAKE"


class Abstention(StrEnum):
    """Why a recording can't be judged: a closed list. Any of them makes the verdict SUSPICIOUS."""

    NO_AUDIO_TRACK = "no_audio_track"
    NO_SPEECH = "no_speech"
    TOO_SHORT = "too_short"
    TOO_NOISY = "too_noisy"
    BAND_TOO_NARROW = "band_too_narrow"
    OUT_OF_DISTRIBUTION = "out_of_distribution"


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the container says, and what decoding it showed."""

    media_type: str
    """`audio` or `video`: whether a moving picture came with the sound."""
    container: str
    """FFmpeg's short name, such as `wav` or `mov,mp4,m4a,3gp,3g2,mj2`."""
    codec: str | None
    """FFmpeg's name of the sound's codec; None where there is no audio track."""
    sample_rate_hz: int | None
    channels: int | None
    declared_duration_s: float | None
    """What the header claims, where it claims anything; never trusted for limits."""


@dataclass(frozen=True, slots=True)
class WindowScore:
    start_s: float
    end_s: float
    score: float
    """The network's raw logit."""
    llr: float | None
    """Natural-log likelihood ratio of spoof over bona fide after calibration; None where the detector abstained."""
    p_fake: float | None
    """At the stated prior; None where the detector abstained."""
    speech_share: float
    """Part of the window that is speech, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the recording, and how strongly it points to synthesis."""

    start_s: float
    end_s: float
    p_fake: float
