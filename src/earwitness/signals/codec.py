"""Traces of coding: cliffs in the spectrum, an unused band, and whether both fit the codec that the file names.

A file says which codec it is in now. That it was coded before shows in what the present codec can't have done: a
lossless file with the cliffs or the edge of a lossy one, or a wide-band codec whose sound ends where a telephone's
does (AAC and MP3 at 16 kbit/s and less end there by themselves). The estimate counts generations that would explain
the traces: MP3 leaves cliffs at every usual rate, AAC and Opus only at low ones, clean copies none.
"""

import numpy as np
from numpy.typing import NDArray

from earwitness.finding import MediaInfo
from earwitness.grounds import Signal
from earwitness.signals.bandwidth import Bandwidth
from earwitness.signals.frames import BIN_HZ, Frames
from earwitness.signals.meter import FEWEST_SPEECH_FRAMES, Context
from earwitness.suitability import carried_hz
from earwitness.waveform import SAMPLE_RATE_HZ

LOSSLESS_PREFIXES = ("pcm_s", "pcm_u", "pcm_f")  # linear; pcm_alaw and pcm_mulaw are not
LOSSLESS_CODECS = frozenset(("alac", "ape", "flac", "tta", "wavpack"))
CLIFF_BAND_HZ = (1_000.0, 7_250.0)
CLIFF_BINS = 4  # 125 Hz on each side: as narrow as the scale-factor bands that encoders set to zero
CLIFF_DB = 25.0  # from one such band to the next; between harmonics and formants the fall is smaller
DB_PER_E = 10.0 / np.log(10.0)  # of a power, whose natural logarithm takes a third of the time of the decimal one
FLOOR_POWER = 1e-14  # of a bin: under the rounding of 24-bit files
MANY_CLIFFS = (
    0.1  # of the frames; uncoded speech has 0 to 0.05, MP3 at 64 kbit/s 0.1 to 0.3, at 32 kbit/s nearly 1
)
STEEP_DB = 30.0  # within 500 Hz: a filter, no voice
NEAR_THE_TOP = 0.9  # of the band that the container can carry: an edge above is the ordinary end of the band
TELEPHONE_EDGE_HZ = 4_300.0  # an edge below is none of a wide-band codec's at a usual bit rate
NARROW_CODECS = ("amrnb", "amr_nb", "gsm", "g723", "g729", "ilbc", "speex", "qcelp", "adpcm_g726")

CODEC_REFERENCE = "What the container names"
CLIFFS_REFERENCE = (
    "Frames of speech with a fall of 25 dB from one 125 Hz band to the next; zeroed bands as traces of coding: "
    "Hennequin, Royo-Letelier & Moussallam, 2017, ICASSP"
)
GENERATIONS_REFERENCE = (
    "Container against spectrum; after Yang, Shi & Huang, 2009, ACM MM&Sec (fake-quality MP3) and D'Alessandro & "
    "Shi, 2009, ACM MM&Sec"
)


def is_lossy(codec: str) -> bool:
    """Whether FFmpeg's codec of this name loses something."""
    return not (codec.startswith(LOSSLESS_PREFIXES) or codec in LOSSLESS_CODECS)


class CodecTraces:
    def __init__(self) -> None:
        self._edges = Bandwidth()
        self._cliffs = 0
        self._frames = 0

    def push(self, frames: Frames) -> None:
        self._edges.push(frames)
        power = frames.power[frames.spoken]
        if power.size:
            self._cliffs += int(np.count_nonzero(_has_cliff(power)))
            self._frames += power.shape[0]

    def signals(self, context: Context) -> tuple[Signal, ...]:
        cliffs, unused_hz, generations = None, None, None
        _, edge, drop = self._edges.signals(context)
        if self._frames >= FEWEST_SPEECH_FRAMES and edge.value is not None and drop.value is not None:
            top_hz = carried_hz(context.media)
            if top_hz >= SAMPLE_RATE_HZ / 2:  # elsewhere the resampler's edge is a cliff in every frame
                cliffs = self._cliffs / self._frames
            steep = drop.value >= STEEP_DB and edge.value < NEAR_THE_TOP * top_hz
            unused_hz = top_hz - edge.value if steep else 0.0
            generations = float(1 + _earlier(context.media, edge.value if steep else None, cliffs or 0.0))
        lossy = None if context.media.codec is None else float(is_lossy(context.media.codec))
        return (
            Signal("lossy_codec", "Lossy codec (1 = yes)", lossy, "1", CODEC_REFERENCE),
            Signal(
                "spectral_cliffs_share", "Speech with cliffs in the spectrum", cliffs, "share", CLIFFS_REFERENCE
            ),
            Signal("unused_band_hz", "Band left unused above an edge", unused_hz, "Hz", GENERATIONS_REFERENCE),
            Signal("generations", "Generations traced, at least", generations, "1", GENERATIONS_REFERENCE),
        )


def _has_cliff(power: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Of each frame, shape (frames, bins)."""
    first, last = (round(edge_hz / BIN_HZ) for edge_hz in CLIFF_BAND_HZ)
    level = np.log(np.maximum(power[:, first - CLIFF_BINS : last + CLIFF_BINS + 1], np.float32(FLOOR_POWER)))
    pairs = level[:, :-1] + level[:, 1:]
    bands = pairs[:, :-2] + pairs[:, 2:]  # sums over CLIFF_BINS, which are 4
    falls = bands[:, : -CLIFF_BINS - 1] - bands[:, CLIFF_BINS + 1 :]  # one bin lies between the two
    return np.asarray((falls >= CLIFF_DB * CLIFF_BINS / DB_PER_E).any(axis=1), dtype=np.bool_)


def _earlier(media: MediaInfo, edge_hz: float | None, cliffs: float) -> int:
    """1 where the spectrum shows what the present codec can't have done."""
    codec = media.codec or ""
    if not is_lossy(codec):
        return int(edge_hz is not None or cliffs >= MANY_CLIFFS)
    narrow = any(name in codec for name in NARROW_CODECS)
    return int(edge_hz is not None and edge_hz < TELEPHONE_EDGE_HZ and not narrow)
