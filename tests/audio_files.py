"""Writes the recordings that the tests need, with PyAV; nothing is shipped.

path = write_audio(tmp_path / "a.mp3", samples, codec="libmp3lame", rate_hz=44_100, layout="stereo")
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.plane import AudioPlane
from numpy.typing import NDArray

from earwitness.waveform import SAMPLE_RATE_HZ, Samples

PIECE_S = 1.0


def write_audio(
    path: Path,
    samples: Samples,
    *,
    codec: str = "pcm_s16le",
    rate_hz: int = SAMPLE_RATE_HZ,
    layout: str = "mono",
    container: str | None = None,
    with_video: bool = False,
    with_cover: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode mono 16 kHz `samples`, the same on every channel of `layout`."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout, options=options or {})
        if with_video or with_cover:
            _add_picture(output, cover=with_cover)
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate_hz)
        fifo = av.AudioFifo()
        for piece in _pieces(samples):
            frame = av.AudioFrame.from_ndarray(piece[np.newaxis], format="fltp", layout="mono")
            frame.sample_rate = SAMPLE_RATE_HZ
            for resampled in resampler.resample(frame):
                _push(fifo, resampled)
        for resampled in resampler.resample(None):
            _push(fifo, resampled)
        size = stream.codec_context.frame_size or rate_hz // 10
        while (chunk := fifo.read(size, partial=True)) is not None:
            output.mux(stream.encode(chunk))
        output.mux(stream.encode(None))
    return path


def write_channels(path: Path, sound: NDArray[np.float32], *, codec: str, rate_hz: int, layout: str) -> Path:
    """Encode `sound`, shape (channels, samples), each channel as it is."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame(format=stream.format, layout=layout, samples=sound.shape[1])
        frame.sample_rate = rate_hz
        values: dict[str, NDArray[np.generic]] = {
            "u8": (sound * 127.0 + 128.0).astype(np.uint8),
            "s16": (sound * 32_767.0).astype(np.int16),
            "flt": sound,
        }
        data = values[stream.format.packed.name]
        # One by one: `frame.planes` reads beyond the last of eight planes and more.
        for index, plane in enumerate(data if stream.format.is_planar else [data.T]):
            AudioPlane(frame, index).update(np.ascontiguousarray(plane).tobytes())
        fifo = av.AudioFifo()
        _push(fifo, frame)
        while (chunk := fifo.read(stream.codec_context.frame_size or rate_hz // 10, partial=True)) is not None:
            output.mux(stream.encode(chunk))
        output.mux(stream.encode(None))
    return path


def write_pcm_float(path: Path, samples: NDArray[np.float32], rate_hz: int = SAMPLE_RATE_HZ) -> Path:
    """A float WAV with exactly these values, NaN included; shape (channels, samples) or (samples,)."""
    data = np.atleast_2d(samples).astype("<f4")
    channels = data.shape[0]
    body = data.T.tobytes()
    header = (
        b"RIFF" + (36 + len(body)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
        + (3).to_bytes(2, "little") + channels.to_bytes(2, "little") + rate_hz.to_bytes(4, "little")
        + (rate_hz * 4 * channels).to_bytes(4, "little") + (4 * channels).to_bytes(2, "little")
        + (32).to_bytes(2, "little") + b"data" + len(body).to_bytes(4, "little")
    )  # fmt: skip
    path.write_bytes(header + body)
    return path


def write_silent_film(path: Path, seconds: float = 1.0) -> Path:
    """A video without an audio track."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(round(seconds * 10)):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index, dtype=np.uint8), format="rgb24")
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def _add_picture(output: av.container.OutputContainer, *, cover: bool) -> None:
    stream = output.add_stream("png" if cover else "mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24" if cover else "yuv420p"
    if cover:
        stream.disposition = av.stream.Disposition.attached_pic
    picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
    picture.pts, picture.time_base = 0, Fraction(1, 10)
    output.mux(stream.encode(picture))
    output.mux(stream.encode(None))


def _pieces(samples: Samples) -> Iterator[Samples]:
    step = int(PIECE_S * SAMPLE_RATE_HZ)
    for start in range(0, samples.size, step):
        yield np.ascontiguousarray(samples[start : start + step], dtype=np.float32)


def _push(fifo: av.AudioFifo, frame: av.AudioFrame) -> None:
    frame.pts = None
    fifo.write(frame)
