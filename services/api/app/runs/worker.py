"""What happens inside a worker process. Untrusted media is decoded here and nowhere else in the service.

`start` is the process's initializer; `examine` and `look` are its tasks. Everything is importable by name, and
every argument and result pickles. A worker limits its own memory and processor time, and ends when the service
does.
"""

import contextlib
import multiprocessing
import os
import resource
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.detectors.source import DetectorDescription, DetectorSource
from earwitness.detector import Detector, DetectorInput, DetectorOutput
from earwitness.errors import EarwitnessError, ModelError, ModelMismatchError
from earwitness.finding import MediaInfo
from earwitness.media import open_media
from earwitness.reporting.contents import SecondLook
from earwitness.reporting.outline import Outline

EXIT_OUT_OF_MEMORY = 77
"""Exit status of a worker that ran out of memory: its heap can't be trusted, so it does not go on."""

MODEL_UNUSABLE = (
    "the detector can't be used as the service found it at its start: its files were changed or can't be read; put the "
    "model back, or start the service again with the one that it should use"
)

Model = tuple[DetectorSource, DetectorDescription]
"""Where the detector comes from, and what the service tells of it."""

_model: list[Model] = []  # what this process shall load
_detector: list[Detector] = []  # the process's one detector, loaded once


def start(model: Model | None, memory_bytes: int) -> None:
    """Limit this process, watch over its parent and load the detector, where it needs one.

    A model that can't be loaded ends no process: the tasks say so, and try again.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would copy evidence to disk
    threading.Thread(target=_end_with_service, daemon=True).start()
    if model is not None:
        _model[:] = [model]
        with contextlib.suppress(ModelError):
            _loaded()


def ready() -> str | None:
    """Version of the loaded detector; asked once after the start, so that the first run does not wait for it.

    None in a process that needs no detector. Raises ModelError.
    """
    return _loaded().model_version if _model else None


def examine(path: Path, metadata: Mapping[str, str], cpu_s: float) -> DetectorOutput:
    """Run the detector. Raises what it raises, the stored path replaced by the user's label in messages."""
    with _guarded(path, metadata.get("filename", "the recording"), cpu_s):
        return _loaded().analyze(DetectorInput(path, metadata))


def look_again(
    path: Path, label: str, output: DetectorOutput, panel_prior: float | None, cpu_s: float
) -> tuple[Outline | None, SecondLook]:
    """For the full report: the sound's outline, and the scores after codecs, gain and trimming at `panel_prior`.

    None for `panel_prior` leaves the panel out: the run was made with another model than this process has.
    """
    from earwitness.onnx_detector import OnnxAudioDetector  # noqa: PLC0415  only workers need the runtime
    from earwitness.reporting.second_look import look_again as at_the_file  # noqa: PLC0415

    with _guarded(path, label, cpu_s):
        detector = _loaded()
        if panel_prior is None or not isinstance(detector, OnnxAudioDetector):
            return at_the_file(path, output, None)
        return at_the_file(path, output, detector.scorer, panel_prior)


def look(path: Path, label: str, cpu_s: float) -> MediaInfo:
    """What the container says, after the first sound in it, if there is a track, was really decoded."""
    with _guarded(path, label, cpu_s), open_media(path) as media:
        next(iter(media), None)
        return media.info


def _loaded() -> Detector:
    """The detector; it is what the service tells of it, or nothing is done. Raises ModelError, naming no path."""
    if not _detector:
        source, expected = _model[0]
        try:
            detector = source.load()
            found = source.describe()  # after loading: what is swapped in between is noticed too
        except ModelError as error:
            raise type(error)(MODEL_UNUSABLE) from error
        if found != expected:
            raise ModelMismatchError(MODEL_UNUSABLE)
        _detector[:] = [detector]
    return _detector[0]


@contextlib.contextmanager
def _guarded(path: Path, label: str, cpu_s: float) -> Iterator[None]:
    _limit_cpu(cpu_s)
    try:
        yield
    except MemoryError:
        os._exit(EXIT_OUT_OF_MEMORY)
    except EarwitnessError as error:
        told = str(error).replace(str(path), label).replace(path.name, label)
        raise type(error)(told) from None


def _limit_cpu(cpu_s: float) -> None:
    """Let this process burn `cpu_s` more; the kernel kills it at the limit. Limits count from its start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + cpu_s) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _end_with_service() -> None:
    """A killed service leaves no worker behind, not even a busy one: the kernel closes the pipe between them."""
    service = multiprocessing.parent_process()
    assert service is not None
    service.join()
    os._exit(0)
