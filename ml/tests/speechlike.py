"""Sound that behaves like speech, made by code: a gliding buzz through formants, hisses and pauses."""

import numpy as np
from scipy import signal

from earwitness.waveform import SAMPLE_RATE_HZ, Samples, sample_count

FORMANTS_HZ = ((700, 1_200, 2_600), (300, 2_200, 3_000), (500, 900, 2_400))


def speechlike(duration_s: float = 3.0, seed: int = 0) -> Samples:
    """Voiced syllables of 180 ms, hisses of 60 ms, pauses of 60 ms; -20 dBFS."""
    rng = np.random.default_rng(seed)
    length = sample_count(duration_s)
    at_s = np.arange(length) / SAMPLE_RATE_HZ
    pitch_hz = rng.uniform(90, 220) * (1.0 + 0.15 * np.sin(2 * np.pi * 0.7 * at_s + rng.uniform(0, 6)))
    pulses = np.diff(np.floor(np.cumsum(pitch_hz) / SAMPLE_RATE_HZ), prepend=0.0)
    pulses = signal.lfilter([1.0], [1.0, -0.95], pulses)  # the glottis: falling towards high frequencies
    sound = np.zeros(length)
    syllable = sample_count(0.3)
    for index, start in enumerate(range(0, length, syllable)):
        vowel = pulses[start : start + sample_count(0.18)].copy()
        for formant_hz in FORMANTS_HZ[index % len(FORMANTS_HZ)]:
            b, a = signal.iirpeak(formant_hz, formant_hz / 90, fs=SAMPLE_RATE_HZ)
            vowel += 3.0 * signal.lfilter(b, a, vowel)
        sound[start : start + vowel.size] += vowel * np.hanning(vowel.size + 2)[1:-1]
        hiss = sound[start + sample_count(0.18) : start + sample_count(0.24)]
        hiss += 0.05 * np.diff(rng.standard_normal(hiss.size + 1))
    level = float(np.sqrt(np.mean(sound**2)))
    speech: Samples = (0.1 * sound / max(level, 1e-9)).astype(np.float32)
    return speech
