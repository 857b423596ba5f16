"""A finding in plain sentences with figures, from templates: the same finding gives the same sentences.

    explain(finding, measured, thresholds)
    # ("Little evidence of synthesis: ... 3.1 % ...", "Measured: 3.4 s of speech in 4.0 s, ...")

A sentence never contradicts the verdict, and no sentence says that a recording is authentic: a low probability is
little evidence of synthesis, and no more.
"""

import math
from dataclasses import dataclass

from earwitness.finding import Abstention, Stretch, Verdict
from earwitness.policy import Thresholds
from earwitness.suitability import Measurements

TELEPHONE_BAND_HZ = 4_200.0  # the end of an 8 kHz recording's band, and the width of its filter's edge
CLIPPED_NOTABLY = 0.001  # one sample in a thousand: audible as distortion

REASONS = {
    Abstention.NO_AUDIO_TRACK: "the file holds no audio track",
    Abstention.NO_SPEECH: "no speech was found in it",
    Abstention.TOO_SHORT: "it holds too little speech",
    Abstention.TOO_NOISY: "the speech is too close to the noise",
    Abstention.BAND_TOO_NARROW: "its frequency band is too narrow",
    Abstention.OUT_OF_DISTRIBUTION: "it is unlike everything that the detector was trained on",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be explained; `p_fake` is None exactly where the detector abstained."""

    verdict: Verdict
    p_fake: float | None
    abstentions: tuple[Abstention, ...]
    most_suspicious: Stretch | None
    window_count: int


def explain(finding: Finding, measured: Measurements | None, thresholds: Thresholds) -> tuple[str, ...]:
    """Sentences in order of importance: the verdict, where the evidence lies, what was measured, reservations."""
    sentences = [_verdict(finding, thresholds)]
    if finding.p_fake is not None and finding.most_suspicious is not None and finding.window_count > 1:
        sentences.append(_stretch(finding.verdict, finding.most_suspicious, thresholds))
    if measured is not None:
        sentences.append(_measured(measured))
        sentences.extend(_reservations(measured))
    return tuple(sentences)


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


def clock(time_s: float) -> str:
    """`3.5 s` below a minute, `1:02:03.5` style beyond."""
    if time_s < 60:
        return f"{time_s:.1f} s"
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def _verdict(finding: Finding, thresholds: Thresholds) -> str:
    if finding.p_fake is None:
        reasons = ", and ".join(REASONS[reason] for reason in finding.abstentions)
        return f"This recording can't be judged: {reasons}. That speaks neither for nor against synthesis."
    figure = f"the probability that a machine made the speech is {percent(finding.p_fake)}"
    low, high = percent(thresholds.t_low), percent(thresholds.t_high)
    match finding.verdict:
        case Verdict.DEEPFAKE:
            return f"Strong evidence of synthesis: {figure}, at or above the threshold of {high}."
        case Verdict.AUTHENTIC:
            return (
                f"Little evidence of synthesis: {figure}, at or below the threshold of {low}. "
                "This is no proof of authenticity."
            )
        case Verdict.SUSPICIOUS:
            return f"The evidence is inconclusive: {figure}, between the thresholds of {low} and {high}."


def _stretch(verdict: Verdict, stretch: Stretch, thresholds: Thresholds) -> str:
    where = f"from {clock(stretch.start_s)} to {clock(stretch.end_s)}"
    figure = percent(stretch.p_fake)
    if verdict is Verdict.DEEPFAKE:
        return f"The strongest evidence lies {where}, where the probability is {figure}."
    if stretch.p_fake > thresholds.t_low:
        return f"The stretch {where} stands out with {figure}: listen to it."
    return f"The most suspicious stretch, {where}, reaches no more than {figure}."


def _measured(measured: Measurements) -> str:
    parts = [f"{measured.speech_s:.1f} s of speech in {clock(measured.duration_s)}"]
    if measured.level_dbfs is not None:
        parts.append(f"at {measured.level_dbfs:.0f} dBFS")
    if measured.snr_db is not None:
        parts.append(f"{measured.snr_db:.0f} dB above the noise")
    if measured.bandwidth_hz is not None:
        parts.append(f"reaching up to {measured.bandwidth_hz / 1000:.1f} kHz")
    return f"Measured: {', '.join(parts)}."


def _reservations(measured: Measurements) -> list[str]:
    found = []
    if measured.bandwidth_hz is not None and measured.bandwidth_hz <= TELEPHONE_BAND_HZ:
        found.append(
            f"The sound ends at {measured.bandwidth_hz / 1000:.1f} kHz, as on a telephone: traces of synthesis "
            "above are gone, which reduces certainty."
        )
    if measured.clipped_share >= CLIPPED_NOTABLY:
        found.append(f"{percent(measured.clipped_share)} of the samples are clipped, which reduces certainty.")
    return found
