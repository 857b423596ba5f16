import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.errors import ModelMismatchError
from earwitness.grounds import Signal
from earwitness.model_spec import PROFILES, load_spec, model_path
from earwitness.signals.usual import (
    FEWEST_RECORDINGS,
    MODEL_SIGNALS,
    PERCENTS,
    bandwidth_class,
    in_words,
    load_usual_ranges,
    parse_usual_ranges,
    read_usual_ranges,
)

GRAPH = "a" * 64
PITCH = Signal("pitch_sd_semitones", "Pitch variability", 2.0, "semitones", "a paper")


def table(**changes: Any) -> dict[str, Any]:
    """Pitch of 900 human recordings spread evenly over 0 to 10, of 800 synthetic ones over 0 to 5."""
    human = {"n": 900, "values": [percent / 10 for percent in PERCENTS]}
    synthetic = {"n": 800, "values": [percent / 20 for percent in PERCENTS]}
    mostly_zero = {"n": 900, "values": [0.0] * 14 + [0.1, 0.2, 0.3, 0.4, 0.5]}
    few = {"n": FEWEST_RECORDINGS - 1, "values": [percent / 10 for percent in PERCENTS]}
    return {
        "table_version": 1,
        "version": "abc",
        "graph_sha256": GRAPH,
        "percents": list(PERCENTS),
        "origin": {},
        "signals": {
            "pitch_sd_semitones": {"wide": {"human": human, "synthetic": synthetic}, "medium": {"human": few}},
            "digital_silence_share": {"wide": {"human": mostly_zero}},
            "ood_distance": {"wide": {"human": human}},
        },
        **changes,
    }


def compared(signal: Signal, bandwidth_hz: float | None = 7_800.0, graph: str = GRAPH) -> Signal:
    (found,) = parse_usual_ranges(table()).beside([signal], bandwidth_hz, graph)
    return found


def test_a_value_is_shown_beside_what_is_usual() -> None:
    found = compared(replace(PITCH, value=0.3))
    assert found.human is not None and found.synthetic is not None
    assert (found.human.low, found.human.median, found.human.high, found.human.count) == (0.5, 5.0, 9.5, 900)
    assert found.human.percentile == pytest.approx(3.0)
    assert found.human.percent_above == pytest.approx(97.0)
    assert found.synthetic.percentile == pytest.approx(6.0)
    assert found.bandwidth_class == "wide"
    assert in_words(found) == "lower than 97 % of human recordings of this bandwidth"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "lower than 99 %"),
        (0.5, "lower than 95 %"),
        (4.9, "lower than 51 %"),
        (9.7, "higher than 97 %"),
        (11.0, "higher than 99 %"),
        (5.0, "as in most"),
    ],
)
def test_the_words_never_claim_more_than_the_table_shows(value: float, words: str) -> None:
    text = in_words(compared(replace(PITCH, value=value)))
    assert text is not None
    assert text.startswith(words)


def test_what_many_share_is_not_lower_than_they_are() -> None:
    found = compared(Signal("digital_silence_share", "Digital silence", 0.0, "share", "a paper"))
    assert found.human is not None
    assert found.human.percentile == 0.0
    assert found.human.percent_above < 11.0
    assert in_words(found) == "as in most human recordings of this bandwidth"


@pytest.mark.parametrize("value", np.linspace(-1, 11, 25))
def test_below_above_and_equal_never_exceed_everything(value: float) -> None:
    human = compared(replace(PITCH, value=float(value))).human
    assert human is not None
    assert 0.0 <= human.percentile <= 100.0
    assert human.percentile + human.percent_above <= 100.0 + 1e-9


@pytest.mark.parametrize(
    ("signal", "bandwidth_hz"),
    [
        (replace(PITCH, value=None), 7_800.0),
        (PITCH, None),
        (PITCH, 6_000.0),  # too few recordings
        (PITCH, 3_400.0),  # none at all
        (replace(PITCH, name="unheard_of"), 7_800.0),
    ],
)
def test_where_nothing_is_known_nothing_is_said(signal: Signal, bandwidth_hz: float | None) -> None:
    found = compared(signal, bandwidth_hz)
    assert (found.human, found.synthetic, in_words(found)) == (None, None, None)


def test_the_network_s_signals_are_compared_only_with_the_same_network() -> None:
    signal = Signal("ood_distance", "Distance", 2.0, "1", "a paper")
    assert compared(signal).human is not None
    assert compared(signal, graph="b" * 64).human is None


def test_a_table_can_hold_those_of_another_network_too() -> None:
    human = {"n": 700, "values": [percent / 50 for percent in PERCENTS]}
    other = {"signals": {"ood_distance": {"wide": {"human": human}}}}
    ranges = parse_usual_ranges(table(other_networks={"b" * 64: other}))
    signals = [Signal("ood_distance", "Distance", 2.0, "1", "a paper"), replace(PITCH, value=0.3)]
    medians = {}
    for graph in (GRAPH, "b" * 64):
        distance, pitch = ranges.beside(signals, 7_800.0, graph)
        assert distance.human is not None and pitch.human is not None
        medians[graph] = (distance.human.median, pitch.human.median)
    assert medians == {GRAPH: (5.0, 5.0), "b" * 64: (1.0, 5.0)}
    assert ranges.beside(signals, 7_800.0, "c" * 64)[0].human is None


@pytest.mark.parametrize(
    ("bandwidth_hz", "group"),
    [
        (None, None),
        (3_400.0, "narrow"),
        (4_500.0, "narrow"),
        (5_500.0, "medium"),
        (7_500.0, "wide"),
        (8_000.0, "wide"),
    ],
)
def test_recordings_are_compared_by_bandwidth(bandwidth_hz: float | None, group: str | None) -> None:
    assert bandwidth_class(bandwidth_hz) == group


def test_without_a_table_the_library_works(tmp_path: Path) -> None:
    assert read_usual_ranges(tmp_path / "usual_ranges.json") is None


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        json.dumps(table(table_version=2)),
        json.dumps(table(percents=[1, 2])),
        json.dumps(
            table(other_networks={"b" * 64: {"signals": {"x": {"wide": {"human": {"n": 9, "values": [1]}}}}}})
        ),
        json.dumps(table(signals={"x": {"wide": {"human": {"n": 9, "values": [1.0]}}}})),
        json.dumps(table(signals={"x": {"wide": {"human": {"n": 9, "values": list(range(18, -1, -1))}}}})),
    ],
)
def test_a_table_that_can_t_be_read_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "usual_ranges.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelMismatchError, match=r"python -m ml\.signals"):
        read_usual_ranges(path)


def test_the_shipped_table_covers_the_sounds_signals_by_hundreds_of_recordings() -> None:
    ranges = load_usual_ranges()
    assert ranges is not None
    for name in ("pitch_sd_semitones", "spectral_flux", "energy_sd_db", "group_delay_spread_ms", "high_band_db"):
        for label in ("human", "synthetic"):
            assert ranges.distributions[name, "wide", label][0] >= 300
    assert {name for name, _, _ in ranges.distributions} >= MODEL_SIGNALS


@pytest.mark.parametrize("profile", PROFILES)
def test_it_holds_the_own_signals_of_every_shipped_model(profile: str) -> None:
    ranges = load_usual_ranges()
    assert ranges is not None
    signals = [Signal(name, name, 1.0, "1", "a paper") for name in sorted(MODEL_SIGNALS)]
    found = ranges.beside(signals, 7_800.0, load_spec(model_path(profile)).graph_sha256)
    assert all(signal.human is not None and signal.synthetic is not None for signal in found)
