"""One recording against its row in the manifest: is it there, can it be decoded, is it what the row says?

    check = check_file(clip, Limits())
    check.fault         # None, or why it can't be used

Nothing here knows of the other recordings; `validate` compares them.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from earwitness.errors import InputError
from earwitness.media import read_waveform
from earwitness.waveform import Samples, seconds
from ml.datasets.manifest import Clip


@dataclass(frozen=True, slots=True)
class Limits:
    """What a recording may be, each with its reason."""

    min_duration_s: float = 0.2  # shorter, there is no syllable
    max_duration_s: float = 300.0  # longer, it is no clip but a recording that somebody forgot to cut
    min_sample_rate_hz: int = 8_000  # a telephone; below, no speech corpus is known
    min_class_share: float = 0.02  # 3.7 % of the ASVspoof 2021 DF evaluation is bona fide, the least published
    duration_tolerance_s: float = 0.15  # lossy codecs pad their frames, and lists round
    duration_tolerance: float = 0.02  # the same, as a share of the length


class Fault(StrEnum):
    MISSING = "missing"
    UNREADABLE = "unreadable"
    SAMPLE_RATE = "sample_rate"
    DURATION = "duration"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class FileCheck:
    fault: Fault | None
    message: str = ""
    """What is wrong; empty where nothing is."""
    sound_hash: str = ""
    """Of the decoded sound; empty where there is a fault."""


def check_file(clip: Clip, limits: Limits) -> FileCheck:
    """Decode all of `clip` (but no more than the longest that is allowed) and compare it with its row."""
    try:
        samples, info = read_waveform(clip.path, max_duration_s=limits.max_duration_s + 1.0)
    except (OSError, InputError) as e:
        fault = Fault.UNREADABLE if clip.path.exists() else Fault.MISSING
        return FileCheck(fault, str(e))
    length_s = seconds(samples.size)
    rate_hz = info.sample_rate_hz or 0
    found, message = _compare(clip, limits, length_s, rate_hz)
    return FileCheck(found, message, "" if found else sound_hash(samples))


def _compare(clip: Clip, limits: Limits, length_s: float, rate_hz: int) -> tuple[Fault | None, str]:
    tolerance_s = limits.duration_tolerance_s + limits.duration_tolerance * clip.duration_s

    # In this order: a file without sound is unreadable rather than short.
    checks = (
        (length_s == 0.0, Fault.UNREADABLE, "holds no sound"),
        (
            rate_hz < limits.min_sample_rate_hz,
            Fault.SAMPLE_RATE,
            f"{rate_hz or 'unknown'} Hz, below {limits.min_sample_rate_hz}",
        ),
        (
            length_s > limits.max_duration_s,
            Fault.DURATION,
            f"longer than {limits.max_duration_s} s",
        ),
        (
            abs(length_s - clip.duration_s) > tolerance_s,
            Fault.MISMATCH,
            f"{length_s:.2f} s of sound where the manifest says {clip.duration_s:.2f}: cut off or replaced?",
        ),
        (
            length_s < limits.min_duration_s,
            Fault.DURATION,
            f"{length_s:.2f} s, shorter than {limits.min_duration_s}",
        ),
        # Opus decodes at 48 kHz whatever went in.
        (
            clip.codec != "opus" and rate_hz != clip.sample_rate_hz,
            Fault.MISMATCH,
            f"{rate_hz} Hz where the manifest says {clip.sample_rate_hz}",
        ),
    )
    return next(((fault, message) for failed, fault, message in checks if failed), (None, ""))


def sound_hash(samples: Samples) -> str:
    """Hash of the sound as 16-bit numbers: equal for one recording in several lossless containers."""
    numbers = np.clip(np.round(samples * 32768.0), -32768, 32767).astype("<i2")
    return hashlib.sha256(numbers.tobytes()).hexdigest()
