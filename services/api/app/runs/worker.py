"""What happens inside a worker process. Untrusted media is decoded here and nowhere else in the service.

`start` is the process's initializer; `examine` and `look` are its tasks. Everything is importable by name, and
every argument and result pickles. A worker shuts itself in (`app.runs.confinement`), limits its memory and processor
time, and ends when the service does.
"""

import contextlib
import multiprocessing
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.detectors.source import LoadOrder
from app.runs.board import Cells
from app.runs.confinement import confine
from earwitness.detector import Detector, DetectorInput, DetectorOutput
from earwitness.errors import EarwitnessError, ModelError, ModelMismatchError
from earwitness.finding import MediaInfo
from earwitness.media import open_media
from earwitness.reporting.contents import SecondLook
from earwitness.reporting.outline import Outline

EXIT_OUT_OF_MEMORY = 77
"""Exit status of a worker that ran out of memory: its heap can't be trusted, so it does not go on."""

EXIT_SHUT_OUT = 78
"""Exit status of a worker that may not open the evidence any more: it shut itself in while another volume lay there, or
the same one was mounted before. A new worker may."""

LOADED_AT_ONCE = 3
"""Models that a worker keeps ready, the longest unused one going first: the active one, the one before, one by name."""

MODEL_UNUSABLE = (
    "the detector can't be used as the service found it: its files were changed or can't be read; put the model back, "
    "or have the models reloaded or start the service again with the one that it should use"
)

_board: Cells | None = None

_loaded: OrderedDict[str, Detector] = OrderedDict()  # by fingerprint, the one used last at the end


def start(model: LoadOrder | None, memory_bytes: int, readable: tuple[Path, ...], board: Cells) -> None:
    """Shut this process in, watch over its parent and load the detector, where it needs one.

    `readable`: the folders of evidence and models; no others can be read from here on, and none written. `board` is
    where this process tells how far it is.

    A model that can't be loaded ends no process: the tasks say so, and try again.
    """
    global _board  # noqa: PLW0603  what this process was given, set once
    _board = board
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would copy evidence to disk
    confine(readable)
    threading.Thread(target=_end_with_service, daemon=True).start()
    if model is not None:
        with contextlib.suppress(ModelError):
            _detector(model)


def ready(model: LoadOrder | None) -> str | None:
    """Version of the detector, now loaded; asked after the start and before a change, so that no run waits for it.

    None in a process that needs no detector. Raises ModelError.
    """
    return None if model is None else _detector(model).model_version


def examine(
    model: LoadOrder, path: Path, metadata: Mapping[str, str], cpu_s: float, place: int | None = None
) -> DetectorOutput:
    """Run the detector, and tell at `place` on the board how far it is.

    Raises what the detector raises, the stored path replaced by the user's label in messages.
    """

    def tell(examined_s: float, _declared_s: float | None) -> None:
        if _board is not None and place is not None:
            _board[place] = examined_s

    with _guarded(path, metadata.get("filename", "the recording"), cpu_s):
        return _detector(model).analyze(DetectorInput(path, metadata), tell)


def look_again(
    path: Path, label: str, output: DetectorOutput, panel: tuple[LoadOrder, float] | None, cpu_s: float
) -> tuple[Outline | None, SecondLook]:
    """For the full report: the sound's outline, and the scores after codecs, gain and trimming.

    `panel` is the run's model and prior; None, where that model is no longer there, leaves the scores out.
    """
    from earwitness.onnx_detector import OnnxAudioDetector  # noqa: PLC0415  only workers need the runtime
    from earwitness.reporting.second_look import look_again as at_the_file  # noqa: PLC0415

    with _guarded(path, label, cpu_s):
        detector = _detector(panel[0]) if panel is not None else None
        if panel is None or not isinstance(detector, OnnxAudioDetector):
            return at_the_file(path, output, None)
        return at_the_file(path, output, detector.scorer, panel[1])


def look(path: Path, label: str, cpu_s: float) -> MediaInfo:
    """What the container says, after the first sound in it, if there is a track, was really decoded."""
    with _guarded(path, label, cpu_s), open_media(path) as media:
        next(iter(media), None)
        return media.info


def _detector(model: LoadOrder) -> Detector:
    """The detector; it is what the service tells of it, or nothing is done. Raises ModelError, naming no path."""
    if model.fingerprint not in _loaded:
        _loaded[model.fingerprint] = _load(model)
        while len(_loaded) > LOADED_AT_ONCE:
            _loaded.popitem(last=False)
    _loaded.move_to_end(model.fingerprint)
    return _loaded[model.fingerprint]


def _load(model: LoadOrder) -> Detector:
    failures: list[ModelError] = []
    for place in model.places:
        try:
            detector = place.load()
            found = place.describe()  # after loading: what is swapped in between is noticed too
        except ModelError as error:
            failures.append(error)
            continue
        if found.fingerprint() == model.fingerprint:
            return detector
        failures.append(ModelMismatchError("another model lies there now"))
    raise type(failures[0])(MODEL_UNUSABLE) from failures[0]


@contextlib.contextmanager
def _guarded(path: Path, label: str, cpu_s: float) -> Iterator[None]:
    _limit_cpu(cpu_s)
    if _is_shut_out(path):
        os._exit(EXIT_SHUT_OUT)
    try:
        yield
    except MemoryError:
        os._exit(EXIT_OUT_OF_MEMORY)
    except EarwitnessError as error:
        told = str(error).replace(str(path), label).replace(path.name, label)
        raise type(error)(told) from None


def _is_shut_out(path: Path) -> bool:
    """The service has just read this file, or written it."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:  # told by whoever opens it to read
        return False
    return False


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
