"""Does the finding survive what happens to recordings? The same sound, scored again after codecs, band and level.

    panel = rescore(pieces, scorer, prior=0.5)
    panel.llr_low, panel.llr_high, panel.flips

Real codecs through FFmpeg's libraries, in memory; nothing random. A verdict that turns over under a change that no
listener would mind is weak, whatever its figures say. Suitability is not judged again: the panel asks what the
network and the thresholds do, not whether a telephone call could be judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.codec import CodecContext

from earwitness.calibration import posterior
from earwitness.canonical import canonicalise
from earwitness.finding import Verdict, WindowScore
from earwitness.panel import Panel, Trial
from earwitness.policy import decide
from earwitness.scorer import Scorer
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, db_to_gain, sample_count, seconds

PANEL_WINDOWS = 5
"""Windows that are scored again, at most: each costs the network once for every condition, and once unaltered. With
these the panel costs less than the examination of a minute."""
NOTABLE_SPEECH_SHARE = 0.25  # a window with less speech says little (as in `tally`)

TELEPHONE_LOW_HZ, TELEPHONE_HIGH_HZ = 300.0, 3_400.0  # ITU-T G.712
TELEPHONE_EDGE_HZ = 100.0
GAIN_DB = -20.0  # a recorder held too far away; with the rounding to 16 bits that follows
TRIM_S = 0.25  # from each end of each window: the windows no longer begin where they did
OTHER_RATE_HZ = 11_025  # a rate of early voice recorders, no simple fraction of 16 kHz
FLUSH_SAMPLES = 2_048  # silence behind a piece, so that its end leaves the encoder's look-ahead


@dataclass(frozen=True, slots=True)
class Piece:
    """One window's sound, as it was decoded."""

    samples: Samples
    speech_share: float
    """Its weight, as in the finding."""


@dataclass(frozen=True, slots=True)
class Condition:
    id: str
    title: str
    apply: Callable[[Samples], Samples]


def choose_windows(windows: Sequence[WindowScore]) -> tuple[WindowScore, ...]:
    """Up to `PANEL_WINDOWS` windows: all where there are no more, else spread evenly, the most suspicious among them.

    Windows with little speech are passed over unless there is nothing else.
    """
    spoken = [window for window in windows if window.speech_share >= NOTABLE_SPEECH_SHARE] or list(windows)
    if len(spoken) <= PANEL_WINDOWS:
        return tuple(spoken)
    worst = max(range(len(spoken)), key=lambda index: spoken[index].score)
    spread = {round(step * (len(spoken) - 1) / (PANEL_WINDOWS - 1)) for step in range(PANEL_WINDOWS)}
    nearest = min(spread, key=lambda index: (abs(index - worst), index))
    return tuple(spoken[index] for index in sorted(spread - {nearest} | {worst}))


def rescore(pieces: Sequence[Piece], scorer: Scorer, prior: float) -> Panel:
    """Score `pieces` as they are and under every condition. Raises ValueError where there is none."""
    if not pieces:
        raise ValueError("nothing to score again: no window was given")
    unaltered = _trial(pieces, Condition("unaltered", "as received", _as_it_is), scorer, prior, None)
    trials = tuple(_trial(pieces, condition, scorer, prior, unaltered.verdict) for condition in CONDITIONS)
    ratios = [trial.llr for trial in (unaltered, *trials)]
    return Panel(
        windows=len(pieces),
        sound_s=seconds(sum(piece.samples.size for piece in pieces)),
        unaltered=unaltered,
        trials=trials,
        llr_low=min(ratios),
        llr_high=max(ratios),
        flips=sum(trial.flipped for trial in trials),
    )


def _trial(
    pieces: Sequence[Piece], condition: Condition, scorer: Scorer, prior: float, before: Verdict | None
) -> Trial:
    altered = [canonicalise(condition.apply(piece.samples)).samples for piece in pieces]
    scores = np.empty(len(altered))
    for length in sorted({view.size for view in altered}):  # the graph takes windows of one length at a time
        same = [index for index, view in enumerate(altered) if view.size == length]
        scores[same] = scorer.score(np.stack([altered[index] for index in same])).score
    weights = np.array([piece.speech_share for piece in pieces])
    score = float(np.average(scores, weights=weights if weights.sum() > 0 else None))
    llr = scorer.spec.calibration.llr(score)
    p_fake = posterior(llr, prior)
    verdict = decide(p_fake, scorer.spec.thresholds)
    flipped = before is not None and verdict is not before
    return Trial(condition.id, condition.title, score, llr, p_fake, verdict, flipped)


@dataclass(frozen=True, slots=True)
class _Codec:
    encoder: str
    decoder: str
    rate_hz: int
    bit_rate: int
    sample_format: str
    options: tuple[tuple[str, str], ...] = ()


_MP3 = _Codec("libmp3lame", "mp3float", 16_000, 32_000, "fltp", (("compression_level", "7"),))
_OPUS = _Codec("libopus", "libopus", 16_000, 16_000, "flt", (("compression_level", "1"),))
_MU_LAW = _Codec("pcm_mulaw", "pcm_mulaw", 8_000, 64_000, "s16")


def _as_it_is(samples: Samples) -> Samples:
    return samples


def _round_trip(samples: Samples, codec: _Codec) -> Samples:
    """Encode and decode; same length, peaks above full scale scaled down before and up again behind.

    FFmpeg takes the codecs' own delays off (a test holds the result to within a few samples of the original).
    """
    peak = np.float32(max(float(np.abs(samples).max(initial=0.0)), 1.0))
    return _fitted(_through(np.pad(samples / peak, (0, FLUSH_SAMPLES)), codec), samples.size) * peak


def _through(samples: Samples, codec: _Codec) -> Samples:
    encoder = AudioCodecContext.create(codec.encoder, "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate = codec.rate_hz
    encoder.layout = "mono"
    encoder.format = codec.sample_format
    encoder.bit_rate = codec.bit_rate
    encoder.options = dict(codec.options)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(_resampled(samples, SAMPLE_RATE_HZ, codec.rate_hz)[np.newaxis]), "fltp", "mono"
    )
    frame.sample_rate = codec.rate_hz
    frame.pts = 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = CodecContext.create(codec.decoder, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate = codec.rate_hz
    decoder.layout = "mono"
    decoder.thread_count = 1
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    frames = [piece for packet in (*packets, None) for piece in decoder.decode(packet)]
    sound = np.concatenate([_as_float(piece) for piece in frames])
    return _resampled(sound, frames[0].sample_rate, SAMPLE_RATE_HZ)


def _as_float(frame: av.AudioFrame) -> Samples:
    raw = frame.to_ndarray()[0]
    full_scale = np.float32(32_768.0 if raw.dtype == np.int16 else 1.0)
    sound: Samples = raw.astype(np.float32) / full_scale
    return sound


def _resampled(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    if from_hz == to_hz:
        return samples
    converter = av.AudioResampler(format="fltp", layout="mono", rate=to_hz)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[np.newaxis]), "fltp", "mono")
    frame.sample_rate = from_hz
    pieces = [*converter.resample(frame), *converter.resample(None)]
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces]).astype(np.float32)


def _telephone(samples: Samples) -> Samples:
    return _round_trip(_band_limited(samples), _MU_LAW)


def _band_limited(samples: Samples) -> Samples:
    frequency_hz = np.fft.rfftfreq(samples.size, 1.0 / SAMPLE_RATE_HZ)
    rising = np.clip((frequency_hz - TELEPHONE_LOW_HZ) / TELEPHONE_EDGE_HZ + 0.5, 0.0, 1.0)
    falling = np.clip((TELEPHONE_HIGH_HZ - frequency_hz) / TELEPHONE_EDGE_HZ + 0.5, 0.0, 1.0)
    limited = np.fft.irfft(np.fft.rfft(samples) * rising * falling, samples.size)
    return limited.astype(np.float32)


def _other_rate(samples: Samples) -> Samples:
    there = _resampled(samples, SAMPLE_RATE_HZ, OTHER_RATE_HZ)
    return _fitted(_resampled(there, OTHER_RATE_HZ, SAMPLE_RATE_HZ), samples.size)


def _quieter(samples: Samples) -> Samples:
    rounded: Samples = np.rint(samples * np.float32(db_to_gain(GAIN_DB) * 32_767.0)) / np.float32(32_767.0)
    return rounded


def _trimmed(samples: Samples) -> Samples:
    """Without its ends; a window that would be left with less than half keeps them."""
    edge = sample_count(TRIM_S)
    return samples[edge:-edge] if samples.size >= 4 * edge else samples


def _fitted(samples: Samples, size: int) -> Samples:
    return samples[:size] if samples.size >= size else np.pad(samples, (0, size - samples.size))


CONDITIONS = (
    Condition("mp3_32k", "MP3, 32 kbit/s", partial(_round_trip, codec=_MP3)),
    Condition("opus_16k", "Opus, 16 kbit/s", partial(_round_trip, codec=_OPUS)),
    Condition("telephone", "Telephone: 300-3400 Hz, G.711 mu-law at 8 kHz", _telephone),
    Condition("resampled_11025", "Resampled to 11,025 Hz and back", _other_rate),
    Condition("gain_-20db", "20 dB quieter, rounded to 16 bits", _quieter),
    Condition("trimmed", "Each window without its first and last 0.25 s", _trimmed),
)
"""What recordings go through between the microphone and the examiner, mild to rough."""
