"""What of a file was not examined, or can't be seen in what was: each is told, and nothing else is."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from earwitness.finding import Abstention
from earwitness.media import open_media
from earwitness.pipeline import examine
from earwitness.scorer import Scorer
from earwitness.tracks import ChannelMeter
from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from tests.audio_files import write_audio, write_pcm_float
from tests.speechlike import speechlike

RATE = SAMPLE_RATE_HZ
PIECE = RATE // 10


def warnings(path: Path) -> tuple[str, ...]:
    with open_media(path) as media:
        for _ in media:
            pass
        return media.warnings


def write_pieces(path: Path, tracks: list[list[tuple[float, Samples]]]) -> Path:
    """Each track a list of (where its time stamps begin, sound), as 16-bit samples."""
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in tracks]
        for stream, pieces in zip(streams, tracks, strict=True):
            for start_s, sound in pieces:
                for at in range(0, sound.size, PIECE):
                    data = (sound[np.newaxis, at : at + PIECE] * 32_767.0).astype(np.int16)
                    frame = av.AudioFrame.from_ndarray(data, format="s16", layout="mono")
                    frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
                    frame.pts = round(start_s * RATE) + at
                    output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "layout", "with_video"),
    [
        *[
            (name, codec, layout, False)
            for name, codec in (
                ("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.m4a", "aac"), ("a.aac", "aac"), ("a.webm", "libopus"),
                ("a.opus", "libopus"),
            )
            for layout in ("mono", "stereo", "5.1")
        ],
        ("a.mp3", "libmp3lame", "mono", False),
        ("a.mp3", "libmp3lame", "stereo", False),
        ("a.mkv", "pcm_s16le", "stereo", True),
        ("a.mov", "pcm_s16le", "stereo", True),
    ],
)  # fmt: skip
def test_a_whole_file_of_one_sound_is_passed_without_a_word(
    tmp_path: Path, name: str, codec: str, layout: str, with_video: bool
) -> None:
    path = write_audio(
        tmp_path / name, speechlike(3.0), codec=codec, layout=layout, rate_hz=48_000, with_video=with_video
    )
    assert warnings(path) == ()


def test_other_sound_tracks_are_told(tmp_path: Path) -> None:
    sound = speechlike(2.0)
    (said,) = warnings(write_pieces(tmp_path / "a.mkv", [[(0.0, sound)], [(0.0, sound)], [(0.0, sound)]]))
    assert said.startswith("The file holds 3 sound tracks; only number 1 was examined.")


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.flac", "flac")])
def test_a_file_that_lost_its_end_is_told(tmp_path: Path, name: str, codec: str) -> None:
    whole = write_audio(tmp_path / name, speechlike(8.0), codec=codec)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert any(said.startswith("By its header the sound lasts 8.") for said in warnings(whole))


def test_sound_that_begins_late_is_told(tmp_path: Path) -> None:
    said = warnings(write_pieces(tmp_path / "a.mkv", [[(30.0, speechlike(2.0))]]))
    assert said == (
        "The sound begins 30.0 s after the file's own beginning; all times here count from where it begins.",
    )


def test_gaps_in_the_time_stamps_are_told(tmp_path: Path) -> None:
    sound = speechlike(2.0)
    (said,) = warnings(write_pieces(tmp_path / "a.mkv", [[(0.0, sound), (60.0, sound), (63.0, sound)]]))
    assert said.startswith(
        "The sound has 2 gaps in its time stamps, 59.0 s in all, the first after 2.0 s of sound: "
    )


def test_channels_that_cancel_are_told_and_not_called_cut_or_muted(tmp_path: Path, toy_scorer: Scorer) -> None:
    sound = speechlike(6.0)
    output = examine(write_pcm_float(tmp_path / "a.wav", np.stack([sound, -sound])), toy_scorer)

    assert output.abstentions[0] is Abstention.NO_SPEECH
    assert any(said.startswith("The 2 channels cancel each other: their average") for said in output.warnings)
    text = " ".join(output.explanations)
    assert "The channels cancel each other" in text
    assert "digital silence" not in text


def test_channels_with_a_voice_each_are_told(tmp_path: Path) -> None:
    path = write_pcm_float(tmp_path / "a.wav", np.stack([speechlike(4.0, 1), speechlike(4.0, 2)]))
    (said,) = warnings(path)
    assert said.startswith("The 2 channels hold different sound and were examined together")


@pytest.mark.parametrize("silent", [1, 5])
def test_silent_channels_beside_a_voice_are_no_other_sound(tmp_path: Path, silent: int) -> None:
    sound = speechlike(4.0)
    assert warnings(write_pcm_float(tmp_path / "a.wav", np.stack([sound, *[0.0 * sound] * silent]))) == ()


def test_a_clipped_channel_is_told(tmp_path: Path) -> None:
    clipped = np.clip(speechlike(4.0) * 50.0, -1.0, 1.0).astype(np.float32)
    (said,) = warnings(write_pcm_float(tmp_path / "a.wav", np.stack([0.0 * clipped, clipped])))
    assert said.startswith("Channel 2 of 2 is clipped in ")


def test_of_channels_that_change_the_longest_are_told_of() -> None:
    sound, meter = speechlike(4.0), ChannelMeter()
    for channels in (np.stack([sound, -sound]), np.stack([sound[:8_000]] * 6)):
        meter.push(channels, channels.mean(axis=0), float(np.abs(channels).max()))
    assert meter.cancelled
    assert meter.warnings()[0].startswith("The 2 channels cancel each other")
