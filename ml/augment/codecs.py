"""Real codecs in memory, through FFmpeg's libraries: encode, decode, and put the result back where it was.

    worse = round_trip(samples, CODECS["opus"], bit_rate=16_000)

A codec delays: encoders look ahead and decoders prime. The delay of each codec at each rate is measured once per
process on a fixed probe by cross-correlation, and taken off. Nothing is shared between calls but those numbers, so
threads and processes may call this freely. FFmpeg's log stays off, as PyAV leaves it.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import av
import numpy as np
import soundfile
from av.audio.codeccontext import AudioCodecContext
from av.codec import CodecContext
from scipy import signal

from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from ml.augment.draws import chance
from ml.augment.resample import resample
from ml.augment.spectrum import fit_length

PROBE_SEED = 20_261_101
PROBE_SAMPLES = 2 * SAMPLE_RATE_HZ
FLUSH_SAMPLES = 2_048  # silence behind the clip: the last sound must leave the encoder's look-ahead
LIBSNDFILE_BLOCK = 1 << 16  # its Vorbis encoder keeps what one call is given on the stack
VORBIS_COMPRESSION = MappingProxyType({33_000: 1.0, 42_000: 0.7, 51_000: 0.5, 62_000: 0.3})
"""What libsndfile's compression levels come to, in bits a second, on speech at 16 kHz."""
INT16_SCALE = np.float32(1 / 32_768)


@dataclass(frozen=True, slots=True)
class Codec:
    name: str
    encoder: str
    decoder: str
    rate_hz: int
    bit_rates: tuple[int, ...]
    """Bits a second to draw from; a codec of one fixed rate has one."""
    options: tuple[tuple[str, str], ...] = ()
    """Encoder options: mostly its fast mode, which is what phones and live services use."""
    sample_format: Literal["fltp", "flt", "s16"] = "s16"
    path: Literal["packets", "wav", "libsndfile"] = "packets"
    """Packets straight from encoder to decoder; or by way of a WAV file in memory, for a decoder that must read a
    header to know its rate; or encoded by libsndfile, as FFmpeg's own Vorbis encoder aborts on some sounds."""


CODECS: MappingProxyType[str, Codec] = MappingProxyType(
    {
        codec.name: codec
        for codec in (
            Codec(
                "opus",
                "libopus",
                "libopus",
                16_000,
                (6_000, 8_000, 12_000, 16_000, 24_000, 32_000, 48_000),
                (("compression_level", "1"),),
                sample_format="flt",
            ),
            Codec(
                "mp3",
                "libmp3lame",
                "mp3float",
                16_000,
                (16_000, 24_000, 32_000, 48_000, 64_000),
                (("compression_level", "7"),),
                sample_format="fltp",
            ),
            Codec(
                "aac",
                "aac",
                "aac",
                16_000,
                (12_000, 16_000, 24_000, 32_000, 48_000, 64_000),
                (("aac_coder", "fast"),),
                sample_format="fltp",
            ),
            Codec(
                "amr_nb",
                "libopencore_amrnb",
                "libopencore_amrnb",
                8_000,
                (4_750, 5_150, 5_900, 6_700, 7_400, 7_950, 10_200, 12_200),
            ),
            Codec("mu_law", "pcm_mulaw", "pcm_mulaw", 8_000, (64_000,)),
            Codec("a_law", "pcm_alaw", "pcm_alaw", 8_000, (64_000,)),
            Codec("g722", "g722", "g722", 16_000, (64_000,)),
            # Only the container tells the decoder how many bits a sample has.
            Codec("g726", "g726", "g726", 8_000, (16_000, 24_000, 32_000, 40_000), path="wav"),
            Codec("vorbis", "libvorbis", "vorbis", 16_000, tuple(VORBIS_COMPRESSION), path="libsndfile"),
            # What most files on the web are: bands and blocks lie elsewhere than at 16 kHz.
            Codec(
                "aac_44k1",
                "aac",
                "aac",
                44_100,
                (32_000, 48_000, 64_000, 96_000),
                (("aac_coder", "fast"),),
                sample_format="fltp",
            ),
            Codec(
                "mp3_44k1",
                "libmp3lame",
                "mp3float",
                44_100,
                (48_000, 64_000, 96_000, 128_000),
                (("compression_level", "7"),),
                sample_format="fltp",
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class CodecConfig:
    probability: float = 0.3
    names: tuple[str, ...] = tuple(CODECS)
    twice: float = 0.12
    """How often the result goes through a second codec, as when a voice message is uploaded again."""

    def __post_init__(self) -> None:
        if unknown := set(self.names) - CODECS.keys():
            raise ValueError(f"unknown codecs {sorted(unknown)}; there are {sorted(CODECS)}")


def transcode(samples: Samples, rng: np.random.Generator, config: CodecConfig) -> Samples:
    """One random codec at a random bit rate, at times two in a row."""
    for _ in range(2 if chance(rng, config.twice) else 1):
        codec = CODECS[config.names[int(rng.integers(len(config.names)))]]
        samples = round_trip(samples, codec, codec.bit_rates[int(rng.integers(len(codec.bit_rates)))])
    return samples


def round_trip(samples: Samples, codec: Codec, bit_rate: int) -> Samples:
    """Encode and decode; same length, aligned to within a few samples, same scale.

    Peaks above full scale are scaled down before the encoder and up again behind the decoder.
    """
    peak = max(float(np.abs(samples).max(initial=0.0)), 1.0)
    padded = np.pad(samples / np.float32(peak), (0, FLUSH_SAMPLES))
    decoded = _through(padded, codec, bit_rate)[delay_samples(codec, bit_rate) :]
    return fit_length(decoded, samples.size) * np.float32(peak)


@lru_cache(maxsize=256)
def delay_samples(codec: Codec, bit_rate: int) -> int:
    """How much later the decoder's sound is than the encoder's, in samples at 16 kHz; not negative."""
    rng = np.random.default_rng(PROBE_SEED)
    # Noise in the telephone band, in bursts: every codec keeps it, and it fits in one place only.
    noise = signal.sosfilt(
        signal.butter(4, (300, 3_000), "bandpass", fs=SAMPLE_RATE_HZ, output="sos"),
        rng.standard_normal(PROBE_SAMPLES),
    )
    bursts = np.repeat(rng.uniform(0.0, 1.0, PROBE_SAMPLES // 800), 800)
    probe = (0.1 * noise * bursts).astype(np.float32)
    decoded = _through(np.pad(probe, (0, FLUSH_SAMPLES)), codec, bit_rate)
    correlation = signal.correlate(decoded, probe, method="fft")[probe.size - 1 :]
    return int(np.argmax(correlation[: 2 * FLUSH_SAMPLES]))


def _through(samples: Samples, codec: Codec, bit_rate: int) -> Samples:
    """Through encoder and decoder at the codec's rate, back at 16 kHz; delayed, of any length."""
    at_rate = resample(samples, SAMPLE_RATE_HZ, codec.rate_hz)
    match codec.path:
        case "packets":
            frames = _packets(_frame(at_rate, codec.rate_hz), codec, bit_rate)
        case "wav":
            frames = _wav(_frame(at_rate, codec.rate_hz), codec, bit_rate)
        case "libsndfile":
            frames = _libsndfile(at_rate, codec, bit_rate)
    sound = np.concatenate([_first_channel(piece) for piece in frames])
    return resample(sound, frames[0].sample_rate, SAMPLE_RATE_HZ)


def _frame(samples: Samples, rate_hz: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
    frame.sample_rate = rate_hz
    frame.pts = 0
    return frame


def _packets(frame: av.AudioFrame, codec: Codec, bit_rate: int) -> list[av.AudioFrame]:
    encoder = AudioCodecContext.create(codec.encoder, "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate = codec.rate_hz
    encoder.layout = "mono"
    encoder.format = codec.sample_format
    encoder.bit_rate = bit_rate
    encoder.options = dict(codec.options)
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = CodecContext.create(codec.decoder, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate = codec.rate_hz
    decoder.layout = "mono"
    decoder.thread_count = 1  # the caller's processes are the parallelism
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    return [piece for packet in (*packets, None) for piece in decoder.decode(packet)]


def _wav(frame: av.AudioFrame, codec: Codec, bit_rate: int) -> list[av.AudioFrame]:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="wav") as output:
        stream = output.add_stream(codec.encoder, rate=codec.rate_hz, options=dict(codec.options))
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        stream.bit_rate = bit_rate
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return _decode(buffer, "wav")


def _libsndfile(samples: Samples, codec: Codec, bit_rate: int) -> list[av.AudioFrame]:
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer,
        "w",
        codec.rate_hz,
        1,
        subtype="VORBIS",
        format="OGG",
        compression_level=VORBIS_COMPRESSION[bit_rate],
    ) as output:
        for start in range(0, samples.size, LIBSNDFILE_BLOCK):
            output.write(samples[start : start + LIBSNDFILE_BLOCK])
    return _decode(buffer, "ogg")


def _decode(buffer: io.BytesIO, container: str) -> list[av.AudioFrame]:
    buffer.seek(0)
    with av.open(buffer, "r", format=container) as source:
        return list(source.decode(audio=0))


def _first_channel(frame: av.AudioFrame) -> Samples:
    raw = frame.to_ndarray()
    channel = raw[0] if frame.format.is_planar else raw.reshape(-1, len(frame.layout.channels))[:, 0]
    scale = INT16_SCALE if channel.dtype == np.int16 else np.float32(1.0)
    return channel.astype(np.float32) * scale
