"""Sound that a voice detector takes for speech, made of arithmetic: glottal pulses through formant filters.

    samples = speechlike(duration_s=4.0, seed=1)     # float32, mono, 16 kHz, about -23 dBFS while it speaks

A source-filter synthesis (Fant, 1960): a pulse train with wandering pitch and a breath of noise, sent through
four second-order resonances that move from vowel to vowel, under a syllable envelope of about 6 Hz with pauses.
"""

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples

VOWELS_HZ = ((730, 1090, 2440, 3400), (270, 2290, 3010, 3700), (300, 870, 2240, 3300), (530, 1840, 2480, 3500))
BANDWIDTHS_HZ = (80.0, 100.0, 140.0, 200.0)
SYLLABLE_S = 0.16
PHRASE_SYLLABLES = 9
PAUSE_S = 0.35
SPEECH_RMS = 0.07


def speechlike(duration_s: float, seed: int = 0, pitch_hz: float = 110.0) -> Samples:
    """`duration_s` of babble in phrases; the same seed gives the same sound."""
    random = np.random.default_rng(seed)
    parts: list[NDArray[np.float64]] = []
    length = 0
    wanted = round(duration_s * SAMPLE_RATE_HZ)
    while length < wanted:
        phrase = _phrase(random, pitch_hz)
        pause = np.zeros(round(PAUSE_S * random.uniform(0.6, 1.2) * SAMPLE_RATE_HZ))
        parts += [phrase, pause]
        length += phrase.size + pause.size
    sound = np.concatenate(parts)[:wanted]
    speaking = np.abs(sound) > 1e-3
    sound *= SPEECH_RMS / np.sqrt(np.mean(sound[speaking] ** 2))
    sound += random.normal(0.0, 2e-4, wanted)
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def repeated(samples: Samples, duration_s: float) -> Samples:
    """`samples` again and again until `duration_s`: long recordings without long synthesis."""
    wanted = round(duration_s * SAMPLE_RATE_HZ)
    return np.tile(samples, -(-wanted // samples.size))[:wanted]


def _phrase(random: np.random.Generator, pitch_hz: float) -> NDArray[np.float64]:
    syllables = [_syllable(random, pitch_hz * (1.15 - 0.04 * position)) for position in range(PHRASE_SYLLABLES)]
    return np.concatenate(syllables)


def _syllable(random: np.random.Generator, pitch_hz: float) -> NDArray[np.float64]:
    count = round(SYLLABLE_S * random.uniform(0.8, 1.2) * SAMPLE_RATE_HZ)
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    glide = pitch_hz * (
        1 + random.uniform(-0.12, 0.12) * time_s / SYLLABLE_S + 0.01 * np.sin(2 * np.pi * 5.5 * time_s)
    )
    phase = np.cumsum(glide) / SAMPLE_RATE_HZ
    opening = phase % 1.0
    source = np.where(opening < 0.6, np.sin(np.pi * opening / 0.6) ** 2, 0.0)
    source = np.diff(source, prepend=0.0) + random.normal(0.0, 0.004, count)
    start, end = random.permutation(len(VOWELS_HZ))[:2]
    sound = _through_formants(source, VOWELS_HZ[start], VOWELS_HZ[end])
    onset = random.normal(0.0, 0.25 * np.abs(sound).max(), count) * np.exp(-time_s / 0.015)
    envelope = np.sin(np.pi * np.clip(time_s / time_s[-1], 0, 1)) ** 0.5
    return (sound + onset) * envelope


def _through_formants(
    source: NDArray[np.float64], start_hz: tuple[int, ...], end_hz: tuple[int, ...]
) -> NDArray[np.float64]:
    """Parallel resonances in short overlapping frames, so that the formants can move."""
    frame, hop = 512, 256
    window = np.hanning(frame + 1)[:-1]
    padded = np.pad(source, (frame, frame))
    out = np.zeros_like(padded)
    frequency_hz = np.fft.rfftfreq(2 * frame, 1 / SAMPLE_RATE_HZ)
    for begin in range(0, padded.size - frame, hop):
        share = np.clip((begin - frame) / max(source.size, 1), 0, 1)
        response = np.zeros(frequency_hz.size, dtype=complex)
        for weight, low, high, width in zip((1.0, 0.6, 0.35, 0.2), start_hz, end_hz, BANDWIDTHS_HZ, strict=True):
            centre = low + share * (high - low)
            response += (
                weight * (1j * frequency_hz * width) / (centre**2 - frequency_hz**2 + 1j * frequency_hz * width)
            )
        spectrum = np.fft.rfft(padded[begin : begin + frame] * window, 2 * frame) * response
        piece = np.fft.irfft(spectrum, 2 * frame)
        end = min(begin + 2 * frame, out.size)
        out[begin:end] += piece[: end - begin]
    return out[frame : frame + source.size]
