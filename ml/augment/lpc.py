"""Copy-synthesis by a linear-prediction vocoder: an all-pole filter a frame, driven by pulses and noise.

Autocorrelation method with the Levinson-Durbin recursion (Makhoul, 1975), over all frames at once.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.augment.draws import uniform, whole
from ml.augment.pitch import excitation_phase, track_pitch, voicing
from ml.augment.stft import hann, overlap_add

FRAME = 400  # 25 ms
HOP = 100  # 6.25 ms
FFT_SIZE = 1_024  # leaves room for the filter to ring out
ORDERS = (12, 24)
BREATHINESS = (0.01, 0.15)  # noise power in voiced frames, relative to the pulses'
WHITE_NOISE_CORRECTION = 1e-6  # -60 dB: keeps the recursion stable where the band is empty


def lpc_copy(samples: Samples, rng: np.random.Generator) -> Samples:
    order = whole(rng, ORDERS)
    padded = np.pad(samples, (FRAME // 2, FRAME // 2 + HOP))
    frames = sliding_window_view(padded, FRAME)[::HOP] * hann(FRAME)
    coefficients, gains = linear_prediction(frames, order)
    drive = _excitation(samples, uniform(rng, BREATHINESS), rng)
    driven = sliding_window_view(np.pad(drive, (FRAME // 2, FRAME // 2 + HOP)), FRAME)[::HOP] * hann(FRAME)
    filters = gains[:, None] / fft.rfft(coefficients, FFT_SIZE, axis=1)
    voiced = fft.irfft(fft.rfft(driven, FFT_SIZE, axis=1) * filters, FFT_SIZE, axis=1).astype(np.float32)
    return overlap_add(voiced, HOP)[FRAME // 2 : FRAME // 2 + samples.size]


def linear_prediction(frames: NDArray[np.float32], order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Prediction-error filters of shape (frames, order + 1), the first coefficient 1, and the residual's rms."""
    size = frames.shape[1]
    power = np.abs(fft.rfft(frames.astype(np.float64), 2 * size, axis=1)) ** 2
    correlation = fft.irfft(power, 2 * size, axis=1)[:, : order + 1] / size
    correlation[:, 0] = correlation[:, 0] * (1.0 + WHITE_NOISE_CORRECTION) + 1e-12
    filters = np.zeros((frames.shape[0], order + 1))
    filters[:, 0] = 1.0
    error = correlation[:, 0].copy()
    for step in range(1, order + 1):
        reflection = -np.einsum("fi,fi->f", filters[:, :step], correlation[:, step:0:-1]) / error
        filters[:, 1 : step + 1] += reflection[:, None] * filters[:, step - 1 :: -1][:, :step]
        error *= 1.0 - reflection**2
    return filters, np.sqrt(np.maximum(error, 0.0))


def _excitation(samples: Samples, breathiness: float, rng: np.random.Generator) -> Samples:
    """Pulses at the pitch with some noise where voiced, noise elsewhere; unit power throughout."""
    noise = rng.standard_normal(samples.size, dtype=np.float32)
    pitch_hz, _ = track_pitch(samples, 1_000.0 * HOP / SAMPLE_RATE_HZ)
    phase = excitation_phase(pitch_hz, HOP, samples.size)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    period = 1.0 / np.maximum(np.diff(phase, prepend=0.0), 1e-6)
    pulses = (pulses * np.sqrt(period)).astype(
        np.float32
    )  # one pulse a period: amplitude sqrt(period) is unit power
    voiced = voicing(pitch_hz, HOP, samples.size)
    buzz = np.float32(np.sqrt(1.0 - breathiness)) * pulses + np.float32(np.sqrt(breathiness)) * noise
    drive: Samples = voiced * buzz + (1 - voiced) * noise
    return drive
