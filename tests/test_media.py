import math
import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from earwitness.errors import (
    EmptyMediaError,
    InputError,
    MediaLimitError,
    MediaNotFoundError,
    UnreadableMediaError,
)
from earwitness.media import (
    BLOCK_S,
    GATHERED_FRAMES,
    MediaLimits,
    _gathered,
    _samples_of,
    open_media,
    read_waveform,
)
from earwitness.waveform import SAMPLE_RATE_HZ, Samples, rms_dbfs
from tests.audio_files import write_audio, write_channels, write_pcm_float, write_silent_film


def tone(duration_s: float = 2.0, frequency_hz: float = 440.0) -> Samples:
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def loudest_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum) * SAMPLE_RATE_HZ / samples.size)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "layout", "expected_codec"),
    [
        ("a.wav", "pcm_s16le", 16_000, "mono", "pcm_s16le"),
        ("a.wav", "pcm_u8", 8_000, "mono", "pcm_u8"),
        ("a.wav", "pcm_mulaw", 8_000, "stereo", "pcm_mulaw"),
        ("a.wav", "pcm_s24le", 48_000, "5.1", "pcm_s24le"),
        ("a.wav", "pcm_s32le", 44_100, "stereo", "pcm_s32le"),
        ("a.wav", "pcm_f64le", 96_000, "stereo", "pcm_f64le"),
        ("a.flac", "flac", 22_050, "mono", "flac"),
        ("a.mp3", "libmp3lame", 44_100, "stereo", "mp3float"),
        ("a.m4a", "aac", 48_000, "5.1", "aac"),
        ("a.aac", "aac", 32_000, "mono", "aac"),
        ("a.m4a", "alac", 44_100, "stereo", "alac"),
        ("a.opus", "libopus", 48_000, "mono", "opus"),
        ("a.webm", "libopus", 48_000, "stereo", "opus"),
        ("a.amr", "libopencore_amrnb", 8_000, "mono", "amrnb"),
        ("a.3gp", "libopencore_amrnb", 8_000, "mono", "amrnb"),
        ("a.mp4", "aac", 44_100, "mono", "aac"),
        ("a.mov", "pcm_s16le", 44_100, "stereo", "pcm_s16le"),
        ("a.mkv", "pcm_s16le", 44_100, "7.1", "pcm_s16le"),
    ],
)
def test_decodes_every_format_to_mono_16_khz(
    tmp_path: Path, name: str, codec: str, rate_hz: int, layout: str, expected_codec: str
) -> None:
    path = write_audio(tmp_path / name, tone(), codec=codec, rate_hz=rate_hz, layout=layout)

    samples, info = read_waveform(path)

    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert abs(samples.size / SAMPLE_RATE_HZ - 2.0) < 0.08  # codecs pad to whole frames
    assert abs(loudest_hz(samples) - 440.0) < 3.0
    assert (info.codec, info.sample_rate_hz) == (expected_codec, rate_hz)


def test_decodes_vorbis(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, tone(), SAMPLE_RATE_HZ, format="OGG", subtype="VORBIS")

    samples, info = read_waveform(path)

    assert info.codec == "vorbis"
    assert abs(loudest_hz(samples) - 440.0) < 3.0


def test_decodes_gsm(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone()[::2], 8_000, format="WAV", subtype="GSM610")

    samples, info = read_waveform(path)

    assert info.codec == "gsm_ms"
    assert abs(loudest_hz(samples) - 440.0) < 3.0


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6, 11, 32])
def test_mono_is_the_mean_over_all_channels(tmp_path: Path, channels: int) -> None:
    sound = np.zeros((channels, 16_000), dtype=np.float32)
    sound[-1] = 0.5

    samples, info = read_waveform(write_pcm_float(tmp_path / "a.wav", sound))

    assert info.channels == channels
    np.testing.assert_allclose(samples, 0.5 / channels, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "codec", "layout", "channels"),
    [
        ("a.m4a", "aac", "7.1", 8),
        ("a.opus", "libopus", "7.1", 8),
        ("a.wv", "wavpack", "7.1", 8),
        ("a.wv", "wavpack", "9 channels", 9),
        ("a.wv", "wavpack", "16 channels", 16),
        ("a.wv", "wavpack", "59 channels", 59),
        ("a.wv", "wavpack", "64 channels", 64),
    ],
)
def test_channels_on_planes_of_their_own_are_read_however_many(
    tmp_path: Path, name: str, codec: str, layout: str, channels: int
) -> None:
    sound = np.zeros((channels, tone().size), dtype=np.float32)
    sound[-1] = tone()
    path = write_channels(tmp_path / name, sound, codec=codec, rate_hz=16_000, layout=layout)

    samples, info = read_waveform(path)

    assert info.channels == channels
    assert abs(loudest_hz(samples) - 440.0) < 3.0
    assert rms_dbfs(samples) == pytest.approx(rms_dbfs(tone()) - 20 * math.log10(channels), abs=1.5)


@pytest.mark.parametrize("layout", ["7.1", "5.1"])
def test_a_stream_that_changes_its_channels_on_the_way_is_read_to_its_end(tmp_path: Path, layout: str) -> None:
    few, many = (
        write_audio(
            tmp_path / f"{channels}.aac", tone(2.0), codec="aac", rate_hz=48_000, layout=channels, container="adts"
        ).read_bytes()
        for channels in ("mono", layout)
    )
    path = tmp_path / "a.aac"
    path.write_bytes(few + many + few)

    samples, info = read_waveform(path)

    assert info.channels == 1
    assert samples.size / SAMPLE_RATE_HZ == pytest.approx(6.0, abs=0.3)


def test_64_bit_samples_are_read(tmp_path: Path) -> None:
    samples, info = read_waveform(write_audio(tmp_path / "a.w64", tone(), codec="pcm_s64le", container="w64"))

    assert info.codec == "pcm_s64le"
    np.testing.assert_allclose(samples, tone(), atol=1e-4)


def test_sound_at_16_khz_comes_through_unchanged(tmp_path: Path) -> None:
    sound = tone()

    samples, _ = read_waveform(write_pcm_float(tmp_path / "a.wav", sound))

    np.testing.assert_array_equal(samples, sound)


def test_the_resamplers_tail_is_not_lost(tmp_path: Path) -> None:
    path = write_pcm_float(tmp_path / "a.wav", np.full(44_100, 0.25, dtype=np.float32), rate_hz=44_100)

    samples, _ = read_waveform(path)

    assert samples.size == 16_000
    assert samples[-100] == pytest.approx(0.25, abs=0.01)


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    honest = write_audio(tmp_path / "a.mp3", tone(), codec="libmp3lame", rate_hz=44_100)
    expected, info = read_waveform(honest)

    for name in ("a.wav", "blob", "http:evil.mp3", "-", "concat:x|y"):
        samples, seen = read_waveform(honest.rename(honest.with_name(name)))
        np.testing.assert_array_equal(samples, expected)
        assert seen == info
        honest = honest.with_name(name)


def test_comes_in_blocks_of_bounded_size(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.amr", tone(10.0), codec="libopencore_amrnb", rate_hz=8_000)

    with open_media(path) as media:
        sizes = [block.size for block in media]

    assert len(sizes) >= 10.0 / (2 * BLOCK_S)
    assert max(sizes) <= 2 * BLOCK_S * SAMPLE_RATE_HZ


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.mp3", tone(), codec="libmp3lame", rate_hz=44_100, with_cover=True)

    assert read_waveform(path)[1].media_type == "audio"


def test_a_film_is_video_and_its_sound_is_read(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.mp4", tone(), codec="aac", rate_hz=44_100, with_video=True)

    samples, info = read_waveform(path)

    assert info.media_type == "video"
    assert samples.size > 16_000


def test_a_film_without_sound_yields_nothing_and_says_so(tmp_path: Path) -> None:
    samples, info = read_waveform(write_silent_film(tmp_path / "a.mp4"))

    assert samples.size == 0
    assert (info.codec, info.sample_rate_hz, info.channels) == (None, None, None)


def test_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"")

    with pytest.raises(EmptyMediaError, match=r"a\.wav holds no bytes"):
        read_waveform(path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match=r"a\.wav is not there"):
        read_waveform(tmp_path / "a.wav")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")

    with pytest.raises(MediaNotFoundError):
        read_waveform(tmp_path / "a.wav")


def wav_without_a_sample() -> bytes:
    return (
        bytes.fromhex("52494646240000005741564566d7420100000001000100803e0000007d000002001000") + b"data\0\0\0\0"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"This is a letter, not a recording.\n" * 50,
        b"\x00" * 10_000,
        np.random.default_rng(0).bytes(50_000),
        b"RIFF\x24\x00\x00\x00WAVE",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile other.wav\n",
        b"<?xml version='1.0'?><MPD><Period><BaseURL>http://127.0.0.1/</BaseURL></Period></MPD>",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n",
        wav_without_a_sample(),
    ],
    ids=["text", "zeros", "noise", "half-a-header", "hls", "concat", "dash", "sdp", "no-samples"],
)
def test_what_is_no_recording_is_refused(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "other.wav", tone())
    path = tmp_path / "a.wav"
    path.write_bytes(content)

    with pytest.raises(UnreadableMediaError):
        read_waveform(path)

    assert capfd.readouterr().err == ""  # FFmpeg's own messages are nobody's business


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.flac", "flac"), ("a.mp3", "libmp3lame")])
def test_the_first_few_bytes_alone_are_refused(tmp_path: Path, name: str, codec: str) -> None:
    path = write_audio(tmp_path / name, tone(), codec=codec, rate_hz=44_100)
    path.write_bytes(path.read_bytes()[:40])

    with pytest.raises(UnreadableMediaError):
        read_waveform(path)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"), [("a.wav", "pcm_s16le", 16_000), ("a.mp3", "libmp3lame", 44_100)]
)
def test_a_truncated_file_gives_the_sound_that_is_there(
    tmp_path: Path, name: str, codec: str, rate_hz: int
) -> None:
    path = write_audio(tmp_path / name, tone(4.0), codec=codec, rate_hz=rate_hz)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    samples, _ = read_waveform(path)

    assert 1.7 < samples.size / SAMPLE_RATE_HZ < 2.2


def test_damage_on_the_way_is_counted_and_skipped(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.m4a", tone(8.0), codec="aac", rate_hz=44_100)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = np.random.default_rng(1).bytes(3_000)
    path.write_bytes(content)

    with open_media(path) as media:
        decoded = sum(block.size for block in media)

    assert decoded > 4 * SAMPLE_RATE_HZ
    assert any("damaged packet" in warning for warning in media.warnings)


def test_an_undamaged_file_has_no_warnings(tmp_path: Path) -> None:
    with open_media(write_audio(tmp_path / "a.flac", tone(), codec="flac")) as media:
        list(media)

    assert media.warnings == ()


def test_numbers_that_are_no_samples_are_replaced_and_told(tmp_path: Path) -> None:
    sound = tone()
    sound[[10, 11, 12]] = [np.nan, np.inf, -1e30]

    with open_media(write_pcm_float(tmp_path / "a.wav", sound)) as media:
        samples = np.concatenate(list(media))

    assert np.isfinite(samples).all()
    np.testing.assert_array_equal(samples[10:13], 0.0)
    assert any("3 samples" in warning for warning in media.warnings)


def test_float_sound_beyond_full_scale_is_kept(tmp_path: Path) -> None:
    samples, _ = read_waveform(write_pcm_float(tmp_path / "a.wav", tone() * np.float32(32_768)))

    assert rms_dbfs(samples) == pytest.approx(rms_dbfs(tone()) + 90.3, abs=0.1)


def test_the_length_limit_holds_whatever_the_header_says(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", tone(3.0))

    with pytest.raises(MediaLimitError, match="longer than"):
        read_waveform(path, MediaLimits(max_duration_s=2.0))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (MediaLimits(max_channels=2), "6 channels"),
        (MediaLimits(max_sample_rate_hz=16_000), "48000 Hz"),
        (MediaLimits(min_sample_rate_hz=96_000), "48000 Hz"),
    ],
)
def test_limits_on_the_format(tmp_path: Path, limits: MediaLimits, message: str) -> None:
    path = write_audio(tmp_path / "a.wav", tone(), rate_hz=48_000, layout="5.1")

    with pytest.raises(MediaLimitError, match=message):
        read_waveform(path, limits)


def test_reads_no_more_than_asked_for(tmp_path: Path) -> None:
    samples, _ = read_waveform(write_audio(tmp_path / "a.wav", tone(3.0)), max_duration_s=1.25)

    np.testing.assert_allclose(samples, tone(3.0)[:20_000], atol=1e-4)


def test_decoding_is_deterministic(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.mp3", tone(), codec="libmp3lame", rate_hz=44_100)

    np.testing.assert_array_equal(read_waveform(path)[0], read_waveform(path)[0])


def test_a_file_that_may_not_be_opened_is_an_input_error(tmp_path: Path) -> None:
    # A name too long for the file system is refused to everybody, also to root, whom no mode keeps out.
    # (Newer Pythons say that no such file is there.)
    with pytest.raises(InputError), open_media(tmp_path / ("x" * 300)) as stream:
        list(stream)


def test_of_a_frame_with_more_room_than_sound_no_more_than_the_sound_is_held() -> None:
    """A decoder may have room for 65,535 samples in a frame of 20; of a usual frame nothing is copied."""
    plane = memoryview(bytearray(range(200)))
    usual, cut = _samples_of(plane, 180), _samples_of(plane, 20)
    assert isinstance(usual, memoryview)
    assert usual.obj is plane.obj
    assert isinstance(cut, bytes)
    assert (bytes(usual), cut) == (bytes(range(180)), bytes(range(20)))


def test_of_frames_of_a_few_samples_no_more_than_a_limit_is_held_at_once() -> None:
    def frames() -> Iterator[av.AudioFrame]:
        for n in range(3 * GATHERED_FRAMES + 5):
            frame = av.AudioFrame.from_ndarray(np.full((1, 2), n, np.float32), format="flt", layout="mono")
            frame.sample_rate = 48_000
            yield frame

    pieces = [data for data, _ in _gathered(frames())]
    assert [piece.shape for piece in pieces] == [(1, 2 * GATHERED_FRAMES)] * 3 + [(1, 10)]
    assert np.concatenate(pieces, axis=1)[0, ::2].tolist() == list(range(3 * GATHERED_FRAMES + 5))
