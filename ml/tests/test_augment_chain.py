"""The chain as a whole: determinism, stability of shape, no NaN, every probability honoured."""

import math
from dataclasses import replace

import numpy as np
import pytest

from earwitness.waveform import Samples
from ml.augment import AugmentConfig, NoiseBank, augment, copy_synthesise
from ml.augment.chain import STEPS
from ml.augment.config import step_names, with_probabilities
from ml.augment.noise import coloured_noise
from ml.augment.rooms import synthetic_response
from ml.tests.speechlike import speechlike

EVERYTHING = dict.fromkeys(step_names(), 1.0)


@pytest.fixture(scope="module")
def bank() -> NoiseBank:
    rng = np.random.default_rng(5)
    return NoiseBank(
        noises=(coloured_noise(20_000, 1.0, rng), coloured_noise(60_000, 0.0, rng)),
        rooms=(synthetic_response(0.3, 0.0, rng),),
    ).with_voices([speechlike(1.0, seed) for seed in range(4)])


def test_the_chain_runs_every_kind_that_the_config_knows() -> None:
    assert sorted(name for name, _ in STEPS) == sorted(step_names())


def test_switched_off_the_chain_returns_its_input(bank: NoiseBank) -> None:
    clip = speechlike(1.0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert np.array_equal(augment(clip, rng, with_probabilities(AugmentConfig()), bank), clip)


@pytest.mark.parametrize("config", [AugmentConfig(), with_probabilities(AugmentConfig(), **EVERYTHING)])
def test_one_seed_gives_one_result(config: AugmentConfig, bank: NoiseBank) -> None:
    clip = speechlike(1.5)
    for seed in range(10):
        first = augment(clip, np.random.default_rng(seed), config, bank)
        assert np.array_equal(first, augment(clip, np.random.default_rng(seed), config, bank))


def test_different_seeds_give_different_results(bank: NoiseBank) -> None:
    clip = speechlike(0.5)
    config = with_probabilities(AugmentConfig(), coloured_noise=1.0)
    results = {augment(clip, np.random.default_rng(seed), config, bank).tobytes() for seed in range(8)}
    assert len(results) == 8


def test_a_hundred_random_clips_come_back_whole(bank: NoiseBank) -> None:
    rng = np.random.default_rng(11)
    for index in range(100):
        clip = speechlike(float(rng.uniform(0.1, 2.5)), seed=index)
        config = AugmentConfig() if index % 4 else with_probabilities(AugmentConfig(), **EVERYTHING)
        worse = augment(clip, rng, config, bank)
        assert worse.shape == clip.shape
        assert worse.dtype == np.float32
        assert np.isfinite(worse).all()


SOUNDS: dict[str, Samples] = {
    "one sample": np.full(1, 0.5, dtype=np.float32),
    "a few samples": np.linspace(-1, 1, 7, dtype=np.float32),
    "digital silence": np.zeros(8_000, dtype=np.float32),
    "constant": np.full(4_000, 0.3, dtype=np.float32),
    "far beyond full scale": 100.0 * speechlike(0.4),
    "almost inaudible": np.float32(1e-5) * speechlike(0.4),
    "one click": np.eye(1, 5_000, 2_500, dtype=np.float32)[0],
}


@pytest.mark.parametrize("name", step_names())
@pytest.mark.parametrize("sound", SOUNDS.values(), ids=SOUNDS.keys())
def test_no_kind_breaks_on_odd_sound(name: str, sound: Samples, bank: NoiseBank) -> None:
    config = with_probabilities(AugmentConfig(), **{name: 1.0})
    rng = np.random.default_rng(3)
    for _ in range(3):
        worse = augment(sound, rng, config, bank)
        assert worse.shape == sound.shape
        assert np.isfinite(worse).all()


@pytest.mark.parametrize("name", step_names())
def test_a_kind_runs_as_often_as_its_probability_says(name: str, bank: NoiseBank) -> None:
    clip = speechlike(0.3)
    config = with_probabilities(AugmentConfig(), **{name: 0.4})
    # Parameters that always change the clip, so that a run can be seen in the result.
    config = replace(
        config,
        rawboost=replace(config.rawboost, stationary_share=1.0),
        packet_loss=replace(config.packet_loss, loss=(0.5, 0.5)),
        time_mask=replace(config.time_mask, stretch_s=(0.1, 0.1)),
    )
    rng = np.random.default_rng(21)
    trials = 300
    changed = sum(not np.array_equal(augment(clip, rng, config, bank), clip) for _ in range(trials))
    spread = math.sqrt(0.4 * 0.6 / trials)
    assert changed / trials == pytest.approx(0.4, abs=4 * spread)


def test_a_recording_and_its_copy_go_through_one_channel(bank: NoiseBank) -> None:
    human = speechlike(1.0, 1)
    for seed in range(40):
        generators = [np.random.default_rng(seed), np.random.default_rng(seed)]
        for clip, rng in zip(
            (human, copy_synthesise(human, np.random.default_rng(0), "lpc")), generators, strict=True
        ):
            augment(clip, rng, with_probabilities(AugmentConfig(), **EVERYTHING), bank)
        assert generators[0].bit_generator.state == generators[1].bit_generator.state


def test_the_share_of_untouched_clips_is_honoured(bank: NoiseBank) -> None:
    clip = speechlike(0.2)
    config = with_probabilities(AugmentConfig(), untouched=0.3, gain=1.0)
    rng = np.random.default_rng(2)
    untouched = sum(np.array_equal(augment(clip, rng, config, bank), clip) for _ in range(1_000))
    assert untouched / 1_000 == pytest.approx(0.3, abs=0.06)


def test_the_input_is_never_written_to(bank: NoiseBank) -> None:
    clip = speechlike(0.5)
    clip.setflags(write=False)
    for seed in range(5):
        augment(clip, np.random.default_rng(seed), with_probabilities(AugmentConfig(), **EVERYTHING), bank)


def test_without_recordings_the_chain_still_works() -> None:
    config = with_probabilities(AugmentConfig(), room=1.0, babble=1.0, recorded_noise=1.0)
    worse = augment(speechlike(0.5), np.random.default_rng(0), config, NoiseBank())
    assert np.isfinite(worse).all()


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (np.zeros(0, dtype=np.float32), "not empty"),
        (np.zeros((2, 100), dtype=np.float32), "one-dimensional"),
        (np.full(100, np.nan, dtype=np.float32), "finite"),
    ],
)
def test_bad_clips_are_refused(clip: Samples, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augment(clip, np.random.default_rng(0), AugmentConfig(), NoiseBank())


def test_bad_settings_are_refused() -> None:
    defaults = AugmentConfig()
    with pytest.raises(ValueError, match=r"gain\.probability"):
        replace(defaults, gain=replace(defaults.gain, probability=1.5))
    with pytest.raises(ValueError, match=r"recorded_noise\.snr_db"):
        replace(defaults, recorded_noise=replace(defaults.recorded_noise, snr_db=(20.0, 10.0)))
    with pytest.raises(ValueError, match="untouched"):
        AugmentConfig(untouched=-0.1)
    with pytest.raises(ValueError, match="unknown kinds"):
        with_probabilities(defaults, echo=1.0)
