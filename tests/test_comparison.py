from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earwitness.comparison import Difference, comparable, differences
from earwitness.detector import DetectorInput
from earwitness.dummy import DummyDetector
from earwitness.output_json import output_as_dict, output_from_dict


@pytest.mark.parametrize(
    ("recorded", "repeated", "found"),
    [
        ({"a": 1.0, "b": ["x"]}, {"b": ["x"], "a": 1.0}, []),
        ({"a": 0.1}, {"a": 0.1 + 1e-16}, [("a", 0.1, 0.1 + 1e-16)]),
        ({"a": None}, {"a": 0.0}, [("a", None, 0.0)]),
        ({"w": [{"s": 1}, {"s": 2}]}, {"w": [{"s": 1}, {"s": 3}]}, [("w[1].s", 2, 3)]),
        ({"w": [1, 2]}, {"w": [1]}, [("w", [1, 2], [1])]),
        ({"s": {"x": 1}}, {"s": {"y": 1}}, [("s.x", 1, None), ("s.y", None, 1)]),
        ({"s": {"x": 1}}, {"s": None}, [("s", {"x": 1}, None)]),
    ],
)
def test_every_leaf_that_differs_is_named(recorded: Any, repeated: Any, found: list[Any]) -> None:
    assert list(differences(recorded, repeated)) == [Difference(*one) for one in found]


def test_an_output_that_went_through_json_compares_equal_whatever_time_it_took(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    output = DummyDetector(p_fake=0.9).analyze(DetectorInput(tmp_path / "a.wav"))
    back = replace(output_from_dict(output_as_dict(output)), timings_ms={"decode": 99.0})
    assert differences(comparable(output), comparable(back)) == ()
    assert [d.field for d in differences(comparable(output), comparable(replace(output, llr=0.5)))] == ["llr"]
