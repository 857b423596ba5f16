import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.finding import Abstention, Verdict
from earwitness.policy import Thresholds, confidence, decide

THRESHOLDS = Thresholds(t_low=0.2, t_high=0.8)


@pytest.mark.parametrize(
    ("p_fake", "verdict"),
    [
        (0.0, Verdict.AUTHENTIC),
        (0.2, Verdict.AUTHENTIC),
        (0.2000001, Verdict.SUSPICIOUS),
        (0.5, Verdict.SUSPICIOUS),
        (0.7999999, Verdict.SUSPICIOUS),
        (0.8, Verdict.DEEPFAKE),
        (1.0, Verdict.DEEPFAKE),
        (None, Verdict.SUSPICIOUS),
    ],
)
def test_the_bands_and_their_edges(p_fake: float | None, verdict: Verdict) -> None:
    assert decide(p_fake, THRESHOLDS) is verdict


@pytest.mark.parametrize("reason", list(Abstention))
@given(p_fake=st.none() | st.floats(0, 1))
def test_an_abstention_always_means_suspicious(reason: Abstention, p_fake: float | None) -> None:
    assert decide(p_fake, THRESHOLDS, (reason,)) is Verdict.SUSPICIOUS


@given(
    p_fake=st.floats(0, 1),
    edges=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted),
    more=st.floats(0, 1),
)
def test_more_evidence_never_lowers_the_verdict(p_fake: float, edges: list[float], more: float) -> None:
    order = [Verdict.AUTHENTIC, Verdict.SUSPICIOUS, Verdict.DEEPFAKE]
    thresholds = Thresholds(*edges)
    lower, higher = sorted((p_fake, more))
    assert order.index(decide(lower, thresholds)) <= order.index(decide(higher, thresholds))


@pytest.mark.parametrize(("t_low", "t_high"), [(0.8, 0.2), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_thresholds_out_of_order_are_refused(t_low: float, t_high: float) -> None:
    with pytest.raises(ValueError, match="t_low"):
        Thresholds(t_low, t_high)


@pytest.mark.parametrize(("p_fake", "expected"), [(None, 0.0), (0.5, 0.5), (0.9, 0.9), (0.1, 0.9), (1.0, 1.0)])
def test_confidence_is_that_of_the_likelier_proposition(p_fake: float | None, expected: float) -> None:
    assert confidence(p_fake) == expected
