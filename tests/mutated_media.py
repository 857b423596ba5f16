"""Recordings as an attacker sends them: damaged, cut, with absurd headers, and tiny ones that become hours of sound.

    for name, content in mutated(originals(folder), seed=1, count=1_000): ...

All of them are made from files that are encoded here, by a seeded generator: the same seed gives the same bytes.
"""

import io
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from tests.audio_files import write_audio
from tests.speechlike import speechlike

SOUND_S = 1.5
FORMATS = (
    ("wav", "pcm_s16le", 16_000), ("wav", "pcm_mulaw", 8_000), ("flac", "flac", 22_050), ("mp3", "libmp3lame", 44_100),
    ("m4a", "aac", 48_000), ("aac", "aac", 32_000), ("opus", "libopus", 48_000), ("webm", "libopus", 48_000),
    ("amr", "libopencore_amrnb", 8_000), ("3gp", "libopencore_amrnb", 8_000), ("mov", "pcm_s16le", 44_100),
    ("mkv", "flac", 44_100), ("aiff", "pcm_s16be", 22_050), ("au", "pcm_s16be", 16_000), ("caf", "alac", 44_100),
    ("avi", "libmp3lame", 44_100), ("flv", "libmp3lame", 44_100), ("ts", "mp2", 48_000), ("asf", "libmp3lame", 44_100),
    ("ac3", "ac3", 48_000), ("tta", "tta", 44_100), ("wv", "wavpack", 44_100), ("w64", "pcm_s16le", 16_000),
)  # fmt: skip
"""One of each container that is opened, except those that FFmpeg reads and can't write."""
HEADER_BYTES = 256  # where most containers say what they are
EXTREMES = (0, 1, 0x7F, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
BOMB_RATE_HZ = 8_000
BOMB_HOURS = 7  # an hour beyond the limit


def originals(folder: Path) -> dict[str, bytes]:
    """Whole recordings by name, one a format."""
    sound = speechlike(SOUND_S)
    containers = {"ts": "mpegts", "m4a": "mp4", "aac": "adts"}
    made = {}
    for suffix, codec, rate_hz in FORMATS:
        path = folder / f"{codec}.{suffix}"
        write_audio(path, sound, codec=codec, rate_hz=rate_hz, container=containers.get(suffix))
        made[path.name] = path.read_bytes()
    film = write_audio(folder / "film.mp4", sound, codec="aac", rate_hz=44_100, with_video=True)
    return {**made, film.name: film.read_bytes()}


def mutated(whole: dict[str, bytes], *, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` of them, the formats in turn; the first ones are the bombs and absurd headers, which are few."""
    generator = random.Random(seed)
    special = {**absurd_headers(), **bombs()}
    yield from list(special.items())[:count]
    names = sorted(whole)
    for number in range(max(0, count - len(special))):
        name = names[number % len(names)]
        yield f"{number}-{name}", _damaged(generator, whole[name], whole[generator.choice(names)])


def absurd_headers() -> dict[str, bytes]:
    """WAV files whose header claims what no recording is."""
    return {
        "no-channels.wav": wav(channels=0),
        "65535-channels.wav": wav(channels=65_535),
        "64-channels.wav": wav(channels=64),
        "no-rate.wav": wav(rate_hz=0),
        "1-hz.wav": wav(rate_hz=1),
        "4-ghz.wav": wav(rate_hz=0xFFFFFFFF),
        "no-bits.wav": wav(bits=0),
        "65535-bits.wav": wav(bits=65_535),
        "4-gib-claimed.wav": wav(claimed_bytes=0xFFFFFFFF),
        "nothing-claimed.wav": wav(claimed_bytes=0),
    }


def bombs() -> dict[str, bytes]:
    """A file of 52 kB that becomes seven hours of sound."""
    return {"7-hours.flac": silence(BOMB_HOURS)}


def wav(*, channels: int = 1, rate_hz: int = 16_000, bits: int = 16, claimed_bytes: int | None = None) -> bytes:
    """A second of sound under a header that says so."""
    sound = bytes([1, 2]) * 16_000
    frame_bytes = min(channels * bits // 8, 0xFFFF)
    claimed = len(sound) if claimed_bytes is None else claimed_bytes
    rate_bytes = min(rate_hz * frame_bytes, 0xFFFFFFFF)
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_bytes, frame_bytes, bits)
    return b"RIFF" + struct.pack("<I", min(claimed + 36, 0xFFFFFFFF)) + b"WAVEfmt " + struct.pack("<I", 16) + form + (
        b"data" + struct.pack("<I", claimed) + sound
    )  # fmt: skip


def silence(hours: float) -> bytes:
    """FLAC in its largest blocks: a second takes two bytes."""
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as output:
        stream = output.add_stream("flac", rate=BOMB_RATE_HZ, layout="mono", options={"frame_size": "65535"})
        left = round(hours * 3600 * BOMB_RATE_HZ)
        block = np.zeros((1, 65_535), dtype=np.int16)
        while left > 0:
            frame = av.AudioFrame.from_ndarray(block[:, : min(left, block.shape[1])], format="s16", layout="mono")
            frame.sample_rate = BOMB_RATE_HZ
            output.mux(stream.encode(frame))
            left -= block.shape[1]
        output.mux(stream.encode(None))
    return file.getvalue()


def _damaged(generator: random.Random, content: bytes, other: bytes) -> bytes:
    changed = bytearray(content)
    match generator.randrange(7):
        case 0:  # bits anywhere
            for _ in range(generator.choice([1, 10, 100, 1_000])):
                changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
        case 1:  # bits of the header
            for _ in range(generator.choice([1, 4, 16])):
                changed[generator.randrange(min(HEADER_BYTES, len(changed)))] ^= 1 << generator.randrange(8)
        case 2:  # cut
            del changed[generator.randrange(len(changed)) :]
        case 3:  # numbers of the header at their extremes, in either byte order
            for _ in range(generator.randint(1, 4)):
                place = generator.randrange(min(HEADER_BYTES, len(changed) - 4))
                order = generator.choice("<>")
                changed[place : place + 4] = struct.pack(f"{order}I", generator.choice(EXTREMES))
        case 4:  # a hole, or noise in it
            place, length = generator.randrange(len(changed)), generator.choice([1, 100, 4_000])
            changed[place : place + length] = generator.choice([b"", generator.randbytes(length)])
        case 5:  # a part said many times
            place = generator.randrange(len(changed))
            changed[place:place] = bytes(changed[place : place + 512]) * generator.choice([1, 50])
        case _:  # begins as one, ends as another
            place = generator.randrange(min(len(changed), len(other)))
            changed[place:] = other[place:]
    return bytes(changed)
