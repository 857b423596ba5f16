from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.waveform import SAMPLE_RATE_HZ, Samples
from earwitness.windows import Window, WindowPlan, iter_windows, plan_for

PLAN = WindowPlan(window_s=0.01, hop_s=0.004)  # 160 and 64 samples: short, so that examples are quick


def numbered(length: int) -> Samples:
    """Every sample holds its own position, so a window shows where it was cut."""
    return np.arange(length, dtype=np.float32)


def in_blocks(samples: Samples, sizes: list[int]) -> Iterator[Samples]:
    start = 0
    for size in sizes:
        yield samples[start : start + size]
        start += size
    yield samples[start:]


def cut(samples: Samples, plan: WindowPlan = PLAN) -> list[Window]:
    return list(iter_windows([samples], plan))


plans = st.tuples(st.integers(1, 50), st.integers(1, 50)).map(
    lambda pair: WindowPlan(window_s=max(pair) / SAMPLE_RATE_HZ, hop_s=min(pair) / SAMPLE_RATE_HZ)
)


@given(length=st.integers(0, 1_000), plan=plans)
def test_every_sample_is_in_a_window(length: int, plan: WindowPlan) -> None:
    seen = {int(value) for window in cut(numbered(length), plan) for value in window.samples}
    assert seen == set(range(length))


@given(length=st.integers(1, 1_000), plan=plans)
def test_windows_are_in_order_and_say_where_they_are(length: int, plan: WindowPlan) -> None:
    windows = cut(numbered(length), plan)
    starts = [int(window.samples[0]) for window in windows]
    assert starts == sorted(set(starts))
    assert [window.index for window in windows] == list(range(len(windows)))
    assert [round(window.start_s * SAMPLE_RATE_HZ) for window in windows] == starts
    assert round(windows[-1].end_s * SAMPLE_RATE_HZ) == length


@given(length=st.integers(1, 1_000), plan=plans)
def test_windows_are_of_one_length_that_only_a_short_recording_undercuts(length: int, plan: WindowPlan) -> None:
    size = round(plan.window_s * SAMPLE_RATE_HZ)
    assert {window.samples.size for window in cut(numbered(length), plan)} == {min(size, length)}


@given(length=st.integers(0, 800), sizes=st.lists(st.integers(0, 300), max_size=8))
def test_how_the_sound_comes_in_blocks_does_not_matter(length: int, sizes: list[int]) -> None:
    whole = cut(numbered(length))
    pieces = list(iter_windows(in_blocks(numbered(length), sizes), PLAN))
    assert len(whole) == len(pieces)
    for one, other in zip(whole, pieces, strict=True):
        assert (one.index, one.start_s) == (other.index, other.start_s)
        np.testing.assert_array_equal(one.samples, other.samples)


def test_a_window_is_handed_out_before_the_recording_ends() -> None:
    """Constant memory: no more is read than one window and one hop ahead."""
    read = 0

    def blocks() -> Iterator[Samples]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield numbered(64)

    next(iter_windows(blocks(), PLAN))
    assert read <= 5


def test_windows_do_not_share_memory_with_each_other() -> None:
    first, second, *_ = cut(numbered(500))
    first.samples[:] = -1.0
    assert second.samples[0] == 64.0


@pytest.mark.parametrize(("window_s", "hop_s"), [(4.0, 0.0), (4.0, -1.0), (2.0, 2.5), (0.0, 0.0)])
def test_an_impossible_plan_is_refused(window_s: float, hop_s: float) -> None:
    with pytest.raises(ValueError, match="hop"):
        WindowPlan(window_s, hop_s)


@pytest.mark.parametrize(
    ("declared_s", "hop_s"), [(None, 2.0), (0.0, 2.0), (29.9, 2.0), (30.0, 4.0), (10_800.0, 4.0)]
)
def test_only_long_recordings_are_cut_without_overlap(declared_s: float | None, hop_s: float) -> None:
    assert plan_for(WindowPlan(4.0, 2.0), declared_s) == WindowPlan(4.0, hop_s)
