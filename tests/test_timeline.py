import math
import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from earwitness.calibration import Calibration
from earwitness.chance import MAX_EXPECTED, StretchChance
from earwitness.policy import Thresholds
from earwitness.timeline import FRAME_S, MAX_CURVE_POINTS, MAX_STRETCHES, Timeline, TimelineFound

CALIBRATION = Calibration(slope=1.0, intercept=0.0, llr_min=-6.0, llr_max=6.0)
THRESHOLDS = Thresholds(t_low=0.2, t_high=0.8)
FRAMES = 25  # of a window of four seconds
HOP_FRAMES = 12.5


def talking(start_s: float, end_s: float) -> float:
    return 1.0


CHANCE = StretchChance(hop_s=2.0, per_minute=4.0, decay=0.1)


def timeline(chance: StretchChance | None = None) -> Timeline:
    return Timeline(CALIBRATION, THRESHOLDS, prior=0.5, chance=chance)


def scored(frames: Sequence[float], speech=talking, chance: StretchChance | None = None) -> TimelineFound:
    """A recording whose frames have these scores, seen through windows of 4 s every 2 s."""
    made = timeline(chance)
    duration_s = len(frames) * FRAME_S
    starts_s = [2.0 * n for n in range(max(1, int((duration_s - 4.0) / 2.0) + 1))]
    if duration_s > 4.0:
        starts_s.append(duration_s - 4.0)
    for start_s in starts_s:
        middles_s = start_s + (np.arange(min(FRAMES, len(frames))) + 0.5) * FRAME_S
        inside = np.interp(middles_s, (np.arange(len(frames)) + 0.5) * FRAME_S, frames).astype(np.float32)
        made.add(start_s, float(inside.mean()), inside, FRAME_S, speech)
    return made.finish(duration_s, speech)


def test_a_stretch_is_found_with_start_end_and_strength() -> None:
    frames = np.full(100, -3.0)
    frames[40:52] = 4.0
    (stretch,) = scored(frames).stretches
    assert stretch.start_s == pytest.approx(40 * FRAME_S, abs=0.33)
    assert stretch.end_s == pytest.approx(52 * FRAME_S, abs=0.33)
    assert stretch.start_s < stretch.peak_s < stretch.end_s
    assert 0.8 < stretch.strength <= 1.0
    assert 2.0 < stretch.llr <= 6.0


HALF_LLR = math.log(4.0) / 2.0  # T_high is 0.8, 4 to 1


def test_a_stretch_weighs_what_its_frames_have_beyond_half_the_upper_threshold() -> None:
    frames = np.full(100, -3.0)
    frames[40:52] = 4.0
    (stretch,) = scored(frames).stretches
    assert stretch.weight is not None
    count = round(stretch.weight / (stretch.llr - HALF_LLR))
    assert 10 <= count <= 14
    assert stretch.weight == pytest.approx(count * (stretch.llr - HALF_LLR), rel=0.05)
    assert stretch.expected_by_chance is None


def test_what_is_added_to_a_stretch_never_makes_it_lighter() -> None:
    """A strong passage counts by itself where much that points only weakly comes after it."""
    strong, trailing, even = np.full(300, -3.0), np.full(300, -3.0), np.full(300, -3.0)
    strong[40:60] = trailing[40:60] = 4.0
    trailing[60:160] = 0.3
    even[40:240] = 1.5  # just above the upper threshold, and for half a minute
    (first,), (second,), (third,) = (scored(frames).stretches for frames in (strong, trailing, even))
    assert second.end_s > first.end_s + 10.0
    assert first.weight is not None
    assert second.weight is not None
    assert third.weight is not None
    assert second.weight >= 0.95 * first.weight
    assert third.weight == pytest.approx(200 * (1.5 - HALF_LLR), rel=0.05)
    assert CHANCE.expected(third.weight, 60.0) < MAX_EXPECTED


def test_what_human_speech_of_the_length_has_by_chance_is_not_marked() -> None:
    short, long = np.full(100, -3.0), np.full(1_200, -3.0)
    short[40:46] = long[40:46] = 4.0
    long[600:640] = 4.0
    (alone,) = scored(short, chance=CHANCE).stretches
    assert len(scored(long).stretches) == 2
    found = scored(long, chance=CHANCE)
    (heavy,) = found.stretches
    (light, _) = scored(long).stretches
    assert (found.left_out, found.left_out_s) == (1, pytest.approx(light.end_s - light.start_s))
    assert scored(long).left_out == 0
    assert heavy.start_s == pytest.approx(600 * FRAME_S, abs=0.33)
    for stretch, frames in ((alone, short), (heavy, long)):
        assert stretch.weight is not None
        assert stretch.expected_by_chance is not None
        assert stretch.expected_by_chance < MAX_EXPECTED
        minutes = frames.size * FRAME_S / 60.0
        assert stretch.expected_by_chance == pytest.approx(CHANCE.expected(stretch.weight, minutes), rel=0.05)


def test_only_speech_counts_as_searched() -> None:
    """The rest of a long recording is silent: nothing could be found there by chance."""
    frames = np.full(1_200, -3.0)
    frames[40:46] = 4.0

    def at_first(start_s: float, end_s: float) -> float:
        return 1.0 if end_s <= 100 * FRAME_S else 0.0

    assert scored(frames, chance=CHANCE).stretches == ()
    assert len(scored(frames, at_first, CHANCE).stretches) == 1


def test_a_quiet_recording_has_none() -> None:
    assert scored(np.full(100, -1.0)).stretches == ()


def test_what_points_only_weakly_is_no_stretch() -> None:
    frames = np.full(100, -3.0)
    frames[40:60] = 0.5  # p 0.62, under t_high
    assert scored(frames).stretches == ()


def test_one_frame_is_no_stretch() -> None:
    frames = np.full(25, -3.0)
    frames[12] = 5.0
    assert scored(frames).stretches == ()


def test_neighbours_are_merged_over_a_short_gap_and_kept_apart_over_a_long_one() -> None:
    near, far = np.full(200, -3.0), np.full(200, -3.0)
    near[40:52] = near[54:66] = 5.0
    far[40:52] = far[80:92] = 5.0
    assert len(scored(near).stretches) == 1
    assert len(scored(far).stretches) == 2


def test_a_pause_inside_a_stretch_does_not_weaken_it() -> None:
    frames = np.full(100, -3.0)
    frames[40:60] = 4.0
    frames[49:51] = -6.0  # what the network says of a pause

    def pausing(start_s: float, end_s: float) -> float:
        return 0.0 if 49 * FRAME_S - 0.01 <= start_s < 51 * FRAME_S - 0.01 else 1.0

    (stretch,) = scored(frames, pausing).stretches
    assert stretch.llr > scored(frames).stretches[0].llr


def test_where_nobody_speaks_nothing_is_found() -> None:
    found = scored(np.full(100, 5.0), lambda start_s, end_s: 0.0)
    assert found.stretches == ()
    assert found.agreement_share is None
    assert set(found.curve.llr) == {None}


def test_the_window_s_score_counts_and_frames_only_say_where() -> None:
    """Frame scores have a level of their own: shifted as a whole, they change nothing."""
    frames = np.random.default_rng(0).normal(0, 2, FRAMES).astype(np.float32)
    plain, shifted = timeline(), timeline()
    plain.add(0.0, 1.0, frames, FRAME_S, talking)
    shifted.add(0.0, 1.0, frames + np.float32(7.0), FRAME_S, talking)
    first, second = plain.finish(4.0, talking), shifted.finish(4.0, talking)
    assert first.curve.llr == pytest.approx(second.curve.llr, abs=2e-3)


def test_the_curve_has_a_point_every_160_ms_and_the_calibrated_scores() -> None:
    found = scored(np.full(50, 1.25))
    assert (found.curve.hop_s, len(found.curve.llr)) == (FRAME_S, 50)
    assert found.curve.llr == pytest.approx([1.25] * 50, abs=1e-3)


def test_scores_are_capped_like_the_recording_s() -> None:
    found = scored(np.full(50, 40.0))
    assert max(llr for llr in found.curve.llr if llr is not None) == CALIBRATION.llr_max


@pytest.mark.parametrize(
    ("scores", "share"), [([2.0] * 50, 1.0), ([-2.0] * 50, 1.0), ([2.0] * 25 + [-2.0] * 25, 0.5)]
)
def test_agreement_is_the_share_of_the_majority(scores: list[float], share: float) -> None:
    assert scored(scores).agreement_share == pytest.approx(share, abs=0.05)


def test_frames_shorter_than_160_ms_are_gathered() -> None:
    made = timeline()
    made.add(0.0, 1.0, np.full(400, 3.0, np.float32), 0.01, talking)
    assert made.finish(4.0, talking).curve.llr == pytest.approx([1.0] * 25)


def test_a_stretch_ends_with_the_recording() -> None:
    made = timeline()
    made.add(0.0, 4.0, np.zeros(7, np.float32), FRAME_S, talking)
    (stretch,) = made.finish(1.05, talking).stretches
    assert (stretch.start_s, stretch.end_s) == (0.0, 1.05)


def test_without_windows_there_is_nothing() -> None:
    found = timeline().finish(0.3, talking)
    assert (found.stretches, found.curve.llr, found.agreement_share) == ((), (), None)


def test_three_hours_take_constant_memory_and_keep_the_strongest_stretches() -> None:
    made, sizes = timeline(), []
    windows = 3 * 3600 // 2
    for n in range(windows):
        score = 2.0 + n / windows if n % 12 < 3 else -6.0  # comes and goes, and grows towards the end
        made.add(2.0 * n, score, np.zeros(FRAMES, np.float32), FRAME_S, talking)
        if n % 900 == 899:
            sizes.append(len(pickle.dumps((made._merger, made._curve, made._pending, made._recent))))
    found = made.finish(2.0 * windows + 2.0, talking)
    assert max(sizes) < 120_000
    assert max(sizes[2:]) < 2.5 * sizes[1]
    assert len(found.stretches) == MAX_STRETCHES
    assert found.left_out == 0
    assert [s.start_s for s in found.stretches] == sorted(s.start_s for s in found.stretches)
    assert found.stretches[1].start_s > 1.5 * 3600  # the very first is longer: no window before weakens it
    assert len(found.curve.llr) <= MAX_CURVE_POINTS
    assert found.curve.hop_s * len(found.curve.llr) == pytest.approx(3 * 3600, abs=10)


def test_all_that_chance_explains_is_counted_though_a_hundred_are_kept() -> None:
    made = timeline(CHANCE)
    for n in range(3_600):
        score = 2.0 if n % 12 < 3 else -6.0
        made.add(2.0 * n, score, np.zeros(FRAMES, np.float32), FRAME_S, talking)
    found = made.finish(7_202.0, talking)
    assert found.stretches == ()
    assert found.left_out == 300
    assert found.left_out_s == pytest.approx(300 * 4.0, rel=0.05)
