"""Each signal on sound that is made so that its value is known, or is known to differ in one direction."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earwitness.finding import MediaInfo
from earwitness.grounds import Signal
from earwitness.media import read_waveform
from earwitness.signals import METERS, Listener
from earwitness.signals.frames import PIECE_SAMPLES
from earwitness.signals.meter import Context
from earwitness.suitability import Measurements
from earwitness.vad import CHUNK_SAMPLES
from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from tests.audio_files import write_audio
from tests.speechlike import repeated, speechlike

WAV = MediaInfo("audio", "wav", "pcm_s16le", 16_000, 1, None)
MEASURED = Measurements(8.0, 6.4, 0.8, -25.0, 40.0, 7_600.0, 0.0)


def listened(
    sound: Samples, spoken: np.ndarray | None = None, *, media: MediaInfo = WAV, block: int = 8_000
) -> dict[str, Signal]:
    """All signals of `sound`; everything counts as speech where no flags a chunk are given."""
    chunks = -(-sound.size // CHUNK_SAMPLES)
    flags = np.ones(chunks, dtype=np.bool_) if spoken is None else spoken
    listener, heard = Listener(), 0
    for start in range(0, sound.size, block):
        whole = min(start + block, sound.size) // CHUNK_SAMPLES
        listener.push(sound[start : start + block], flags[heard:whole])
        heard = whole
    listener.finish(flags[heard:chunks])
    signals = listener.signals(Context(media, MEASURED, ood_distance=1.5, frame_agreement_share=0.75))
    return {signal.name: signal for signal in signals}


def value(name: str, sound: Samples, spoken: np.ndarray | None = None, media: MediaInfo = WAV) -> float:
    found = listened(sound, spoken, media=media)[name].value
    assert found is not None
    return found


def noise(level_dbfs: float, duration_s: float = 4.0, seed: int = 0) -> Samples:
    count = round(duration_s * SAMPLE_RATE_HZ)
    return np.random.default_rng(seed).normal(0, 10 ** (level_dbfs / 20), count).astype(np.float32)


def tone(frequency_hz: np.ndarray | float, duration_s: float = 4.0, amplitude: float = 0.1) -> Samples:
    count = round(duration_s * SAMPLE_RATE_HZ)
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency_hz, count)) / SAMPLE_RATE_HZ
    return (amplitude * (np.cos(phase) + np.cos(2 * phase))).astype(np.float32)


def limited(sound: Samples, edge_hz: float) -> Samples:
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(sound.size, 1 / SAMPLE_RATE_HZ) > edge_hz] = 0.0
    return np.fft.irfft(spectrum, sound.size).astype(np.float32)


def talk_and_pause(talk_s: float, pause_s: float, times: int, pause: Samples) -> tuple[Samples, np.ndarray]:
    """Noise as speech, then `pause` as a pause, `times` over, with the flags of their chunks."""
    talking, pausing = (round(s * SAMPLE_RATE_HZ / CHUNK_SAMPLES) for s in (talk_s, pause_s))
    speech = noise(-20.0, 60.0)
    one = np.concatenate((speech[: talking * CHUNK_SAMPLES], pause[: pausing * CHUNK_SAMPLES]))
    flags = np.concatenate((np.ones(talking, np.bool_), np.zeros(pausing, np.bool_)))
    return np.tile(one, times), np.tile(flags, times)


def test_every_signal_has_a_name_a_title_a_unit_and_a_reference() -> None:
    signals = listened(speechlike(6.0))
    assert len(signals) == sum(len(make().signals(Context(WAV, MEASURED))) for make in METERS)
    for signal in signals.values():
        assert signal.name and signal.title and signal.unit and len(signal.reference) > 10


def test_the_list_of_signals_is_the_documented_one() -> None:
    """Names go into records and tables: one that goes or changes is a breaking change."""
    text = (Path(__file__).resolve().parents[1] / "docs" / "signals.md").read_text(encoding="utf-8")
    assert [name for name in listened(speechlike(2.0)) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("block", [1_000, 8_000, 16_000, 33_333, 200_000])
def test_nothing_depends_on_how_the_sound_is_cut_into_blocks(block: int) -> None:
    sound = speechlike(8.3)
    flags = np.arange(-(-sound.size // CHUNK_SAMPLES)) % 23 < 17
    assert listened(sound, flags, block=block) == listened(sound, flags, block=4_096)


@pytest.mark.parametrize("size", [1, 100, 511, 512, 513, PIECE_SAMPLES, PIECE_SAMPLES + 1, PIECE_SAMPLES + 700])
def test_any_length_is_measured(size: int) -> None:
    signals = listened(speechlike(8.0)[:size])
    assert all(signal.value is None or np.isfinite(signal.value) for signal in signals.values())
    if size < 1_000:
        assert signals["pitch_sd_semitones"].value is None
        assert signals["spectral_flux"].value is None


@pytest.mark.parametrize(
    "sound",
    [np.zeros(48_000, np.float32), np.full(48_000, 0.5, np.float32), np.full(48_000, 60_000.0, np.float32)],
    ids=["silence", "constant", "far beyond full scale"],
)
def test_degenerate_sound_gives_finite_values_or_none(sound: Samples) -> None:
    assert all(signal.value is None or np.isfinite(signal.value) for signal in listened(sound).values())


def test_without_speech_nothing_is_said_about_speech() -> None:
    signals = listened(noise(-40.0), np.zeros(125, np.bool_))
    for name in (
        "pitch_sd_semitones",
        "spectral_flux",
        "energy_sd_db",
        "high_band_db",
        "cutoff_hz",
        "generations",
    ):
        assert signals[name].value is None
    assert signals["noise_floor_dbfs"].value == pytest.approx(-40.0, abs=1.0)


def test_an_hour_costs_no_more_memory_than_a_minute() -> None:
    """What the meters hold after a piece is what they hold after many: histograms and sums."""
    import pickle

    listener, sizes = Listener(), []
    block = repeated(speechlike(5.0), 6.144)
    for _ in range(6):
        listener.push(block, np.ones(block.size // CHUNK_SAMPLES, np.bool_))
        sizes.append(len(pickle.dumps(listener)))
    assert max(sizes[1:]) - min(sizes[1:]) < 200


def test_pitch_variability_is_the_spread_in_semitones() -> None:
    time_s = np.arange(64_000) / SAMPLE_RATE_HZ
    vibrato = 150.0 * 2 ** (2.0 * np.sin(2 * np.pi * 0.9765625 * time_s) / 12)  # +-2 semitones, sd 1.41
    assert value("pitch_sd_semitones", tone(vibrato)) == pytest.approx(2 / np.sqrt(2), abs=0.1)
    assert value("pitch_sd_semitones", tone(150.0)) < 0.05
    assert value("pitch_median_hz", tone(150.0)) == pytest.approx(150.0, rel=0.01)
    assert value("voiced_share", tone(150.0)) > 0.95


def test_another_speaker_is_no_variability() -> None:
    two = np.concatenate(
        (tone(110.0, PIECE_SAMPLES / SAMPLE_RATE_HZ), tone(220.0, PIECE_SAMPLES / SAMPLE_RATE_HZ))
    )
    assert value("pitch_sd_semitones", two) < 0.1


def test_a_changing_spectrum_has_more_flux_than_a_steady_one() -> None:
    steady = value("spectral_flux", tone(200.0))
    changing = value("spectral_flux", noise(-20.0))
    assert steady < 0.05 < 0.5 < changing <= np.sqrt(2)


def test_flux_does_not_depend_on_the_level() -> None:
    sound = speechlike(4.0)
    assert value("spectral_flux", sound * np.float32(0.25)) == pytest.approx(
        value("spectral_flux", sound), rel=1e-3
    )


def test_energy_variation_is_the_spread_of_levels() -> None:
    flags = np.ones(124, np.bool_)
    steps = np.repeat(np.where(np.arange(31) % 2 == 0, 1.0, 10 ** (-12 / 20)), 2_048)  # +-6 dB every 128 ms
    rough = (noise(-20.0, 31 * 0.128) * steps).astype(np.float32)
    assert value("energy_sd_db", rough, flags) == pytest.approx(6.0, abs=0.8)
    assert value("energy_sd_db", noise(-20.0)) < 0.7


def test_pauses_are_counted_by_the_minute_of_speech() -> None:
    sound, flags = talk_and_pause(1.984, 0.48, 10, noise(-60.0))
    assert value("pauses_per_min", sound, flags) == pytest.approx(9 * 60 / 19.5, rel=0.05)


def test_a_stop_consonant_is_no_pause() -> None:
    sound, flags = talk_and_pause(0.96, 0.096, 10, noise(-60.0))
    assert value("pauses_per_min", sound, flags) == 0.0


def test_breath_in_pauses_is_told_from_their_floor() -> None:
    breathing = np.concatenate((noise(-60.0, 0.48), noise(-45.0, 0.48)))
    empty, empty_flags = talk_and_pause(1.984, 0.96, 4, noise(-60.0))
    breath, breath_flags = talk_and_pause(1.984, 0.96, 4, breathing)
    assert value("breath_share", empty, empty_flags) < 0.05
    assert value("breath_share", breath, breath_flags) == pytest.approx(0.5, abs=0.1)


def test_noise_floor_and_its_steadiness() -> None:
    steady, flags = talk_and_pause(0.992, 0.96, 4, noise(-55.0))
    swelling = (noise(-75.0) * np.linspace(1.0, 20.0, 64_000)).astype(np.float32)
    unsteady, _ = talk_and_pause(0.992, 0.96, 4, swelling)
    assert value("noise_floor_dbfs", steady, flags) == pytest.approx(-55.0, abs=1.0)
    assert value("noise_spread_db", steady, flags) < 1.0
    assert value("noise_spread_db", unsteady, flags) > 4.0


def test_silence_and_digital_silence() -> None:
    quiet = np.concatenate((noise(-20.0, 3.072), noise(-75.0, 3.072)))
    digital = np.concatenate((noise(-20.0, 3.072), np.zeros(PIECE_SAMPLES, np.float32)))
    assert value("silence_share", quiet) == pytest.approx(0.5, abs=0.02)
    assert value("digital_silence_share", quiet) == 0.0
    assert value("digital_silence_share", digital) == pytest.approx(0.5, abs=0.02)


def test_nothing_at_all_is_silence() -> None:
    assert value("silence_share", np.zeros(PIECE_SAMPLES, np.float32)) == 1.0


@pytest.mark.parametrize("name", ["energy_sd_db", "spectral_flux", "noise_floor_dbfs", "silence_share"])
def test_an_offset_is_no_sound(name: str) -> None:
    sound, spoken = talk_and_pause(2.048, 1.024, 3, noise(-70.0, 1.024))
    shifted = (sound + np.float32(0.02)).astype(np.float32)
    assert value(name, shifted, spoken) == pytest.approx(value(name, sound, spoken), abs=0.05)


def test_the_resampler_s_edge_is_no_trace_of_coding(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", (speechlike(6.0) + noise(-55.0, 6.0)).astype(np.float32), rate_hz=8_000)
    sound, media = read_waveform(path)
    assert listened(sound, media=media)["spectral_cliffs_share"].value is None
    assert value("generations", sound, media=media) == 1.0


def test_dc_and_peak() -> None:
    sound = (noise(-40.0) + np.float32(0.02)).astype(np.float32)
    assert value("dc_offset", sound) == pytest.approx(0.02, abs=1e-3)
    assert value("peak_dbfs", tone(200.0, amplitude=0.25)) == pytest.approx(20 * np.log10(0.5), abs=0.1)


def test_high_band_energy_is_the_ratio_of_the_bands() -> None:
    assert value("high_band_db", noise(-20.0)) == pytest.approx(10 * np.log10(3_600 / 3_700), abs=0.3)
    assert value("high_band_db", limited(noise(-20.0), 3_900.0)) < -30.0


@pytest.mark.parametrize("edge_hz", [2_500.0, 3_400.0, 5_000.0, 7_000.0])
def test_the_edge_of_a_filter_is_found(edge_hz: float) -> None:
    sound = limited(noise(-20.0), edge_hz) + noise(-90.0, seed=1)
    assert value("cutoff_hz", sound) == pytest.approx(edge_hz, abs=100.0)
    assert value("cutoff_drop_db", sound) > 40.0
    assert value("unused_band_hz", sound) == pytest.approx(8_000.0 - edge_hz, abs=100.0)


def test_sound_without_an_edge_has_none() -> None:
    assert value("cutoff_drop_db", noise(-20.0)) < 3.0
    assert value("unused_band_hz", noise(-20.0)) == 0.0
    assert value("generations", noise(-20.0)) == 1.0


def test_the_group_delay_of_a_click_a_frame_is_narrow() -> None:
    clicks = np.zeros(64_000, np.float32)
    clicks[128::256] = 0.5  # two clicks a frame would interfere; the taper leaves one that matters
    assert value("group_delay_spread_ms", noise(-20.0)) > 2 * value("group_delay_spread_ms", clicks)


def through(tmp_path: Path, sound: Samples, codec: str, rate_hz: int = 16_000, **options: str) -> Samples:
    suffix = {"libmp3lame": ".mp3", "libopencore_amrnb": ".amr"}[codec]
    path = write_audio(tmp_path / f"a{suffix}", sound, codec=codec, rate_hz=rate_hz, options=options)
    return read_waveform(path)[0]


def test_mp3_leaves_cliffs_and_a_lossless_copy_of_it_is_a_second_generation(tmp_path: Path) -> None:
    sound = (speechlike(6.0) + noise(-55.0, 6.0)).astype(np.float32)
    coded = through(tmp_path, sound, "libmp3lame", b="32000")
    assert value("spectral_cliffs_share", sound) < 0.05
    assert value("spectral_cliffs_share", coded) > 0.3
    assert value("generations", sound) == 1.0
    assert value("generations", coded) == 2.0
    assert value("generations", coded, media=MediaInfo("audio", "mp3", "mp3float", 16_000, 1, None)) == 1.0


def test_a_telephone_call_in_a_wide_band_codec_is_a_second_generation(tmp_path: Path) -> None:
    sound = limited((speechlike(6.0) + noise(-45.0, 6.0)).astype(np.float32), 3_400.0)
    opus = MediaInfo("audio", "ogg", "opus", 48_000, 1, None)
    amr = MediaInfo("audio", "amr", "amrnb", 8_000, 1, None)
    assert value("generations", sound, media=opus) == 2.0
    assert value("generations", sound, media=amr) == 1.0


@pytest.mark.parametrize(
    ("codec", "lossy"),
    [("pcm_s16le", 0.0), ("flac", 0.0), ("pcm_mulaw", 1.0), ("mp3float", 1.0), ("aac", 1.0), ("alac", 0.0)],
)
def test_whether_a_codec_loses_something(codec: str, lossy: float) -> None:
    media = MediaInfo("audio", "any", codec, 16_000, 1, None)
    assert value("lossy_codec", noise(-20.0), media=media) == lossy


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("speech_s", MEASURED.speech_s),
        ("speech_share", MEASURED.speech_share),
        ("level_dbfs", MEASURED.level_dbfs),
        ("snr_db", MEASURED.snr_db),
        ("bandwidth_hz", MEASURED.bandwidth_hz),
        ("clipped_share", MEASURED.clipped_share),
        ("ood_distance", 1.5),
        ("frame_agreement_share", 0.75),
    ],
)
def test_what_other_steps_measured_is_taken_over(name: str, taken: float) -> None:
    assert listened(noise(-20.0))[name].value == taken


def test_the_same_sound_gives_the_same_values() -> None:
    make: Callable[[], dict[str, Signal]] = lambda: listened(speechlike(5.0, 3))  # noqa: E731
    assert make() == make()
