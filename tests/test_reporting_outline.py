"""Envelope, spectrogram and hash: right, in constant size, whatever the blocks."""

import hashlib

import numpy as np
import pytest

from earwitness.reporting.outline import ENVELOPE_COLUMNS, SPECTROGRAM_COLUMNS, Outliner
from earwitness.reporting.png import grey_png
from earwitness.waveform import SAMPLE_RATE_HZ
from tests.reports import an_outline
from tests.speechlike import speechlike


def test_it_does_not_depend_on_the_blocks() -> None:
    sound = speechlike(3.3)
    whole, pieces = an_outline(sound, block=sound.size), an_outline(sound, block=777)

    assert whole.waveform_sha256 == pieces.waveform_sha256
    assert np.array_equal(whole.low, pieces.low) and np.array_equal(whole.high, pieces.high)
    assert np.array_equal(whole.spectrogram_db, pieces.spectrogram_db)


def test_the_hash_is_that_of_the_samples() -> None:
    sound = speechlike(1.2)

    assert an_outline(sound).waveform_sha256 == hashlib.sha256(sound.astype("<f4").tobytes()).hexdigest()


@pytest.mark.parametrize("duration_s", [0.05, 1.2, 61.7, 600.0])
def test_the_size_has_a_limit_and_the_whole_recording_is_covered(duration_s: float) -> None:
    sound = np.tile(speechlike(4.0), 200)[: round(duration_s * SAMPLE_RATE_HZ)]
    outline = an_outline(sound)

    assert outline.low.size == outline.high.size <= ENVELOPE_COLUMNS
    assert outline.spectrogram_db.shape[1] <= SPECTROGRAM_COLUMNS + 1
    assert outline.low.size * outline.column_s >= duration_s
    assert outline.spectrogram_s >= duration_s
    assert outline.low.min() == sound.min() and outline.high.max() == sound.max()


@pytest.mark.parametrize("duration_s", [2.0, 300.0])
def test_a_tone_lies_where_it_sounds(duration_s: float) -> None:
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = np.where(time_s < duration_s / 2, np.sin(2 * np.pi * 1_000 * time_s), 0.0).astype(np.float32)

    picture = an_outline(tone).spectrogram_db

    half = picture.shape[1] // 2
    assert int(np.argmax(picture[:, half // 2])) == 32  # 1 kHz in steps of 31.25 Hz
    assert picture[:, half // 2].max() > -1.0
    assert picture[:, half + half // 2].max() < -60.0


def test_more_sound_than_was_announced_is_drawn_all_the_same() -> None:
    outliner = Outliner(1.0)
    outliner.push(speechlike(3.0))

    assert outliner.finish().duration_s == 3.0


def test_without_sound_there_is_no_outline() -> None:
    with pytest.raises(ValueError, match="without sound"):
        Outliner(1.0).finish()


def test_the_picture_is_a_png_that_a_decoder_reads() -> None:
    import av

    pixels = np.arange(12 * 7, dtype=np.uint8).reshape(7, 12)
    decoder = av.CodecContext.create("png", "r")
    frames = [*decoder.decode(av.Packet(grey_png(pixels))), *decoder.decode(None)]

    assert np.array_equal(frames[0].to_ndarray(), pixels)


@pytest.mark.parametrize(
    "pixels", [np.zeros((0, 3), np.uint8), np.zeros((2, 2), np.float32), np.zeros(4, np.uint8)]
)
def test_what_is_no_grey_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels"):
        grey_png(pixels)


def test_silence_is_drawn_white() -> None:
    assert set(an_outline(np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)).spectrogram_db.ravel()) == {-70.0}
