"""Copy-synthesis by sinusoids plus noise (after Stylianou, 2001).

Harmonics of the pitch below a cut-off where voiced, shaped noise everywhere else. The phases are artificial.
"""

import numpy as np
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.augment.draws import uniform
from ml.augment.pitch import excitation_phase, track_pitch, voicing
from ml.augment.stft import analyse, hann, synthesise

FFT_SIZE = 512  # 32 ms: bins of 31 Hz tell the harmonics of most voices apart
HOP = 128
CUTOFF_HZ = (2_500.0, 6_000.0)
"""Highest voiced frequency: above it even voiced speech is noise."""


def harmonic_copy(samples: Samples, rng: np.random.Generator) -> Samples:
    cutoff_hz = uniform(rng, CUTOFF_HZ)
    pitch_hz, _ = track_pitch(samples, 1_000.0 * HOP / SAMPLE_RATE_HZ)
    magnitude = np.abs(analyse(samples, FFT_SIZE, HOP))
    pitch_hz = np.pad(pitch_hz, (0, max(0, magnitude.shape[0] - pitch_hz.size)))[: magnitude.shape[0]]
    voiced = _harmonics(magnitude, pitch_hz, cutoff_hz, samples.size, rng)
    voiced *= voicing(pitch_hz, HOP, samples.size)
    return voiced + _noise(magnitude, pitch_hz, cutoff_hz, samples.size, rng)


def _harmonics(
    magnitude: NDArray[np.float32],
    pitch_hz: NDArray[np.float64],
    cutoff_hz: float,
    length: int,
    rng: np.random.Generator,
) -> Samples:
    """All harmonics below the cut-off, each as strong as the spectrum is at its frequency."""
    total = np.zeros(length, dtype=np.float32)
    if not (pitch_hz > 0).any():
        return total
    fundamental = np.exp(2j * np.pi * (excitation_phase(pitch_hz, HOP, length) % 1.0)).astype(np.complex64)
    turning = np.ones_like(fundamental)
    frames = np.arange(magnitude.shape[0])
    at = np.arange(length) / HOP
    scale = 2.0 / float(hann(FFT_SIZE).sum())  # a sinusoid of amplitude 1 peaks at sum(window) / 2
    for number in range(1, int(cutoff_hz / pitch_hz[pitch_hz > 0].min()) + 1):
        turning *= fundamental
        frequency_hz = number * pitch_hz
        bins = np.clip(
            np.rint(frequency_hz * FFT_SIZE / SAMPLE_RATE_HZ).astype(np.intp), 0, magnitude.shape[1] - 1
        )
        strength = np.where((frequency_hz > 0) & (frequency_hz < cutoff_hz), magnitude[frames, bins] * scale, 0.0)
        offset = np.complex64(np.exp(2j * np.pi * rng.random()))
        total += np.interp(at, frames, strength).astype(np.float32) * (turning * offset).real
    return total


def _noise(
    magnitude: NDArray[np.float32],
    pitch_hz: NDArray[np.float64],
    cutoff_hz: float,
    length: int,
    rng: np.random.Generator,
) -> Samples:
    """White noise under the spectrogram, without the part that the harmonics cover."""
    white = analyse(rng.standard_normal(length, dtype=np.float32), FFT_SIZE, HOP)
    frequency_hz = np.arange(magnitude.shape[1]) * (SAMPLE_RATE_HZ / FFT_SIZE)
    covered = (pitch_hz[:, None] > 0) & (frequency_hz < cutoff_hz)
    # Unit-variance noise has a mean power of sum(window^2) in every bin.
    shaped = white * np.where(covered, np.float32(0.0), magnitude / np.sqrt((hann(FFT_SIZE) ** 2).sum()))
    return synthesise(shaped.astype(np.complex64), FFT_SIZE, HOP, length)
