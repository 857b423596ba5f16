"""Short-time spectra and back, for the copy-synthesis methods. Frame k is centred on sample k * hop."""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from earwitness.waveform import Samples

WEIGHT_FLOOR = 1e-3  # where hardly any window reaches, at the far end of the padding


@lru_cache(maxsize=8)
def hann(fft_size: int) -> NDArray[np.float32]:
    """Periodic Hann window."""
    window: NDArray[np.float32] = np.hanning(fft_size + 1)[:-1].astype(np.float32)
    window.setflags(write=False)
    return window


def analyse(samples: Samples, fft_size: int, hop: int) -> NDArray[np.complex64]:
    """Spectrum of shape (frames, fft_size / 2 + 1), frames = ceil((length + 1) / hop) or one more."""
    padded = np.pad(samples, (fft_size // 2, fft_size // 2 + hop))
    frames = sliding_window_view(padded, fft_size)[::hop] * hann(fft_size)
    spectrum: NDArray[np.complex64] = fft.rfft(frames, axis=1)
    return spectrum


def synthesise(spectrum: NDArray[np.complex64], fft_size: int, hop: int, length: int) -> Samples:
    """Overlap-add with the windows' own weight divided out (least squares: Griffin & Lim, 1984)."""
    frames = fft.irfft(spectrum, fft_size, axis=1) * hann(fft_size)
    total = overlap_add(frames, hop)
    total /= _weight(frames.shape[0], fft_size, hop)
    return total[fft_size // 2 : fft_size // 2 + length]


def overlap_add(frames: NDArray[np.float32], hop: int) -> Samples:
    """Add frames of shape (count, size) up, each `hop` samples behind the one before."""
    count, size = frames.shape
    total = np.zeros((count - 1) * hop + size, dtype=np.float32)
    for index, frame in enumerate(frames):
        total[index * hop : index * hop + size] += frame
    return total


@lru_cache(maxsize=64)
def _weight(count: int, fft_size: int, hop: int) -> NDArray[np.float32]:
    window = hann(fft_size) ** 2
    weight = np.maximum(overlap_add(np.broadcast_to(window, (count, fft_size)), hop), np.float32(WEIGHT_FLOOR))
    weight.setflags(write=False)
    return weight
