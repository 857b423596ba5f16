"""What a recording is like, measured before anything is done to it, and whether it can be judged.

    meter = SuitabilityMeter()
    for block in media:
        meter.push(block)
    meter.finish()
    measured = meter.measurements()
    reasons = abstentions(measured, spec.limits)

Constant memory but for one byte a chunk (32 ms) that says whether somebody spoke: 0.7 MB for six hours.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.finding import Abstention, MediaInfo
from earwitness.model_spec import SuitabilityLimits
from earwitness.vad import CHUNK_S, CHUNK_SAMPLES, SPEECH_PROBABILITY, VoiceDetector
from earwitness.waveform import SAMPLE_RATE_HZ, SILENCE_DBFS, Samples, seconds

ANY_SPEECH_S = 0.2  # about one syllable; a detector of voices errs on less
CLIPPED_AT = 0.99  # of full scale; resampling rounds the flat tops off
NO_SOUND = 1e-18  # of a chunk's variance: digital silence; the last bit of 24 makes 1e-15
LEVEL_STEP_DB = 0.5  # resolution of the level histograms
LEVEL_CEILING_DBFS = 100.0  # a float file may lie above full scale
NOISE_PERCENTILE = 10.0  # of the levels in pauses: the quiet between the words, not the coughs
MIN_PAUSE_CHUNKS = 10  # 0.3 s; a percentile of fewer is a coincidence
MAX_SNR_DB = 90.0  # beyond that it is the file format that is measured
BAND_RANGE_DB = 55.0  # under its maximum, speech has ended and codecs' and resamplers' residue begins
BAND_SMOOTHING_BINS = 9  # of 31 Hz: 280 Hz, so that no single harmonic counts as band


@dataclass(frozen=True, slots=True)
class Measurements:
    """None: could not be measured, for want of speech."""

    duration_s: float
    speech_s: float
    speech_share: float
    """Part of the recording that is speech, 0 to 1."""
    level_dbfs: float | None
    """Of the speech."""
    snr_db: float | None
    """Speech over the noise in the pauses, at most `MAX_SNR_DB`."""
    bandwidth_hz: float | None
    """Highest frequency at which the speech's long-term spectrum is within `BAND_RANGE_DB` of its maximum."""
    clipped_share: float
    """Part of the samples that is at full scale, 0 to 1."""


class SuitabilityMeter:
    """Running measurements over one recording. The result does not depend on how it is cut into blocks."""

    def __init__(self) -> None:
        self._voice = VoiceDetector()
        self._rest = np.zeros(0, dtype=np.float32)
        self._spoken = bytearray()
        self._samples = 0
        self._clipped = 0
        self._speech_levels = _LevelHistogram()
        self._pause_levels = _LevelHistogram()
        self._speech_power = 0.0
        self._speech_spectrum: NDArray[np.float64] = np.zeros(CHUNK_SAMPLES // 2 + 1)
        self._taper = np.hanning(CHUNK_SAMPLES)

    def push(self, block: Samples) -> NDArray[np.bool_]:
        """Take the next block, of any length; tells for each chunk that is complete with it whether it is speech."""
        self._samples += block.size
        self._clipped += int(np.count_nonzero(np.abs(block) >= CLIPPED_AT))
        held = np.concatenate((self._rest, block))
        whole = held.size - held.size % CHUNK_SAMPLES
        chunks = held[:whole].reshape(-1, CHUNK_SAMPLES)
        spoken = self._measure(chunks, chunks.var(axis=1, dtype=np.float64))
        self._rest = held[whole:]
        return spoken

    def finish(self) -> NDArray[np.bool_]:
        """Measure what is left of a chunk at the end, and tell whether it is speech."""
        if self._rest.size == 0:
            return np.zeros(0, dtype=np.bool_)
        padded = np.pad(self._rest, (0, CHUNK_SAMPLES - self._rest.size))
        spoken = self._measure(padded[np.newaxis], np.array([self._rest.var(dtype=np.float64)]))
        self._rest = self._rest[:0]
        return spoken

    def speech_share(self, start_s: float, end_s: float) -> float:
        """Part of the time between two moments that is speech, 0 to 1, as far as was pushed."""
        flags = self._spoken[int(start_s / CHUNK_S) : max(math.ceil(end_s / CHUNK_S), 1)]
        return sum(flags) / len(flags) if flags else 0.0

    def measurements(self) -> Measurements:
        duration_s = seconds(self._samples)
        speech_s = min(sum(self._spoken) * CHUNK_S, duration_s)
        return Measurements(
            duration_s=duration_s,
            speech_s=speech_s,
            speech_share=speech_s / duration_s if duration_s else 0.0,
            level_dbfs=self._speech_level_dbfs(),
            snr_db=self._snr_db(),
            bandwidth_hz=self._bandwidth_hz(),
            clipped_share=self._clipped / self._samples if self._samples else 0.0,
        )

    def _measure(self, chunks: NDArray[np.float32], powers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """`chunks` has the shape (count, CHUNK_SAMPLES); `powers` are their variances: an offset is no sound.

        Chunks of digital silence have no level: no noise can be measured in them, and what is put beside a noisy
        recording makes it no clearer.
        """
        spoken: NDArray[np.bool_] = self._voice.listen(chunks) >= SPEECH_PROBABILITY
        self._spoken.extend(spoken.tobytes())
        sounding = powers > NO_SOUND
        self._speech_levels.add(powers[spoken & sounding])
        self._pause_levels.add(powers[~spoken & sounding])
        self._speech_power += float(powers[spoken].sum())
        heard = chunks[spoken]
        heard = heard - heard.mean(axis=1, keepdims=True)
        self._speech_spectrum += (np.abs(np.fft.rfft(heard * self._taper)) ** 2).sum(axis=0)
        return spoken

    def _speech_level_dbfs(self) -> float | None:
        if self._speech_levels.count == 0 or self._speech_power <= 0.0:
            return None
        return 10.0 * math.log10(self._speech_power / self._speech_levels.count)

    def _snr_db(self) -> float | None:
        level_dbfs = self._speech_level_dbfs()
        if level_dbfs is None:
            return None
        # Usually the pauses are the quieter ones; where the voice detector took quiet speech for pauses, or there
        # are hardly any, the quietest of all chunks are nearer to the noise.
        candidates = [self._pause_levels.joined(self._speech_levels)]
        if self._pause_levels.count >= MIN_PAUSE_CHUNKS:
            candidates.append(self._pause_levels)
        noise_dbfs = min(levels.percentile(NOISE_PERCENTILE) for levels in candidates)
        noise_power = 10.0 ** (noise_dbfs / 10.0)
        # While somebody speaks the noise goes on: what was measured there is the sum of the two.
        speech_power = max(10.0 ** (level_dbfs / 10.0) - noise_power, noise_power * 1e-3)
        return min(10.0 * math.log10(speech_power / noise_power), MAX_SNR_DB)

    def _bandwidth_hz(self) -> float | None:
        if self._speech_power <= 0.0:
            return None
        kernel = np.full(BAND_SMOOTHING_BINS, 1.0 / BAND_SMOOTHING_BINS)
        smooth = np.convolve(self._speech_spectrum, kernel, mode="same")
        present = np.flatnonzero(smooth >= smooth.max() * 10.0 ** (-BAND_RANGE_DB / 10.0))
        return float(present[-1] * SAMPLE_RATE_HZ / CHUNK_SAMPLES)


def carried_hz(media: MediaInfo) -> float:
    """The highest frequency that both the file and the sound as it is examined can hold.

    What is measured above it, resampling and smoothing let spill over.
    """
    return min(media.sample_rate_hz or SAMPLE_RATE_HZ, SAMPLE_RATE_HZ) / 2


def abstentions(
    measured: Measurements, limits: SuitabilityLimits, ood_distance: float | None = None
) -> tuple[Abstention, ...]:
    """Why the recording can't be judged, in the order of `Abstention`; empty where it can.

    `ood_distance` is the embedding's distance from the training data, None where nothing was embedded.
    Noise and band are only held against recordings with speech: elsewhere they were not measured.
    """
    found: set[Abstention] = set()
    if measured.speech_s < ANY_SPEECH_S:
        found.add(Abstention.NO_SPEECH)
    elif measured.speech_s < limits.min_speech_s:
        found.add(Abstention.TOO_SHORT)
    if measured.duration_s < limits.min_duration_s:
        found.add(Abstention.TOO_SHORT)
    if Abstention.NO_SPEECH not in found:
        # Speech that is too quiet is speech too close to the noise that every file format adds.
        too_quiet = measured.level_dbfs is not None and measured.level_dbfs < limits.min_level_dbfs
        if too_quiet or (measured.snr_db is not None and measured.snr_db < limits.min_snr_db):
            found.add(Abstention.TOO_NOISY)
        if measured.bandwidth_hz is not None and measured.bandwidth_hz < limits.min_bandwidth_hz:
            found.add(Abstention.BAND_TOO_NARROW)
        if ood_distance is not None and ood_distance > limits.max_ood_distance:
            found.add(Abstention.OUT_OF_DISTRIBUTION)
    return tuple(reason for reason in Abstention if reason in found)


class _LevelHistogram:
    """How often each level occurred, in constant memory."""

    def __init__(self) -> None:
        bins = round((LEVEL_CEILING_DBFS - SILENCE_DBFS) / LEVEL_STEP_DB) + 1
        self._counts: NDArray[np.int64] = np.zeros(bins, dtype=np.int64)

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def add(self, powers: NDArray[np.float64]) -> None:
        """Count the levels of mean squares, shape (count,)."""
        levels_dbfs = 10.0 * np.log10(np.maximum(powers, 10.0 ** (SILENCE_DBFS / 10.0)))
        indices = np.rint((levels_dbfs - SILENCE_DBFS) / LEVEL_STEP_DB).astype(np.int64)
        np.add.at(self._counts, np.minimum(indices, self._counts.size - 1), 1)

    def joined(self, other: "_LevelHistogram") -> "_LevelHistogram":
        both = _LevelHistogram()
        both._counts = self._counts + other._counts
        return both

    def percentile(self, percent: float) -> float:
        """The level below which `percent` of them lie; needs at least one."""
        reached = np.cumsum(self._counts) >= self.count * percent / 100.0
        first = int(np.argmax(reached & (self._counts > 0)))
        return SILENCE_DBFS + first * LEVEL_STEP_DB
