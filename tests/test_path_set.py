import os

from earwitness.path_set import PathSet


def test_a_path_is_new_once_and_then_there() -> None:
    seen = PathSet()
    latin = os.fsdecode(b"latin-\xe9.wav")
    assert [seen.add(path) for path in ("a", latin, "a", "b", latin)] == [True, True, False, True, False]
    assert "a" in seen and latin in seen and "c" not in seen and len(seen) == 3
