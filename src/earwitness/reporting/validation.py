"""How good the method was under conditions like this recording's: from the model's own evaluation summary.

    block = validation_block(method.validation, Circumstances(codec="mp3", bandwidth_hz=7_400.0, ...))

Nothing is computed here that was not measured: a figure that the summary lacks is None, and the text says so.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from earwitness.signals.usual import NARROW_BELOW_HZ

SHORT_SPEECH_S = (
    2.0  # the short condition is 1.5 s; a recording up to here is nearer to it than to the usual clips
)
NOISY_SNR_DB = 15.0  # half way, in decibels, between the noisy condition's 10 dB and a quiet room's 20 dB
CLEAN = "clean"

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        CLEAN: "recordings as they lie on disk",
        "aac_32k": "after AAC at 32 kbit/s",
        "mp3_32k": "after MP3 at 32 kbit/s",
        "opus_16k": "after Opus at 16 kbit/s",
        "amr_nb": "after AMR narrow-band at 12.2 kbit/s, a mobile telephone call",
        "g711": "after G.711 at 8 kHz, a landline telephone call",
        "noise_10db": "with noise added, the speech 10 dB above it",
        "room_0.6s": "in a room with 0.6 s of reverberation",
        "short_1.5s": "cut to 1.5 s",
    }
)
CODEC_CONDITIONS: Mapping[str, str] = MappingProxyType(
    {
        "aac": "aac_32k",
        "mp3": "mp3_32k",
        "mp3float": "mp3_32k",
        "opus": "opus_16k",
        "libopus": "opus_16k",
        "vorbis": "opus_16k",
        "amrnb": "amr_nb",
        "amr_nb": "amr_nb",
        "libopencore_amrnb": "amr_nb",
        "gsm": "amr_nb",
        "gsm_ms": "amr_nb",
        "pcm_mulaw": "g711",
        "pcm_alaw": "g711",
    }
)
"""FFmpeg's codec to the tested condition that is nearest to it."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What of a recording decides which validation figures apply; None: not known."""

    codec: str | None = None
    bandwidth_hz: float | None = None
    speech_s: float | None = None
    snr_db: float | None = None


@dataclass(frozen=True, slots=True)
class NearestCondition:
    name: str
    description: str
    why: str
    """What of the recording led to it."""
    bonafide: int | None
    spoof: int | None
    eer: float | None
    cllr: float | None
    bonafide_called_deepfake: float | None
    spoof_called_authentic: float | None


def validation_block(evaluation: Mapping[str, Any], circumstances: Circumstances) -> dict[str, Any] | None:
    """JSON values; None where the model brings no evaluation."""
    if not evaluation:
        return None
    outcome = evaluation.get("outcome") or {}
    calibration = evaluation.get("calibration") or {}
    return {
        "data": evaluation.get("llr_origin"),
        "bonafide": evaluation.get("bonafide"),
        "spoof": evaluation.get("spoof"),
        "eer": evaluation.get("eer"),
        "eer_interval": _interval(evaluation.get("eer_interval")),
        "cllr": calibration.get("cllr"),
        "min_cllr": calibration.get("min_cllr"),
        "bonafide_called_deepfake": outcome.get("bonafide_called_deepfake"),
        "spoof_called_authentic": outcome.get("spoof_called_authentic"),
        "decided_share": outcome.get("decided_share"),
        "wrong_among_decided": outcome.get("wrong_among_decided"),
        "nearest_condition": asdict(nearest_condition(evaluation, circumstances)),
    }


def nearest_condition(evaluation: Mapping[str, Any], circumstances: Circumstances) -> NearestCondition:
    """The tested condition nearest to the recording's; of several that apply, the one with the most errors.

    Where the summary has no figures by condition, those of all recordings stand for it and the text says so.
    """
    figures = _figures_by_condition(evaluation)
    applying = [(name, why) for name, why in _applying(circumstances) if name in figures]
    if not applying:
        applying = [(CLEAN, "no tested codec, band limit, noise or shortness applies")]
    name, why = max(applying, key=lambda entry: figures.get(entry[0], {}).get("eer") or 0.0)
    known = figures.get(name, {})
    return NearestCondition(
        name=name,
        description=DESCRIPTIONS.get(name, name),
        why=why,
        bonafide=known.get("bonafide"),
        spoof=known.get("spoof"),
        eer=known.get("eer"),
        cllr=known.get("cllr"),
        bonafide_called_deepfake=known.get("bonafide_called_deepfake"),
        spoof_called_authentic=known.get("spoof_called_authentic"),
    )


def _figures_by_condition(evaluation: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """`by_condition` where the summary has it, else the equal error rates alone, which older summaries have."""
    detailed = evaluation.get("by_condition")
    if isinstance(detailed, list):
        return {str(part["name"]): part for part in detailed}
    rates = evaluation.get("eer_by_condition") or {}
    counts = {"bonafide": evaluation.get("bonafide"), "spoof": evaluation.get("spoof")}
    found: dict[str, Mapping[str, Any]] = {str(name): {**counts, "eer": eer} for name, eer in rates.items()}
    outcome = evaluation.get("outcome") or {}
    calibration = evaluation.get("calibration") or {}
    if CLEAN in found:  # the pooled figures are those of the unaltered recordings
        found[CLEAN] = {
            **found[CLEAN],
            "cllr": calibration.get("cllr"),
            "bonafide_called_deepfake": outcome.get("bonafide_called_deepfake"),
            "spoof_called_authentic": outcome.get("spoof_called_authentic"),
        }
    return found


def _applying(circumstances: Circumstances) -> list[tuple[str, str]]:
    found = []
    if circumstances.codec is not None and circumstances.codec in CODEC_CONDITIONS:
        found.append((CODEC_CONDITIONS[circumstances.codec], f"its codec is {circumstances.codec}"))
    if circumstances.bandwidth_hz is not None and circumstances.bandwidth_hz < NARROW_BELOW_HZ:
        found.append(("g711", f"its band ends at {circumstances.bandwidth_hz / 1000:.1f} kHz"))
    if circumstances.speech_s is not None and circumstances.speech_s < SHORT_SPEECH_S:
        found.append(("short_1.5s", f"it holds {circumstances.speech_s:.1f} s of speech"))
    if circumstances.snr_db is not None and circumstances.snr_db < NOISY_SNR_DB:
        found.append(("noise_10db", f"its speech lies {circumstances.snr_db:.0f} dB above the noise"))
    return found


def _interval(raw: Any) -> dict[str, float] | None:
    if not isinstance(raw, Mapping):
        return None
    return {key: float(raw[key]) for key in ("low", "high", "level")}
