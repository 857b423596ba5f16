"""What of a file's sound its examined stream does not show: other tracks, channels that differ, times, a lost end.

Each of these is a sentence for the examiner (`MediaStream.warnings`); none changes what is examined.
"""

import math
from dataclasses import dataclass

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from earwitness.clock import clock
from earwitness.waveform import Samples

CANCELLED_BELOW = 0.1
"""Of two channels: power of their average over the mean of their powers, below which 10 dB of them are gone. Channels
that have nothing to do with each other keep 1/N, so the limit of N is 2/N of this."""
DIFFERENT_BELOW = 0.75
"""The same ratio, below which the channels don't hold the same sound: a voice recorded in stereo lies above."""
ALL_LOST = 1e-9  # digital silence is told as 90 dB less
WEAK_CHANNEL_DB = 20.0
"""A channel that lies so far under the loudest one adds little to what is examined, whatever it holds."""
CLIPPED_AT = 0.999  # of full scale, where nothing has been resampled yet
CLIPPED_NOTABLY = 0.001  # one sample in a thousand, as for the average (`earwitness.explain`)
LATE_S = 0.5  # of a start or a gap; containers' time stamps jitter by less
MISSING_S, MISSING_SHARE = 0.5, 0.02
"""What may lack at the end of the declared length: codecs' padding, and lengths that are rounded."""
GUESSED = ("aac", "ac3", "eac3", "amr", "gsm", "mpeg")
"""FFmpeg's names of containers that declare no length: it is guessed there from the first bytes' bit rate."""


@dataclass(slots=True)
class _Sums:
    """Of one layout's channels, and of their average."""

    powers: NDArray[np.float64]
    clipped: NDArray[np.int64]
    mean_power: float = 0.0
    samples: int = 0


class ChannelMeter:
    """Running comparison of a stream's channels with their average; nothing where there is one channel.

    Where their number changes on the way, each has sums of its own, and the one that lasts longest is told of.
    """

    def __init__(self) -> None:
        self._sums: dict[int, _Sums] = {}

    def push(self, sound: NDArray[np.float32], mono: Samples, peak: float) -> None:
        """`sound` has the shape (channels, samples), `mono` is its mean over the channels, `peak` its largest size."""
        count = len(sound)
        sums = self._sums.setdefault(count, _Sums(np.zeros(count), np.zeros(count, dtype=np.int64)))
        # Of two seconds at most; a product of vectors loses nothing there that a decibel would show.
        sums.powers += [float(channel @ channel) for channel in sound]
        sums.mean_power += float(mono @ mono)
        if peak >= CLIPPED_AT:
            sums.clipped += np.count_nonzero(np.abs(sound) >= CLIPPED_AT, axis=1)
        sums.samples += mono.size

    @property
    def _longest(self) -> _Sums:
        return max(self._sums.values(), key=lambda sums: sums.samples, default=NOTHING)

    @property
    def cancelled(self) -> bool:
        """Whether the channels are loud and their average is not: what was examined is not what is heard."""
        loud = self._loud()
        return loud.size > 1 and self._kept(loud) < CANCELLED_BELOW * 2.0 / loud.size

    def warnings(self) -> list[str]:
        if self._longest.samples == 0:
            return []
        count, found = self._longest.powers.size, list[str]()
        clipped = int(self._longest.clipped.argmax())
        share = float(self._longest.clipped[clipped]) / self._longest.samples
        if share >= CLIPPED_NOTABLY:
            found.append(
                f"Channel {clipped + 1} of {count} is clipped in {100 * share:.1f} % of its samples, which the average "
                "of the channels does not show."
            )
        loud = self._loud()
        if self.cancelled:
            lost_db = -10.0 * math.log10(max(self._kept(loud), ALL_LOST))
            found.append(
                f"The {count} channels cancel each other: their average, which was examined, holds {lost_db:.0f} dB "
                "less than they do. Extract each channel and examine it by itself."
            )
        elif loud.size > 1 and self._kept(loud) < DIFFERENT_BELOW:
            found.append(
                f"The {count} channels hold different sound and were examined together, as their average. Where each "
                "has a voice of its own, extract each channel and examine it by itself."
            )
        return found

    def _loud(self) -> NDArray[np.float64]:
        """Powers of the channels that have a say in the average."""
        weakest = self._longest.powers.max(initial=0.0) * 10.0 ** (-WEAK_CHANNEL_DB / 10.0)
        loud: NDArray[np.float64] = self._longest.powers[
            (self._longest.powers >= weakest) & (self._longest.powers > 0.0)
        ]
        return loud

    def _kept(self, loud: NDArray[np.float64]) -> float:
        """Power of the average of the loud channels over the mean of their powers, 0 to 1."""
        return self._longest.mean_power * (self._longest.powers.size / loud.size) ** 2 / float(loud.mean())


NOTHING = _Sums(np.zeros(0), np.zeros(0, dtype=np.int64))


class Clock:
    """Compares frames' time stamps with the sound decoded so far."""

    def __init__(self) -> None:
        self._start_s: float | None = None
        self._expected_s = 0.0
        self._decoded_s = 0.0
        self._gaps: list[tuple[float, float]] = []

    def tell(self, frame: av.AudioFrame) -> None:
        length_s = frame.samples / frame.sample_rate
        at_s = frame.time
        if at_s is not None:
            if self._start_s is None:
                self._start_s = at_s
            elif at_s - self._expected_s > LATE_S:
                self._gaps.append((self._decoded_s, at_s - self._expected_s))
            self._expected_s = at_s + length_s
        self._decoded_s += length_s

    @property
    def skipped_s(self) -> float:
        """How much later the last frame's time stamp is than the sound decoded before it."""
        return sum(gap_s for _, gap_s in self._gaps)

    def warnings(self) -> list[str]:
        found = []
        if self._start_s is not None and self._start_s > LATE_S:
            found.append(
                f"The sound begins {clock(self._start_s)} after the file's own beginning; all times here count from "
                "where it begins."
            )
        if self._gaps:
            many = "1 gap" if len(self._gaps) == 1 else f"{len(self._gaps)} gaps"
            found.append(
                f"The sound has {many} in its time stamps, {clock(self.skipped_s)} in all, the first after "
                f"{clock(self._gaps[0][0])} of sound: a player's times are later than these from there on."
            )
        return found


def other_tracks(container: InputContainer, stream: AudioStream) -> list[str]:
    """What is to be said where the file has more sound tracks than the examined one."""
    tracks = container.streams.audio
    if len(tracks) < 2:
        return []
    number = [track.index for track in tracks].index(stream.index) + 1
    told = (
        f"The file holds {len(tracks)} sound tracks; only number {number} was examined. Extract the others and examine "
        "them by themselves."
    )
    return [told]


def cut_off(container: InputContainer, stream: AudioStream, decoded_s: float) -> list[str]:
    """What is to be said where much less could be decoded than the file declares; `decoded_s` with its gaps."""
    if container.format.name in GUESSED:
        return []
    declared_s = _declared_s(container, stream)
    if declared_s is None or declared_s - decoded_s <= max(MISSING_S, MISSING_SHARE * declared_s):
        return []
    told = (
        f"By its header the sound lasts {clock(declared_s)}; only {clock(decoded_s)} could be decoded. The file is cut "
        "off, or its header is wrong."
    )
    return [told]


def _declared_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Of the track where the container says so; of the whole file where nothing but sound is in it."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is None or len(container.streams) > 1:
        return None
    return float(container.duration) / av.time_base - max(container.start_time or 0, 0) / av.time_base
