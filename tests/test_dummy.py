import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.detector import Detector, DetectorInput
from earwitness.dummy import EXIT_CODE, MARKER, Behaviour, DummyDetector
from earwitness.errors import EmptyMediaError, MediaNotFoundError, UnreadableMediaError
from earwitness.finding import Abstention, Verdict


@pytest.fixture
def evidence(tmp_path: Path) -> DetectorInput:
    path = tmp_path / "a.wav"
    path.write_bytes(b"anything")
    return DetectorInput(path)


@pytest.mark.parametrize(
    ("p_fake", "verdict"), [(0.9, Verdict.DEEPFAKE), (0.5, Verdict.SUSPICIOUS), (0.1, Verdict.AUTHENTIC)]
)
def test_it_answers_what_it_was_told(evidence: DetectorInput, p_fake: float, verdict: Verdict) -> None:
    detector: Detector = DummyDetector(p_fake=p_fake)
    output = detector.analyze(evidence)
    assert (output.verdict, output.p_fake, output.model_version) == (verdict, p_fake, detector.model_version)


def test_it_abstains_when_told(evidence: DetectorInput) -> None:
    output = DummyDetector(abstentions=(Abstention.NO_SPEECH,)).analyze(evidence)
    assert (output.verdict, output.confidence, output.p_fake) == (Verdict.SUSPICIOUS, 0.0, None)


def test_detector_and_answer_travel_between_processes(evidence: DetectorInput) -> None:
    detector = pickle.loads(pickle.dumps(DummyDetector(p_fake=0.9)))
    output = detector.analyze(evidence)
    assert pickle.loads(pickle.dumps(output)) == output


def test_a_missing_and_an_empty_file_are_errors_as_for_the_real_one(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError):
        DummyDetector().analyze(DetectorInput(tmp_path / "none.wav"))
    (tmp_path / "empty.wav").touch()
    with pytest.raises(EmptyMediaError):
        DummyDetector().analyze(DetectorInput(tmp_path / "empty.wav"))


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [(Behaviour.RAISE_INPUT, UnreadableMediaError), (Behaviour.RAISE_BUG, ZeroDivisionError)],
)
def test_it_raises_on_demand(evidence: DetectorInput, behaviour: Behaviour, error: type[Exception]) -> None:
    with pytest.raises(error):
        DummyDetector(behaviour=behaviour).analyze(evidence)


def test_a_recording_may_demand_it(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(MARKER + b"raise_input\n")
    with pytest.raises(UnreadableMediaError):
        DummyDetector().analyze(DetectorInput(path))


RUN = """
import resource, sys
from pathlib import Path
from earwitness.detector import DetectorInput
from earwitness.dummy import Behaviour, DummyDetector
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    DummyDetector(behaviour=Behaviour(sys.argv[1])).analyze(DetectorInput(Path(sys.argv[2])))
except MemoryError:
    sys.exit(99)
"""


@pytest.mark.parametrize(
    ("behaviour", "exit_code"), [("exit", EXIT_CODE), ("crash", -signal.SIGSEGV), ("exhaust_memory", 99)]
)
def test_it_takes_its_process_down_on_demand(evidence: DetectorInput, behaviour: str, exit_code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, behaviour, str(evidence.path)], capture_output=True, check=False
    )
    assert done.returncode == exit_code
