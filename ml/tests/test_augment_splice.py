"""Splices: the labels are right to the frame, the rest is untouched, and no cut clicks."""

import numpy as np
import pytest

from ml.augment import SpliceConfig, copy_synthesise, splice
from ml.augment.splice import frame_labels
from ml.tests.speechlike import speechlike

HOP = 160  # 10 ms: fine enough to find the cuts
FINE = SpliceConfig(frame_hop_s=0.01)


def test_labels_mark_exactly_the_frames_that_changed() -> None:
    human = np.full(48_000, 0.25, dtype=np.float32)
    machine = np.where(np.arange(48_000) % 2 == 0, 0.25, -0.25).astype(np.float32)  # same level, every 2nd differs
    for seed in range(50):
        mixed, labels = splice(human, machine, np.random.default_rng(seed), FINE)
        changed = np.abs(mixed - human).reshape(-1, HOP).max(axis=1) > 1e-3
        assert labels.shape == (300,)
        assert np.count_nonzero(labels != changed) <= 2 * FINE.segments[1]  # the frames that hold a cut
        inside = (labels[:-2] == labels[1:-1]) & (labels[1:-1] == labels[2:])
        assert (labels[1:-1][inside] == changed[1:-1][inside]).all()


def test_stretches_are_as_long_and_as_many_as_asked() -> None:
    human, machine = speechlike(4.0, 1), speechlike(4.0, 2)
    for seed in range(50):
        _, labels = splice(human, machine, np.random.default_rng(seed), FINE)
        edges = np.flatnonzero(np.diff(np.pad(labels, 1)))
        lengths_s = (edges[1::2] - edges[::2]) * 0.01
        assert 1 <= lengths_s.size <= 2
        assert lengths_s.min() >= 0.28
        assert lengths_s.max() <= 2.02
        assert 0.0 < labels.mean() <= 0.72


def test_human_speech_outside_the_stretches_is_untouched() -> None:
    human = speechlike(3.0)
    machine = copy_synthesise(human, np.random.default_rng(0), "griffin_lim")
    mixed, labels = splice(human, machine, np.random.default_rng(7), FINE)
    clean = np.repeat(labels == 0, HOP)
    clean &= np.roll(clean, HOP) & np.roll(clean, -HOP)  # not the frames beside a cut
    assert np.array_equal(mixed[clean], human[clean])
    assert not np.array_equal(mixed, human)


def test_a_cut_does_not_click() -> None:
    at = np.arange(48_000) / 16_000
    human = (0.3 * np.sin(2 * np.pi * 200 * at)).astype(np.float32)
    machine = (0.3 * np.sin(2 * np.pi * 200 * at + 2.0)).astype(np.float32)
    steepest = np.abs(np.diff(human)).max()
    for seed in range(30):
        mixed, _ = splice(human, machine, np.random.default_rng(seed))
        assert np.abs(np.diff(mixed)).max() < 1.5 * steepest


def test_a_quiet_copy_is_brought_to_the_level_of_what_it_replaces() -> None:
    human = speechlike(3.0)
    mixed, labels = splice(human, 0.2 * human, np.random.default_rng(3), FINE)
    assert labels.any()
    assert np.abs(mixed - human).max() < 1e-4


@pytest.mark.parametrize(("start", "size", "expected"), [(0, 2_560, [1, 0, 0]), (1_280, 2_560, [1, 1, 0])])
def test_a_frame_is_spoof_from_half_of_it_on(start: int, size: int, expected: list[int]) -> None:
    is_spoof = np.zeros(3 * 2_560, dtype=bool)
    is_spoof[start : start + size] = True
    assert frame_labels(is_spoof, SpliceConfig()).tolist() == expected


def test_a_last_part_frame_is_judged_by_what_there_is_of_it() -> None:
    is_spoof = np.zeros(2_560 + 100, dtype=bool)
    is_spoof[2_560:] = True
    assert frame_labels(is_spoof, SpliceConfig()).tolist() == [0, 1]


def test_one_seed_gives_one_splice() -> None:
    human, machine = speechlike(1.0, 1), speechlike(1.0, 2)
    first, first_labels = splice(human, machine, np.random.default_rng(5))
    again, again_labels = splice(human, machine, np.random.default_rng(5))
    assert np.array_equal(first, again)
    assert np.array_equal(first_labels, again_labels)


@pytest.mark.parametrize("sizes", [(100, 90), (0, 0), (200, 200)])
def test_what_can_not_be_spliced_is_refused(sizes: tuple[int, int]) -> None:
    human, machine = (np.ones(size, dtype=np.float32) for size in sizes)
    with pytest.raises(ValueError, match="splice needs"):
        splice(human, machine, np.random.default_rng(0))
