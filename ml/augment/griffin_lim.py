"""Copy-synthesis from a log-mel spectrogram, as every mel-based synthesiser ends in.

`griffin_lim_copy` throws the phase away and guesses it again (fast Griffin-Lim: Perraudin et al., 2013);
`natural_phase_copy` keeps it, as some GAN and diffusion vocoders nearly do, and loses only the fine structure of
the magnitude. Transform size, hop, number of mel bands and iterations are drawn.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.augment.draws import chance, whole
from ml.augment.stft import analyse, synthesise

SHAPES = ((512, 128), (800, 160), (800, 200), (1_024, 200), (1_024, 256))
"""Transform size and hop in samples; usual recipes at 16 kHz, all quick for the FFT."""
MEL_BANDS = (64, 80, 100, 128)
ITERATIONS = (5, 16)
MOMENTUM = 0.99  # the paper's
TOP_HZ = SAMPLE_RATE_HZ / 2
MAGNITUDE_FLOOR = 1e-6


def griffin_lim_copy(samples: Samples, rng: np.random.Generator) -> Samples:
    fft_size, hop = SHAPES[int(rng.integers(len(SHAPES)))]
    spectrum = analyse(samples, fft_size, hop)
    magnitude = through_mel(np.abs(spectrum), MEL_BANDS[int(rng.integers(len(MEL_BANDS)))])
    iterations = whole(rng, ITERATIONS)
    turns = rng.random(spectrum.shape, dtype=np.float32)
    if chance(rng, 0.5):  # in place of chance, each bin runs on at its own frequency
        turns[:] = np.outer(np.arange(spectrum.shape[0]) * hop, np.arange(spectrum.shape[1]) / fft_size) % 1.0
    phasor = np.exp(np.complex64(2j * np.pi) * turns)
    before = np.zeros_like(phasor)
    for _ in range(iterations):
        consistent = analyse(synthesise(magnitude * phasor, fft_size, hop, samples.size), fft_size, hop)
        phasor = consistent + np.float32(MOMENTUM) * (consistent - before)
        phasor /= np.maximum(np.abs(phasor), np.float32(MAGNITUDE_FLOOR))
        before = consistent
    return synthesise(magnitude * phasor, fft_size, hop, samples.size)


def natural_phase_copy(samples: Samples, rng: np.random.Generator) -> Samples:
    fft_size, hop = SHAPES[int(rng.integers(len(SHAPES)))]
    spectrum = analyse(samples, fft_size, hop)
    magnitude = np.abs(spectrum)
    smooth = through_mel(magnitude, MEL_BANDS[int(rng.integers(len(MEL_BANDS)))])
    kept = smooth / np.maximum(magnitude, np.float32(MAGNITUDE_FLOOR)) * spectrum
    return synthesise(kept, fft_size, hop, samples.size)


def through_mel(magnitude: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """A magnitude spectrogram (frames, bins) reduced to `bands` mel bands and spread over the bins again."""
    mel, back = _mel_pair(2 * (magnitude.shape[1] - 1), bands)
    smooth: NDArray[np.float32] = np.maximum((magnitude @ mel.T) @ back.T, np.float32(MAGNITUDE_FLOOR))
    return smooth


@lru_cache(maxsize=16)
def _mel_pair(fft_size: int, bands: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Triangular mel filters (HTK's scale) as weighted means, (bands, bins), and interpolation back, (bins, bands).

    Both have rows that sum to 1, so a flat spectrum stays flat.
    """
    top_mel = 2_595.0 * np.log10(1.0 + TOP_HZ / 700.0)
    corners_hz = 700.0 * (10.0 ** (np.linspace(0.0, top_mel, bands + 2) / 2_595.0) - 1.0)
    bins_hz = fft.rfftfreq(fft_size, 1 / SAMPLE_RATE_HZ)
    rising = (bins_hz - corners_hz[:-2, None]) / np.diff(corners_hz)[:-1, None]
    falling = (corners_hz[2:, None] - bins_hz) / np.diff(corners_hz)[1:, None]
    mel = np.maximum(0.0, np.minimum(rising, falling))
    for band in np.flatnonzero(mel.sum(axis=1) == 0):  # narrower than a bin: give it the nearest one
        mel[band, np.argmin(np.abs(bins_hz - corners_hz[band + 1]))] = 1.0
    back = mel.T.copy()
    for bin_ in np.flatnonzero(back.sum(axis=1) == 0):  # the ends of the band: hold the nearest band's value
        back[bin_, np.argmin(np.abs(corners_hz[1:-1] - bins_hz[bin_]))] = 1.0
    mel /= mel.sum(axis=1, keepdims=True)
    back /= back.sum(axis=1, keepdims=True)
    return mel.astype(np.float32), back.astype(np.float32)
