"""Copy-synthesis by WORLD (Morise et al., 2016): pitch, spectral envelope, aperiodicity, and back.

At times envelope and aperiodicity go through the low-dimensional coding that statistical synthesisers predict.
"""

import numpy as np
import pyworld

from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.augment.draws import chance, whole
from ml.augment.pitch import PITCH_FLOOR_HZ, track_pitch

FRAME_MS = (5.0, 8.0, 10.0)
CODED_SHARE = 0.5
CODED_DIMENSIONS = (24, 60)


def world_copy(samples: Samples, rng: np.random.Generator) -> Samples:
    frame_ms = FRAME_MS[int(rng.integers(len(FRAME_MS)))]
    pitch_hz, times = track_pitch(samples, frame_ms)
    sound = samples.astype(np.float64)
    envelope = pyworld.cheaptrick(sound, pitch_hz, times, SAMPLE_RATE_HZ, f0_floor=PITCH_FLOOR_HZ)
    fft_size = (envelope.shape[1] - 1) * 2
    aperiodicity = pyworld.d4c(sound, pitch_hz, times, SAMPLE_RATE_HZ, fft_size=fft_size)
    if chance(rng, CODED_SHARE):
        dimensions = whole(rng, CODED_DIMENSIONS)
        coded = pyworld.code_spectral_envelope(envelope, SAMPLE_RATE_HZ, dimensions)
        envelope = pyworld.decode_spectral_envelope(coded, SAMPLE_RATE_HZ, fft_size)
        coded = pyworld.code_aperiodicity(aperiodicity, SAMPLE_RATE_HZ)
        aperiodicity = pyworld.decode_aperiodicity(coded, SAMPLE_RATE_HZ, fft_size)
    return pyworld.synthesize(pitch_hz, envelope, aperiodicity, SAMPLE_RATE_HZ, frame_ms).astype(np.float32)
