"""Copy-synthesis from a log-mel spectrogram: the phase is thrown away and guessed again.

Fast Griffin-Lim (Perraudin et al., 2013) on a magnitude that was projected on a mel filter bank and back, as every
mel-based synthesiser sees it. Number of mel bands, hop and iterations are drawn.
"""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.augment.draws import chance, whole

FFT_SIZE = 512  # 32 ms
HOPS = (128, 160, 200, 256)
MEL_BANDS = (40, 64, 80, 100)
ITERATIONS = (3, 12)
MOMENTUM = 0.99  # the paper's
TOP_HZ = SAMPLE_RATE_HZ / 2
MAGNITUDE_FLOOR = 1e-6


def griffin_lim_copy(samples: Samples, rng: np.random.Generator) -> Samples:
    hop = HOPS[int(rng.integers(len(HOPS)))]
    bands = MEL_BANDS[int(rng.integers(len(MEL_BANDS)))]
    iterations = whole(rng, ITERATIONS)
    from_noise = chance(rng, 0.5)
    spectrum = _analyse(samples, hop)
    mel, back = _mel_pair(bands)
    magnitude = np.maximum(np.maximum((np.abs(spectrum) @ mel.T), MAGNITUDE_FLOOR) @ back.T, MAGNITUDE_FLOOR)
    if from_noise:
        phase = rng.uniform(0.0, 2 * np.pi, spectrum.shape).astype(np.float32)
    else:  # each bin runs on at its own frequency
        centre = 2 * np.pi * np.arange(spectrum.shape[1], dtype=np.float64) / FFT_SIZE
        phase = np.mod(np.outer(np.arange(spectrum.shape[0]) * hop, centre), 2 * np.pi).astype(np.float32)
    turned = np.exp(1j * phase).astype(np.complex64)
    before = np.zeros_like(turned)
    for _ in range(iterations):
        consistent = _analyse(_synthesise(magnitude * turned, hop, samples.size), hop)
        turned = consistent + np.float32(MOMENTUM) * (consistent - before)
        turned /= np.maximum(np.abs(turned), MAGNITUDE_FLOOR)
        before = consistent
    return _synthesise(magnitude * turned, hop, samples.size)


@lru_cache(maxsize=8)
def _window() -> NDArray[np.float32]:
    return np.hanning(FFT_SIZE + 1)[:-1].astype(np.float32)


def _analyse(samples: Samples, hop: int) -> NDArray[np.complex64]:
    """Spectrum of shape (frames, FFT_SIZE / 2 + 1); frame k is centred on sample k * hop."""
    padded = np.pad(samples, (FFT_SIZE // 2, FFT_SIZE // 2 + hop))
    frames = sliding_window_view(padded, FFT_SIZE)[::hop] * _window()
    spectrum: NDArray[np.complex64] = fft.rfft(frames, axis=1)
    return spectrum


def _synthesise(spectrum: NDArray[np.complex64], hop: int, length: int) -> Samples:
    """Overlap-add with the window's own weight divided out (least squares, Griffin & Lim, 1984)."""
    frames = fft.irfft(spectrum, FFT_SIZE, axis=1) * _window()
    count = frames.shape[0]
    total = np.zeros((count - 1) * hop + FFT_SIZE, dtype=np.float32)
    for index in range(count):
        total[index * hop : index * hop + FFT_SIZE] += frames[index]
    total /= _weight(count, hop)
    return total[FFT_SIZE // 2 : FFT_SIZE // 2 + length]


@lru_cache(maxsize=64)
def _weight(count: int, hop: int) -> NDArray[np.float32]:
    weight = np.zeros((count - 1) * hop + FFT_SIZE, dtype=np.float32)
    for index in range(count):
        weight[index * hop : index * hop + FFT_SIZE] += _window() ** 2
    return np.maximum(weight, np.float32(1e-3))


@lru_cache(maxsize=8)
def _mel_pair(bands: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Triangular mel filters (HTK scale), shape (bands, bins), and their non-negative way back, (bins, bands)."""
    top_mel = 2_595.0 * np.log10(1.0 + TOP_HZ / 700.0)
    corners_hz = 700.0 * (10.0 ** (np.linspace(0.0, top_mel, bands + 2) / 2_595.0) - 1.0)
    bins_hz = np.linspace(0.0, TOP_HZ, FFT_SIZE // 2 + 1)
    rising = (bins_hz - corners_hz[:-2, None]) / np.diff(corners_hz)[:-1, None]
    falling = (corners_hz[2:, None] - bins_hz) / np.diff(corners_hz)[1:, None]
    mel = np.maximum(0.0, np.minimum(rising, falling))
    # A band narrower than a bin may catch none: give it the nearest.
    for band in np.flatnonzero(mel.sum(axis=1) == 0):
        mel[band, np.argmin(np.abs(bins_hz - corners_hz[band + 1]))] = 1.0
    return mel.astype(np.float32), np.maximum(np.linalg.pinv(mel), 0.0).astype(np.float32)
