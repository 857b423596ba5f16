"""Which sentences a finding gets: rules from verdict, signals, stretches and experiments to codes with figures.

    explanations = explain(finding, measured, thresholds)
    [explanation.text for explanation in explanations]
    # ["Little evidence of synthesis: ... 3.1 % ...", "Measured: 3.4 s of speech in 4.0 s, ..."]

The rules that hold whatever was measured (docs/adr/0014):
- The first sentence states the verdict, and no other does.
- No sentence speaks for synthesis beside AUTHENTIC or an abstention, and none for bona fide speech beside DEEPFAKE.
- A signal speaks for synthesis only where its value is rare among human recordings of like bandwidth, and clearly
  less rare among synthetic ones.
- What is unusual is not hidden beside AUTHENTIC: it is named as outweighed.
- All sentences but the first go by what the recording itself supports, at a prior of one half; at another prior the
  first one says what part the prior has in the verdict.
- No sentence says that a recording is authentic: a low probability is little evidence of synthesis, and no more.

The words are in `earwitness.explain_catalogue`.
"""

from dataclasses import dataclass

from earwitness.calibration import at_even_odds
from earwitness.clock import clock
from earwitness.deletion import WHOLE_SHARE
from earwitness.explain_catalogue import Code, percent, sentence
from earwitness.finding import Abstention, Stretch, Verdict
from earwitness.grounds import DeletionEvidence, Explanation, Signal, SuspiciousStretch
from earwitness.policy import Thresholds
from earwitness.signals.codec import MANY_CLIFFS, is_lossy
from earwitness.signals.usual import NARROW_BELOW_HZ, whole_percent
from earwitness.suitability import MAX_SNR_DB, Measurements

__all__ = ["Finding", "clock", "explain", "percent"]

CLIPPED_NOTABLY = 0.001  # one sample in a thousand: audible as distortion
RARE_PERCENT = 5.0  # of the human recordings; one signal in twenty lies there by chance
RATHER_SYNTHETIC = 1.5  # times as many synthetic recordings as human ones lie as far out
NEVER_QUITE_NONE = (
    1.0  # per cent, added to both sides of that ratio: a table does not show what lies beyond its ends
)
AGREEING_FRAMES = 0.7  # below, the recording may be partly synthetic
NOTABLE_DIGITAL_SILENCE = 0.02  # half a second in a clip of half a minute
LISTED_STRETCHES = 3  # a sentence is no table
LLR_DECIMALS = 1  # as printed: a smaller change is none

REASONS = {
    Abstention.NO_AUDIO_TRACK: "the file holds no audio track",
    Abstention.NO_SPEECH: "no speech was found in it",
    Abstention.TOO_SHORT: "it holds too little speech",
    Abstention.TOO_NOISY: "the speech is too close to the noise",
    Abstention.BAND_TOO_NARROW: "its frequency band is too narrow",
    Abstention.OUT_OF_DISTRIBUTION: "it is unlike everything that the detector was trained on",
}

UNUSUALLY_LOW = (
    ("pitch_sd_semitones", Code.PITCH_CONSISTENT),
    ("spectral_flux", Code.SPECTRUM_SMOOTH),
    ("energy_sd_db", Code.ENERGY_UNIFORM),
    ("breath_share", Code.PAUSES_EMPTY),
    ("noise_spread_db", Code.NOISE_STEADY),
    ("group_delay_spread_ms", Code.PHASE_NARROW),
    ("high_band_db", Code.HIGH_BAND_WEAK),
)
UNUSUALLY_HIGH = (
    ("group_delay_spread_ms", Code.PHASE_WIDE),
    ("high_band_db", Code.HIGH_BAND_STRONG),
)

WATCHED = tuple(name for name, _ in UNUSUALLY_LOW)
"""Every signal that can be unusual; the others are context or have sentences of their own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be explained; `p_fake` is None exactly where the detector abstained."""

    verdict: Verdict
    p_fake: float | None
    abstentions: tuple[Abstention, ...]
    most_suspicious: Stretch | None
    window_count: int
    signals: tuple[Signal, ...] = ()
    stretches: tuple[SuspiciousStretch, ...] = ()
    left_out_s: float = 0.0
    """Length of the stretches that chance explains."""
    deletions: tuple[DeletionEvidence, ...] = ()
    codec: str | None = None
    """FFmpeg's name."""
    channels_cancel: bool = False
    """Whether most of the sound is gone from the average of the channels, which is what was examined."""
    at_prior: "AtPrior | None" = None
    """None at a prior of one half."""

    @property
    def evidence_verdict(self) -> Verdict:
        """The verdict that the recording by itself supports."""
        return self.verdict if self.at_prior is None else self.at_prior.evidence_verdict


@dataclass(frozen=True, slots=True)
class AtPrior:
    """What a verdict at another prior than one half rests on."""

    prior: float
    llr: float
    evidence_verdict: Verdict
    """What it would be at a prior of one half."""


def explain(finding: Finding, measured: Measurements | None, thresholds: Thresholds) -> tuple[Explanation, ...]:
    """Sentences in order of importance: verdict, where the evidence lies, what speaks for it, figures, reservations."""
    found = [_verdict(finding, thresholds)]
    if finding.p_fake is not None:
        found += _places(finding, thresholds, None if measured is None else measured.speech_s)
        found += [_deletion(deletion) for deletion in finding.deletions]
        found += _signals(finding)
    if measured is not None:
        found.append(sentence(Code.MEASURED, parts=_figures(measured)))
        found += _reservations(finding, measured)
    return tuple(found)


def _verdict(finding: Finding, thresholds: Thresholds) -> Explanation:
    if finding.p_fake is None:
        reasons = ", and ".join(REASONS[reason] for reason in finding.abstentions)
        return sentence(Code.NOT_JUDGED, reasons=reasons)
    low, high = thresholds.t_low, thresholds.t_high
    if finding.at_prior is not None:
        return sentence(
            Code.VERDICT_AT_PRIOR,
            verdict=finding.verdict.value,
            prior=finding.at_prior.prior,
            p_fake=finding.p_fake,
            t_low=low,
            t_high=high,
            llr=finding.at_prior.llr,
            evidence_verdict=finding.at_prior.evidence_verdict.value,
        )
    match finding.verdict:
        case Verdict.DEEPFAKE:
            return sentence(Code.VERDICT_DEEPFAKE, p_fake=finding.p_fake, t_high=high)
        case Verdict.AUTHENTIC:
            return sentence(Code.VERDICT_AUTHENTIC, p_fake=finding.p_fake, t_low=low)
        case Verdict.SUSPICIOUS:
            return sentence(Code.VERDICT_SUSPICIOUS, p_fake=finding.p_fake, t_low=low, t_high=high)


def _places(finding: Finding, thresholds: Thresholds, speech_s: float | None) -> list[Explanation]:
    """Where to listen: the window with the highest probability, and the stretches that frames were merged into."""
    found = []
    if finding.most_suspicious is not None and finding.window_count > 1:
        found.append(_window(finding, finding.most_suspicious, thresholds))
    if not finding.stretches:
        return found
    total_s = sum(stretch.end_s - stretch.start_s for stretch in finding.stretches)
    if speech_s is not None and total_s + finding.left_out_s >= WHOLE_SHARE * speech_s:
        return [*found, sentence(Code.SPREAD_OUT)] if finding.evidence_verdict is Verdict.DEEPFAKE else found
    code = Code.STRETCHES_TO_HEAR if finding.evidence_verdict is Verdict.AUTHENTIC else Code.STRETCHES_POINT
    return [*found, sentence(code, total_s=total_s, where=_where(finding.stretches))]


def _window(finding: Finding, stretch: Stretch, thresholds: Thresholds) -> Explanation:
    if finding.evidence_verdict is Verdict.DEEPFAKE:
        code = Code.STRETCH_STRONGEST
    else:
        by_itself = (
            stretch.p_fake if finding.at_prior is None else at_even_odds(stretch.p_fake, finding.at_prior.prior)
        )
        code = Code.STRETCH_STANDS_OUT if by_itself > thresholds.t_low else Code.STRETCH_HARMLESS
    return sentence(code, start_s=stretch.start_s, end_s=stretch.end_s, p_fake=stretch.p_fake)


def _where(stretches: tuple[SuspiciousStretch, ...]) -> str:
    longest = sorted(stretches, key=lambda stretch: (stretch.start_s - stretch.end_s, stretch.start_s))
    shown = sorted(longest[:LISTED_STRETCHES], key=lambda stretch: stretch.start_s)
    text = ", ".join(f"{clock(stretch.start_s)} to {clock(stretch.end_s)}" for stretch in shown)
    shorter = len(stretches) - len(shown)
    return f"{text} and {shorter} shorter" if shorter else text


def _deletion(deletion: DeletionEvidence) -> Explanation:
    where = {"start_s": deletion.start_s, "end_s": deletion.end_s}
    if deletion.llr_without is None:
        return sentence(Code.DELETION_LEAVES_NOTHING, **where)
    with_it, without = round(deletion.llr_with, LLR_DECIMALS), round(deletion.llr_without, LLR_DECIMALS)
    if with_it == without:
        code = Code.DELETION_STAYS
    else:
        code = Code.DELETION_FALLS if without < with_it else Code.DELETION_RISES
    return sentence(code, **where, llr_with=deletion.llr_with, llr_without=deletion.llr_without)


def _signals(finding: Finding) -> list[Explanation]:
    """What is unusual, said in the way that the verdict allows; nothing where nothing could be compared."""
    by_name = {signal.name: signal for signal in finding.signals}
    watched = [by_name[name] for name in WATCHED if name in by_name and by_name[name].human is not None]
    if not watched:
        return []
    pointing = [
        (code, by_name[name], True) for name, code in UNUSUALLY_LOW if name in by_name and _low(by_name[name])
    ]
    pointing += [
        (code, by_name[name], False) for name, code in UNUSUALLY_HIGH if name in by_name and _high(by_name[name])
    ]
    names = {signal.name for _, signal, _ in pointing}
    for_both = [signal for signal in watched if signal.name not in names and _rare(signal)]
    found = []
    if pointing and finding.evidence_verdict is Verdict.AUTHENTIC:
        found.append(sentence(Code.UNUSUAL_BUT_OUTWEIGHED, names=_titles([signal for _, signal, _ in pointing])))
    else:
        found += [_unusual(code, signal, low) for code, signal, low in pointing]
    if for_both:
        found.append(sentence(Code.UNUSUAL_FOR_BOTH, names=_titles(for_both)))
    if not pointing and finding.evidence_verdict is Verdict.DEEPFAKE:
        found.append(sentence(Code.SCORE_ALONE))
    return found or [sentence(Code.COMPARED_AS_USUAL, names=_titles(watched))]


def _titles(signals: list[Signal]) -> str:
    return ", ".join(signal.title.lower() for signal in signals)


def _unusual(code: Code, signal: Signal, low: bool) -> Explanation:
    assert signal.value is not None and signal.human is not None
    beaten = signal.human.percent_above if low else signal.human.percentile
    return sentence(code, value=signal.value, percent=whole_percent(beaten))


def _low(signal: Signal) -> bool:
    human, synthetic = signal.human, signal.synthetic
    if human is None or synthetic is None or human.percent_above < 100.0 - RARE_PERCENT:
        return False
    return _rather_synthetic(human.percentile, synthetic.percentile)


def _high(signal: Signal) -> bool:
    human, synthetic = signal.human, signal.synthetic
    if human is None or synthetic is None or human.percentile < 100.0 - RARE_PERCENT:
        return False
    return _rather_synthetic(human.percent_above, synthetic.percent_above)


def _rare(signal: Signal) -> bool:
    human = signal.human
    return human is not None and max(human.percentile, human.percent_above) >= 100.0 - RARE_PERCENT


def _rather_synthetic(human_percent: float, synthetic_percent: float) -> bool:
    """Whether clearly more of the synthetic recordings lie as far out as this one."""
    return synthetic_percent + NEVER_QUITE_NONE >= RATHER_SYNTHETIC * (human_percent + NEVER_QUITE_NONE)


def _figures(measured: Measurements) -> str:
    parts = [f"{measured.speech_s:.1f} s of speech in {clock(measured.duration_s)}"]
    if measured.level_dbfs is not None:
        parts.append(f"at {measured.level_dbfs:.0f} dBFS")
    if measured.snr_db is not None:
        at_least = "at least " if measured.snr_db >= MAX_SNR_DB else ""
        parts.append(f"{at_least}{measured.snr_db:.0f} dB above the noise")
    if measured.bandwidth_hz is not None:
        parts.append(f"reaching up to {measured.bandwidth_hz / 1000:.1f} kHz")
    return ", ".join(parts)


def _reservations(finding: Finding, measured: Measurements) -> list[Explanation]:
    values = {signal.name: signal.value for signal in finding.signals}
    cliffs, generations = values.get("spectral_cliffs_share"), values.get("generations")
    edge_hz, unused_hz = values.get("cutoff_hz"), values.get("unused_band_hz")
    agreement, silence = values.get("frame_agreement_share"), values.get("digital_silence_share")
    found = []
    if cliffs is not None and cliffs >= MANY_CLIFFS:
        found.append(sentence(Code.COMPRESSION, share=cliffs))
    elif finding.codec is not None and is_lossy(finding.codec):
        found.append(sentence(Code.LOSSY_CODEC, codec=finding.codec))
    if generations is not None and generations > 1.0 and edge_hz is not None and unused_hz:
        codec = finding.codec or "an unnamed codec"
        found.append(sentence(Code.EARLIER_GENERATION, codec=codec, edge_khz=edge_hz / 1000))
    if measured.bandwidth_hz is not None and measured.bandwidth_hz < NARROW_BELOW_HZ:
        found.append(sentence(Code.TELEPHONE_BAND, bandwidth_khz=measured.bandwidth_hz / 1000))
    if measured.clipped_share >= CLIPPED_NOTABLY:
        found.append(sentence(Code.CLIPPED, share=measured.clipped_share))
    if finding.p_fake is not None and agreement is not None and agreement < AGREEING_FRAMES:
        found.append(sentence(Code.FRAMES_DISAGREE, share=agreement))
    if finding.channels_cancel:
        found.append(sentence(Code.CHANNELS_CANCEL))
    elif silence is not None and silence >= NOTABLE_DIGITAL_SILENCE:
        found.append(sentence(Code.DIGITAL_SILENCE, share=silence))
    return found
