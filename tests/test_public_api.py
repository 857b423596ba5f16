import subprocess
import sys

import earwitness


def test_everything_that_is_promised_is_there() -> None:
    assert [name for name in earwitness.__all__ if not hasattr(earwitness, name)] == []


def test_the_public_names_are_these() -> None:
    """A name that goes is a breaking change; a name that comes is a promise."""
    assert set(earwitness.__all__) == {
        "Abstention",
        "Detector",
        "DetectorInput",
        "DetectorOutput",
        "EarwitnessError",
        "HostError",
        "InputError",
        "MediaInfo",
        "ModelError",
        "ModelSpec",
        "OnnxAudioDetector",
        "Stretch",
        "Verdict",
        "WindowScore",
        "__version__",
        "load_spec",
    }


def test_the_library_loads_without_the_frameworks_of_the_service_and_the_training() -> None:
    heavy = "torch fastapi sqlalchemy scipy sklearn"
    code = (
        f"import sys, earwitness.cli, earwitness.report; print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
