"""What a worker may say to the service: data of known forms. A pickle, which would be run, is refused."""

import contextlib
import json
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pebble.common.types import RemoteException, Result, ResultStatus
from pebble.pool.process import Acknowledgement, TaskProblem, TaskResult

from app.errors import DetectorBugError
from app.runs import worker
from app.runs.replies import ReplyError, WorkerBugError, decode, encode
from app.runs.workers import WorkerPool
from earwitness.detector import DetectorInput
from earwitness.dummy import DummyDetector
from earwitness.errors import UnreadableMediaError, WorkerCrashError
from earwitness.pipeline import examine
from earwitness.reporting.second_look import look_again
from earwitness.scorer import Scorer, load_scorer
from tests.audio_files import write_audio
from tests.speechlike import speechlike
from tests.toy_model import write_toy_model

PATIENCE_S = 60.0


class Trap:
    """Unpickled, it writes a file: as an exploit's answer would write what it likes, where it likes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "sprung")


@pytest.fixture(scope="module")
def toy_scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return load_scorer(write_toy_model(tmp_path_factory.mktemp("toy")))


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WorkerPool]:
    pool = WorkerPool(None, workers=1, memory_bytes=2 << 30, readable=(tmp_path,))
    yield pool
    pool.close()


def there_and_back(value: Any) -> Any:
    message = decode(encode(TaskResult(7, Result(ResultStatus.SUCCESS, value))))
    assert isinstance(message, TaskResult)
    assert message.task == 7
    return message.result.value


def test_a_finding_comes_back_as_it_was(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examine(write_audio(tmp_path / "a.wav", speechlike(9.0)), toy_scorer)
    assert there_and_back(output) == output
    dummy = DummyDetector(p_fake=0.9).analyze(DetectorInput(tmp_path / "a.wav"))
    assert there_and_back(dummy) == dummy
    assert there_and_back(output.media) == output.media


def test_a_second_look_comes_back_as_it_was(tmp_path: Path, toy_scorer: Scorer) -> None:
    path = write_audio(tmp_path / "a.wav", speechlike(9.0))
    outline, look = look_again(path, examine(path, toy_scorer), toy_scorer)
    assert outline is not None
    assert look.panel is not None

    outline_again, look_after = there_and_back((outline, look))

    assert look_after == look
    for name in ("low", "high", "spectrogram_db"):
        np.testing.assert_array_equal(getattr(outline_again, name), getattr(outline, name))
    assert outline_again.waveform_sha256 == outline.waveform_sha256
    assert there_and_back((None, look)) == (None, look)


@pytest.mark.parametrize("value", [None, "caf\udce9", 3, 0.1, True, b"\x00\xff", (1, ("a", None))])
def test_plain_values_come_back_as_they_were(value: object) -> None:
    assert there_and_back(value) == value


def test_an_error_of_ours_keeps_its_kind_and_another_one_its_words() -> None:
    for error, kind in ((UnreadableMediaError("no sound"), UnreadableMediaError), (KeyError("x"), WorkerBugError)):
        failed = RemoteException(error, "line 1")  # type: ignore[no-untyped-call]
        message = decode(encode(TaskResult(1, Result(ResultStatus.FAILURE, failed))))
        assert isinstance(message, TaskResult)
        assert type(message.result.value) is kind
        assert str(message.result.value).endswith(str(error))
        assert str(message.result.value.__cause__) == "line 1"


def test_pebbles_other_messages_come_back() -> None:
    assert decode(encode(Acknowledgement(4_711, 3))) == Acknowledgement(4_711, 3)
    problem = decode(encode(TaskProblem(3, TypeError("can't pickle"))))
    assert isinstance(problem, TaskResult)
    assert problem.result.status is ResultStatus.FAILURE


def test_what_has_no_form_is_not_said(pool: WorkerPool, tmp_path: Path) -> None:
    with pytest.raises(DetectorBugError) as failure:
        pool.call(Path, tmp_path, timeout_s=PATIENCE_S)
    assert "no way to return" in str(failure.value.__cause__)
    assert pool.call(worker.ready, None, timeout_s=PATIENCE_S) is None


def test_a_pickle_from_a_worker_is_not_read(pool: WorkerPool, tmp_path: Path) -> None:
    """By somebody who has taken the worker over, and writes to its pipe what he likes."""
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    send = (
        f"[end.send_bytes({trap!r}) for end in __import__('gc').get_objects() "
        "if type(end).__name__ == 'ReplyConnection' and not end.closed and end.writable]"
    )

    with pytest.raises(WorkerCrashError):  # at both attempts
        pool.call(eval, send, timeout_s=PATIENCE_S)

    assert not sprung.exists()
    assert pool.call(str, "fine", timeout_s=PATIENCE_S) == "fine"
    pickle.loads(trap)
    assert sprung.exists()  # the trap was one


def test_a_worker_cannot_answer_in_another_s_place(tmp_path: Path) -> None:
    """Taken over as above, it answers every task that there could be, while the other examines."""
    forged = [b'{"done": %d, "value": {"plain": "forged"}}' % task for task in range(20)]
    send = (
        f"[end.send_bytes(reply) for reply in {forged!r} for end in __import__('gc').get_objects() "
        "if type(end).__name__ == 'ReplyConnection' and not end.closed and end.writable]"
    )
    pool = WorkerPool(None, workers=2, memory_bytes=2 << 30, readable=(tmp_path,))
    try:
        with ThreadPoolExecutor(1) as threads:
            sleep = "__import__('time').sleep(6.0) or 'its own'"
            other = threads.submit(pool.call, eval, sleep, timeout_s=PATIENCE_S)
            time.sleep(1.5)  # until it is under way
            with contextlib.suppress(WorkerCrashError):  # what it says of its own task is its own lie
                assert pool.call(eval, send, timeout_s=PATIENCE_S) == "forged"
            assert not other.done()
            assert other.result(PATIENCE_S) == "its own"
    finally:
        pool.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(value=JSON, name=st.sampled_from(["output", "media", "look", "plain", "bytes"]))
@settings(max_examples=200, deadline=None)
def test_other_data_is_refused_as_a_broken_pipe(value: Any, name: str) -> None:
    for said in (value, {"done": 1, "value": value}, {"done": 1, "value": {name: value, "outline": value}}):
        try:
            message = decode(json.dumps(said).encode())
        except ReplyError:
            continue
        assert isinstance(message, TaskResult)
        assert isinstance(message.result.value, None | bool | int | float | str | bytes | tuple)


@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_json_are_refused(data: bytes) -> None:
    with pytest.raises(ReplyError):
        decode(b"\x80" + data)


def test_a_finding_with_values_of_other_types_is_refused(tmp_path: Path, toy_scorer: Scorer) -> None:
    output = examine(write_audio(tmp_path / "a.wav", speechlike(4.0)), toy_scorer)
    whole = json.loads(encode(TaskResult(1, Result(ResultStatus.SUCCESS, output))))
    for field, bad in (
        ("score", "high"),
        ("signals", {"x": []}),
        ("windows", [{"start_s": 1}]),
        ("verdict", "FINE"),
    ):
        altered = {**whole, "value": {"output": {**whole["value"]["output"], field: bad}}}
        with pytest.raises(ReplyError):
            decode(json.dumps(altered).encode())
