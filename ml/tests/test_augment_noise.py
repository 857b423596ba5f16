"""Noise: SNR and colour are what was asked, and the bank reads its folder or says why not."""

from pathlib import Path

import av
import numpy as np
import pytest
from scipy import signal

from earwitness.waveform import Samples, rms_dbfs
from ml.augment import NoiseBank
from ml.augment.noise import (
    BabbleConfig,
    ColouredNoiseConfig,
    RecordedNoiseConfig,
    add_babble,
    add_coloured_noise,
    add_recorded_noise,
    coloured_noise,
    mix_at_snr,
)
from ml.tests.speechlike import speechlike


def snr_db(clean: Samples, noisy: Samples) -> float:
    return rms_dbfs(clean) - rms_dbfs(noisy - clean)


@pytest.mark.parametrize("wanted_db", [-5.0, 0.0, 10.0, 25.0])
def test_the_snr_is_what_was_asked(wanted_db: float) -> None:
    clip = speechlike(1.0)
    noise = np.random.default_rng(0).standard_normal(clip.size).astype(np.float32)
    assert snr_db(clip, mix_at_snr(clip, noise, wanted_db)) == pytest.approx(wanted_db, abs=0.01)


def test_every_kind_of_noise_keeps_to_its_range() -> None:
    bank = NoiseBank(noises=(coloured_noise(9_000, 1.0, np.random.default_rng(1)),)).with_voices(
        [speechlike(0.7, 9)]
    )
    limits = (12.0, 14.0)
    rng = np.random.default_rng(2)
    for seed in range(20):
        clip = speechlike(1.0, seed)
        for noisy in (
            add_recorded_noise(clip, rng, RecordedNoiseConfig(snr_db=limits), bank),
            add_coloured_noise(clip, rng, ColouredNoiseConfig(snr_db=limits)),
            add_babble(clip, rng, BabbleConfig(snr_db=limits), bank),
        ):
            assert 11.9 < snr_db(clip, noisy) < 14.1


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0, 2.0])
def test_the_colour_is_what_was_asked(slope: float) -> None:
    noise = coloured_noise(160_000, slope, np.random.default_rng(3))
    frequency_hz, power = signal.welch(noise, 16_000, nperseg=1_024)
    band = (frequency_hz > 200) & (frequency_hz < 6_000)
    fitted = np.polyfit(np.log(frequency_hz[band]), np.log(power[band]), 1)[0]
    assert -fitted == pytest.approx(slope, abs=0.1)


def test_babble_is_made_of_the_bank_s_voices() -> None:
    voice = speechlike(1.0, 4)
    clip = speechlike(1.0, 5)
    bank = NoiseBank().with_voices([voice, np.zeros(0, dtype=np.float32), np.zeros(100, dtype=np.float32)])
    assert len(bank.voices) == 1  # nothing can be made of silence
    babble = add_babble(clip, np.random.default_rng(0), BabbleConfig(voices=(1, 1)), bank) - clip
    assert np.corrcoef(babble, voice)[0, 1] > 0.999


def write_flac(path: Path, samples: Samples, rate_hz: int = 16_000) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("flac", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples[None] * 32_767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = rate_hz
        output.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_flac(tmp_path / "rain.flac", 0.1 * coloured_noise(32_000, 0.5, rng))
    write_flac(tmp_path / "hall.flac", np.eye(1, 22_050, 30, dtype=np.float32)[0], 22_050)
    (tmp_path / "manifest.csv").write_text("file,kind,seconds\nrain.flac,rain,2.0\nhall.flac,rir,1.0\n")
    return tmp_path


def test_a_bank_tells_noises_from_room_responses(folder: Path) -> None:
    bank = NoiseBank.from_folder(folder)
    assert [noise.size for noise in bank.noises] == [32_000]
    assert [room.size for room in bank.rooms] == [pytest.approx(16_000, abs=2)]


@pytest.mark.parametrize(
    ("manifest", "error", "message"),
    [
        (None, FileNotFoundError, "is missing"),
        ("name,sort\nrain.flac,rain\n", ValueError, "columns file and kind"),
        ("file,kind\n", ValueError, "lists no files"),
        ("file,kind\ngone.flac,rain\n", ValueError, "gone.flac"),
        ("file,kind\nmanifest.csv,rain\n", ValueError, "can't be used"),
        ("file,kind\nsilent.flac,rain\n", ValueError, "is silent"),
    ],
)
def test_a_bad_folder_is_refused(folder: Path, manifest: str | None, error: type[Exception], message: str) -> None:
    write_flac(folder / "silent.flac", np.zeros(1_600, dtype=np.float32))
    (folder / "manifest.csv").unlink()
    if manifest is not None:
        (folder / "manifest.csv").write_text(manifest)
    with pytest.raises(error, match=message):
        NoiseBank.from_folder(folder)
