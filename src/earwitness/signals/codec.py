"""Traces of coding: holes in the spectrum, an unused band, and whether both fit the codec that the file names.

A file says which codec it is in now. That it was coded before shows in what the present codec can't have done: a
lossless file with the holes or the edge of a lossy one, or a wide-band codec whose sound ends where a telephone's
does. The estimate counts generations that left a trace, at least; clean copies leave none.
"""

import numpy as np

from earwitness.finding import MediaInfo
from earwitness.grounds import Signal
from earwitness.signals.bandwidth import Bandwidth
from earwitness.signals.frames import BIN_HZ, Frames
from earwitness.signals.meter import FEWEST_SPEECH_FRAMES, Context
from earwitness.waveform import SAMPLE_RATE_HZ

LOSSLESS_PREFIXES = ("pcm_s", "pcm_u", "pcm_f")  # linear; pcm_alaw and pcm_mulaw are not
LOSSLESS_CODECS = frozenset(("alac", "ape", "flac", "tta", "wavpack"))
HOLE_BAND_HZ = (1_000.0, 7_500.0)
HOLE_BINS = 8  # 250 Hz in a row: a scale-factor band that an encoder set to zero, no chance notch
HOLE_DEPTH_DB = 75.0  # under the frame's strongest bin; natural hiss and 16-bit rounding lie above in loud frames
MANY_HOLES = 0.02  # of the band's bins; sound that was never coded stays below
STEEP_DB = 30.0  # within 500 Hz: a filter, no voice
NEAR_THE_TOP = 0.9  # of the band that the container can carry: an edge above is the ordinary end of the band
TELEPHONE_EDGE_HZ = 4_300.0  # an edge below is none of a wide-band codec's, whatever its bit rate
NARROW_CODECS = ("amrnb", "amr_nb", "gsm", "g723", "g729", "ilbc", "speex", "qcelp", "adpcm_g726")

CODEC_REFERENCE = "What the container names"
HOLES_REFERENCE = (
    "Runs of 250 Hz more than 75 dB under the frame's maximum; zeroed bands as traces of coding: Hennequin, "
    "Royo-Letelier & Moussallam, 2017, ICASSP"
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
        self._holes = 0
        self._bins = 0
        self._frames = 0

    def push(self, frames: Frames) -> None:
        self._edges.push(frames)
        power = frames.power[frames.spoken]
        if power.size == 0:
            return
        band = power[:, round(HOLE_BAND_HZ[0] / BIN_HZ) : round(HOLE_BAND_HZ[1] / BIN_HZ)]
        empty = band <= power.max(axis=1, keepdims=True) * np.float32(10.0 ** (-HOLE_DEPTH_DB / 10.0))
        self._holes += _in_runs(empty)
        self._bins += empty.size
        self._frames += power.shape[0]

    def signals(self, context: Context) -> tuple[Signal, ...]:
        holes, unused_hz, generations = None, None, None
        _, edge, drop = self._edges.signals(context)
        if self._frames >= FEWEST_SPEECH_FRAMES and edge.value is not None and drop.value is not None:
            holes = self._holes / self._bins
            carried_hz = _carried_hz(context.media)
            steep = drop.value >= STEEP_DB and edge.value < NEAR_THE_TOP * carried_hz
            unused_hz = carried_hz - edge.value if steep else 0.0
            generations = float(1 + _earlier(context.media, edge.value if steep else None, holes))
        lossy = None if context.media.codec is None else float(is_lossy(context.media.codec))
        return (
            Signal("lossy_codec", "Lossy codec (1 = yes)", lossy, "1", CODEC_REFERENCE),
            Signal("spectral_holes_share", "Holes in the spectrum", holes, "share", HOLES_REFERENCE),
            Signal("unused_band_hz", "Band left unused above an edge", unused_hz, "Hz", GENERATIONS_REFERENCE),
            Signal("generations", "Generations traced, at least", generations, "1", GENERATIONS_REFERENCE),
        )


def _in_runs(empty: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> int:
    """How many entries, shape (frames, bins), lie in runs of at least `HOLE_BINS` along the bins."""
    padded = np.pad(empty, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(padded, axis=1)
    starts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)  # in the same order, row by row
    lengths = ends[:, 1] - starts[:, 1]
    return int(lengths[lengths >= HOLE_BINS].sum())


def _carried_hz(media: MediaInfo) -> float:
    rate_hz = min(media.sample_rate_hz or SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)
    return rate_hz / 2


def _earlier(media: MediaInfo, edge_hz: float | None, holes: float) -> int:
    """1 where the spectrum shows what the present codec can't have done."""
    codec = media.codec or ""
    if not is_lossy(codec):
        return int(edge_hz is not None or holes >= MANY_HOLES)
    narrow = any(name in codec for name in NARROW_CODECS)
    return int(edge_hz is not None and edge_hz < TELEPHONE_EDGE_HZ and not narrow)
