"""From a file of unknown origin to mono float32 sound at 16 kHz, as a stream, in constant memory.

    with open_media(Path("hearing.m4a")) as media:
        media.info                  # what the container says
        for block in media:         # float32, shape (samples,), about two seconds each
            ...
        media.warnings              # damaged packets that were skipped, and the like

PyAV (FFmpeg's libraries) is the only decoder. What a file is, its bytes decide; its name is never looked at.
Only the containers below are opened, and nothing but the file itself is read: playlists, concatenation scripts
and references to other files or to the network are refused.

Mono means the mean over all channels, taken before resampling (the two commute), so that any number and layout
of channels works. A voice that is alone in one of N channels comes out 20 log10(N) dB quieter, which the
canonical view undoes; voices on different channels are examined together, and channels that cancel each other are
told by a warning (`earwitness.tracks`).

Times count decoded sound: gaps in a container's time stamps are not filled with silence, but told by a warning, too.
"""

import errno
import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.audio.plane import AudioPlane
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from earwitness.errors import EmptyMediaError, MediaLimitError, MediaNotFoundError, UnreadableMediaError
from earwitness.finding import MediaInfo
from earwitness.tracks import ChannelMeter, Clock, cut_off, other_tracks
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, sample_count, seconds

CONTAINERS = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "eac3", "flac", "flv", "gsm", "matroska", "mov",
    "mp3", "mpeg", "mpegts", "ogg", "tta", "w64", "wav", "wv",
)  # fmt: skip
"""FFmpeg's names of what may be opened. Every one keeps its sound in the file itself."""

READ_BUFFER_BYTES = 1 << 16
BLOCK_S = 2.0
"""Decoded sound is converted in pieces of this: codec frames of 20 ms would cost a hundred times the calls, and each
step (decoder, voice detector, signals) drives what the others need out of the processor's cache."""
GATHERED_VALUES = 1 << 18  # 1 to 2 MB: of many channels at a high rate a piece is shorter
GATHERED_FRAMES = 1024  # a second has 50 of a phone's codec; of frames of one sample no more must be held at once
SAMPLE_DTYPES: dict[str, type[np.generic]] = {
    "u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64,
}  # fmt: skip
"""All of FFmpeg's formats of samples, in the byte order of the machine; the planar ones have a p behind their names."""
FLOAT_SAMPLE_LIMIT = 65_536.0
"""Float files may exceed full scale: some hold 16-bit numbers as floats, and those pass. More is no sound."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What is refused, so that no file can take the machine down. Sizes of files are the caller's business."""

    max_duration_s: float = 6 * 3600.0  # a long day in court is cut into parts; checked on decoded sound
    max_channels: int = 64  # the largest mixing desks; a forged header may claim 65535
    min_sample_rate_hz: int = 4_000  # below, no speech; and 1 Hz would be inflated 16,000 times
    max_sample_rate_hz: int = 768_000  # the fastest studio converters
    probe_bytes: int = 5_000_000  # FFmpeg's own default, set here so that it can't change unnoticed
    max_streams: int = 64  # tracks in a container; a film with every dubbing has about 40


class MediaStream:
    """The sound of one open file; iterate over it once."""

    def __init__(
        self, container: InputContainer, stream: AudioStream | None, info: MediaInfo, limits: MediaLimits
    ):
        self.info = info
        self.channels = ChannelMeter()
        self._container = container
        self._stream = stream
        self._limits = limits
        self._damaged_packets = 0
        self._broken_off = False
        self._bad_samples = 0
        self._samples_out = 0
        self._ended = False
        self._clock = Clock()

    @property
    def decoded_s(self) -> float:
        """Sound decoded so far."""
        return seconds(self._samples_out)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an examiner should know of the decoding so far, as sentences."""
        found = [] if self._stream is None else other_tracks(self._container, self._stream)
        if self._damaged_packets:
            found.append(
                f"{self._damaged_packets} damaged packet{'s were' if self._damaged_packets > 1 else ' was'} "
                "skipped; times after the damage may be early."
            )
        if self._broken_off:
            found.append(f"The file breaks off or is damaged after {self.decoded_s:.1f} s; the rest was not read.")
        if self._bad_samples:
            found.append(
                f"{self._bad_samples} samples were not numbers or far beyond full scale, and were replaced."
            )
        if self._stream is not None and self._ended and not self._broken_off:
            found += cut_off(self._container, self._stream, self.decoded_s + self._clock.skipped_s)
        return (*found, *self._clock.warnings(), *self.channels.warnings())

    def __iter__(self) -> Iterator[Samples]:
        """Blocks of mono sound at 16 kHz; none where there is no audio track.

        Raises UnreadableMediaError where nothing can be decoded, MediaLimitError beyond a limit.
        """
        if self._stream is None:
            return
        max_samples = sample_count(self._limits.max_duration_s)
        for block in self._resampled(self._stream):
            self._samples_out += block.size
            if self._samples_out > max_samples:
                raise MediaLimitError(
                    f"the recording is longer than {self._limits.max_duration_s / 3600:g} hours: "
                    "cut it and examine the parts"
                )
            yield block
        self._ended = True
        if self._samples_out == 0:
            raise UnreadableMediaError(
                f"no sound could be decoded from the {self.info.codec} track: the file is damaged or incomplete"
            )

    def _resampled(self, stream: AudioStream) -> Iterator[Samples]:
        resampler: _Resampler | None = None
        for data, rate_hz in _gathered(self._frames(stream)):
            if resampler is None or resampler.rate_hz != rate_hz:
                if resampler is not None:
                    yield from resampler.finish()
                resampler = _Resampler(rate_hz)
            yield from resampler.push(self._mono(data))
        if resampler is not None:
            yield from resampler.finish()

    def _frames(self, stream: AudioStream) -> Iterator[av.AudioFrame]:
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self._broken_off = True
                return
            except IndexError:  # PyAV: a track that appears on the way; asked anew, it passes over such tracks
                packets = self._container.demux(stream)
                continue
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._damaged_packets += 1
                continue
            for frame in frames:
                if frame.samples and frame.layout.nb_channels:
                    _check_format(frame.sample_rate, frame.layout.nb_channels, self._limits)
                    self._clock.tell(frame)
                    yield frame

    def _mono(self, data: NDArray[np.generic]) -> Samples:
        """`data` has the shape (channels, samples)."""
        sound = _to_float(data)
        peak = float(max(sound.max(), -sound.min()))
        if not peak <= FLOAT_SAMPLE_LIMIT:  # written so that NaN is bad too
            bad = ~(np.abs(sound) <= FLOAT_SAMPLE_LIMIT)
            self._bad_samples += int(bad.sum())
            sound = np.where(bad, np.float32(0.0), sound)
            peak = FLOAT_SAMPLE_LIMIT
        mono: Samples = sound[0] if len(sound) == 1 else sound.mean(axis=0, dtype=np.float32)
        if len(sound) > 1:
            self.channels.push(sound, mono, peak)
        return mono


def _open_regular_file(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise MediaNotFoundError(f"{path.name} is not there or is no regular file: check the path")
        return path.open("rb")
    except OSError as error:  # no permission, a dead mount
        raise UnreadableMediaError(f"{path.name} can't be opened: {error.strerror}") from error


@contextmanager
def open_media(path: Path, limits: MediaLimits | None = None) -> Iterator[MediaStream]:
    """Open the recording at `path` and find its sound: the default audio track, or else the first.

    Raises MediaNotFoundError, EmptyMediaError, UnreadableMediaError or MediaLimitError. A readable container
    without an audio track is no error: its `info.codec` is None and it yields no sound.
    """
    limits = limits or MediaLimits()
    with _open_regular_file(path) as opened:
        if os.fstat(opened.fileno()).st_size == 0:
            raise EmptyMediaError(f"{path.name} holds no bytes: the copy or the upload went wrong, send it again")
        # Opened anew by number: a file object without a name keeps FFmpeg from guessing by the extension.
        with _Nameless(io.FileIO(os.dup(opened.fileno()), "rb")) as nameless:
            container = _open_container(nameless, path.name, limits)
            with container:
                stream = _pick_stream(container)
                info = _describe(container, stream)
                if stream is not None:
                    if stream.codec_context is None:
                        raise UnreadableMediaError(
                            f"{path.name} holds sound in a codec that can't be decoded here"
                        )
                    _check_format(info.sample_rate_hz, info.channels, limits)
                yield MediaStream(container, stream, info, limits)


def read_waveform(
    path: Path, limits: MediaLimits | None = None, max_duration_s: float | None = None
) -> tuple[Samples, MediaInfo]:
    """The whole recording, or its first `max_duration_s`, in memory: for training and for short clips.

    Raises what `open_media` and its iteration raise; a file without an audio track gives no samples.
    """
    wanted = None if max_duration_s is None else sample_count(max_duration_s)
    blocks: list[Samples] = []
    held = 0
    with open_media(path, limits) as media:
        for block in media:
            blocks.append(block)
            held += block.size
            if wanted is not None and held >= wanted:
                break
        samples = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)
        return samples[:wanted], media.info


class _Nameless(io.BufferedReader):
    """Tells a decoder that it can't seek there, as files in C do: an absurd header may send it before the beginning."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL


def _open_container(file: object, name: str, limits: MediaLimits) -> InputContainer:
    try:
        return av.open(
            file,
            mode="r",
            buffer_size=READ_BUFFER_BYTES,
            metadata_errors="replace",
            options={
                "format_whitelist": ",".join(CONTAINERS),
                "protocol_whitelist": "file",
                "probesize": str(limits.probe_bytes),
                "max_streams": str(limits.max_streams),
            },
        )
    except av.FFmpegError as error:
        raise UnreadableMediaError(
            f"{name} is no recording that can be read ({error.strerror or 'unknown format'}): it is damaged, "
            "incomplete or no audio or video file"
        ) from error


def _pick_stream(container: InputContainer) -> AudioStream | None:
    tracks = container.streams.audio
    return next((track for track in tracks if track.disposition & Disposition.default), None) or next(
        iter(tracks), None
    )


def _describe(container: InputContainer, stream: AudioStream | None) -> MediaInfo:
    # The cover of an album is a video stream of one picture to FFmpeg, but no video to anybody else.
    moving = any(not track.disposition & Disposition.attached_pic for track in container.streams.video)
    declared_s = container.duration / 1e6 if container.duration is not None else None
    context = stream.codec_context if stream is not None else None
    return MediaInfo(
        media_type="video" if moving else "audio",
        container=container.format.name,
        codec=context.name if context is not None else None,
        sample_rate_hz=(context.sample_rate or None) if context is not None else None,
        channels=(context.layout.nb_channels or None) if context is not None else None,
        declared_duration_s=declared_s,
    )


def _check_format(rate_hz: int | None, channels: int | None, limits: MediaLimits) -> None:
    if rate_hz is not None and not limits.min_sample_rate_hz <= rate_hz <= limits.max_sample_rate_hz:
        raise MediaLimitError(
            f"a sample rate of {rate_hz} Hz lies outside "
            f"{limits.min_sample_rate_hz} to {limits.max_sample_rate_hz} Hz: convert a copy and examine that"
        )
    if channels is not None and channels > limits.max_channels:
        raise MediaLimitError(
            f"{channels} channels are more than {limits.max_channels}: extract the ones in question"
        )


@dataclass(frozen=True, slots=True)
class _Format:
    """Of a frame; what its samples are joined by."""

    rate_hz: int
    samples: str
    """FFmpeg's name."""
    channels: int

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(SAMPLE_DTYPES[self.samples.removesuffix("p")])

    @property
    def planes(self) -> int:
        """Pieces of memory that a frame's samples lie in: one a channel, or one for all of them, sample by sample."""
        return self.channels if self.samples.endswith("p") else 1

    def read(self, planes: list[list[memoryview | bytes]]) -> NDArray[np.generic]:
        """Shape (channels, samples); `planes` hold what a frame gave of each, in order."""
        read = np.frombuffer(
            b"".join(chain.from_iterable(planes)), self.dtype
        )  # all of one plane, then of the next
        return (
            read.reshape(self.channels, -1) if len(planes) == self.channels else read.reshape(-1, self.channels).T
        )


def _gathered(frames: Iterator[av.AudioFrame]) -> Iterator[tuple[NDArray[np.generic], int]]:
    """Frames joined to pieces of about `BLOCK_S`, shape (channels, samples), with their sample rate.

    A stream may change its format on the way; a piece never does. Each piece is memory of its own.

    Not by PyAV's `to_ndarray`: it looks for a null pointer behind the last plane, and of eight planes and more there is
    none, so that it takes what lies behind them for a plane and the process dies (docs/adr/0034).
    """
    now: _Format | None = None
    planes: list[list[memoryview | bytes]] = []  # joined in one go, in half the time of growing
    sample_bytes = count = enough = 0  # of a plane; samples held; of a whole piece
    for frame in frames:
        told = (frame.sample_rate, frame.format.name, frame.layout.nb_channels)
        if now is None or told != (now.rate_hz, now.samples, now.channels):
            if now is not None and count:
                yield now.read(planes), now.rate_hz
            now = _Format(*told)
            planes, count = [[] for _ in range(now.planes)], 0
            sample_bytes = now.dtype.itemsize * now.channels // now.planes
            enough = math.ceil(min(BLOCK_S * now.rate_hz, GATHERED_VALUES / now.channels))
        for index, held in enumerate(planes):
            held.append(_samples_of(memoryview(AudioPlane(frame, index)), frame.samples * sample_bytes))
        count += frame.samples
        if count >= enough or len(planes[0]) >= GATHERED_FRAMES:
            yield now.read(planes), now.rate_hz
            planes, count = [[] for _ in planes], 0
    if now is not None and count:
        yield now.read(planes), now.rate_hz


def _samples_of(plane: memoryview, size: int) -> memoryview | bytes:
    """The first `size` bytes of a frame's plane; a copy where to hold them would hold much more than that: a decoder
    may have room for 65,535 samples in a frame of 20."""
    part = plane[:size]
    return part if 2 * size >= plane.nbytes else bytes(part)


def _to_float(data: NDArray[np.generic]) -> Samples:
    """Samples of any FFmpeg format, shape (channels, samples), as float32 with full scale at 1."""
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128.0) / 128.0
    if np.issubdtype(data.dtype, np.signedinteger):
        return data.astype(np.float32) * np.float32(2.0 ** (1 - 8 * data.dtype.itemsize))  # exact: a power of two
    with np.errstate(over="ignore", invalid="ignore"):  # a double beyond float32 becomes infinite; replaced later
        return data.astype(np.float32, copy=False)


class _Resampler:
    """Mono pieces at one rate in, blocks at 16 kHz out; what is held back comes with `finish`."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._converter = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE_HZ)
        self._pieces: list[Samples] = []
        self._gathered = 0

    def push(self, piece: Samples) -> Iterator[Samples]:
        self._pieces.append(piece)
        self._gathered += piece.size
        if self._gathered >= BLOCK_S * self.rate_hz:
            yield from self._convert()

    def finish(self) -> Iterator[Samples]:
        if self._gathered:
            yield from self._convert()
        yield from _blocks(self._converter.resample(None))

    def _convert(self) -> Iterator[Samples]:
        sound = self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces)
        frame = av.AudioFrame.from_ndarray(sound[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = self.rate_hz
        self._pieces, self._gathered = [], 0
        yield from _blocks(self._converter.resample(frame))


def _blocks(frames: list[av.AudioFrame]) -> Iterator[Samples]:
    for frame in frames:
        if frame.samples:
            yield frame.to_ndarray()[0].astype(np.float32, copy=False)
