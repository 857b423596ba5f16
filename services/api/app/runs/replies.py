"""What comes back from a worker, as data: a worker decodes untrusted media, and what it sends may be anybody's.

    pool = ProcessPool(context=ReplyingContext(), ...)      # pebble's, its answers read by this module

Pebble's pipes carry pickles, and to read a pickle is to run what it says: a worker that was taken over would leave its
confinement that way. So the pipe that leads from the workers to the service carries JSON of a few known forms, checked
against the types that they must have (docs/adr/0057). Arguments go to the workers as pickles: those are the service's.
"""

import base64
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd, ForkingPickler
from pickle import PicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pebble.common.types import RemoteException, RemoteTraceback, Result, ResultStatus
from pebble.pool.process import Acknowledgement, TaskProblem, TaskResult
from pydantic import TypeAdapter

from earwitness import errors
from earwitness.detector import DetectorOutput
from earwitness.errors import EarwitnessError
from earwitness.finding import MediaInfo
from earwitness.output_json import output_as_dict, output_from_dict
from earwitness.reporting.contents import SecondLook
from earwitness.reporting.outline import Outline

MAX_REPLY_BYTES = 64 << 20
"""Six hours in windows of 4 s and all their frames are 3 MB, an outline is 1.5 MB."""

MAX_DIGITS = 18  # of a signed whole number of 64 bits

_OUTPUT = TypeAdapter(DetectorOutput)
_MEDIA = TypeAdapter(MediaInfo)
_SECOND_LOOK = TypeAdapter(SecondLook)
_ERRORS: Mapping[str, type[EarwitnessError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, EarwitnessError)
}
_OUTLINE_ARRAYS = ("low", "high", "spectrogram_db")


class WorkerBugError(Exception):
    """What a task raised that is no EarwitnessError: its kind and its words; the traceback is this one's cause."""


class ReplyError(OSError):
    """What came is no reply: to pebble a pipe that broke, so that it gives the pool up."""


class ReplyingContext(ForkServerContext):
    """Starts processes by the fork server. Every second pipe carries replies: pebble asks for one for tasks first."""

    def __init__(self) -> None:
        super().__init__()
        self._carries_replies: Iterator[bool] = itertools.cycle((False, True))

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802  the name is multiprocessing's
        try:
            reader, writer = super().Pipe(duplex)
        except OSError:  # no descriptors are left: whoever begins anew asks for the one for tasks first, again
            self._carries_replies = itertools.cycle((False, True))
            raise
        if not next(self._carries_replies):
            return reader, writer
        return _replying(reader), _replying(writer)


class ReplyConnection(Connection):
    """An end of a pipe that carries pebble's messages to the service, never a pickle."""

    def send(self, obj: Any) -> None:
        """Raises PicklingError for what has no form here."""
        self.send_bytes(encode(obj))

    def recv(self) -> Any:
        """Raises ReplyError for anything but what `encode` makes, and EOFError at the end."""
        return decode(self.recv_bytes(MAX_REPLY_BYTES))


def encode(message: Any) -> bytes:
    """One of pebble's messages. Raises PicklingError for what has no form here: pebble then sends that instead."""
    match message:
        case Acknowledgement():
            return _json({"taken": message.task, "by": message.worker})
        case TaskResult(result=Result(status=ResultStatus.SUCCESS)):
            return _json({"done": message.task, "value": _value(message.result.value)})
        case TaskResult(result=Result(value=RemoteException() as failed)):
            return _json({"failed": message.task, **_error(failed.exception, str(failed.traceback))})
        case TaskProblem():
            return _json({"failed": message.task, **_error(message.error, "")})
    raise PicklingError(f"a worker has no way to say {type(message).__name__}")


def decode(data: bytes) -> Acknowledgement | TaskResult:
    """Raises ReplyError."""
    try:
        said = _loaded(data)
        match said:
            case {"taken": int(task), "by": int(worker)}:
                return Acknowledgement(worker, task)
            case {"done": int(task), "value": dict(value)}:
                return TaskResult(task, Result(ResultStatus.SUCCESS, _read(value)))
            case {"failed": int(task), "kind": str(kind), "text": str(text), "traceback": str(traceback)}:
                return TaskResult(task, Result(ResultStatus.FAILURE, _raised(kind, text, traceback)))
    except (
        Exception
    ) as error:  # whatever it is: whoever reads on for all workers must not end by what one of them sends
        raise ReplyError(f"a worker sent what is no reply: {error}") from error
    raise ReplyError("a worker sent what is no reply")


def _loaded(data: bytes) -> Any:
    """JSON whose numbers are finite and fit into a column. Raises ValueError."""
    return json.loads(data, parse_float=_finite, parse_int=_whole, parse_constant=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number that anything was measured as")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a whole number that no column holds")
    return int(text)


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode()  # ASCII: names that are no Unicode come back by JSON's escapes


def _value(value: Any) -> dict[str, Any]:
    match value:
        case DetectorOutput():
            return {"output": output_as_dict(value)}
        case MediaInfo():
            return {"media": asdict(value)}
        case (Outline() | None as outline, SecondLook() as look):
            return {"outline": None if outline is None else _outline_as_dict(outline), "look": asdict(look)}
    return {"plain": _plain(value)}


def _read(value: dict[str, Any]) -> Any:
    match value:
        case {"output": dict(output)}:
            _OUTPUT.validate_json(
                json.dumps(output), strict=True
            )  # checks; what it makes of numbers is not wanted
            return output_from_dict(output)
        case {"media": dict(media)}:
            return _MEDIA.validate_json(json.dumps(media), strict=True)
        case {"outline": outline, "look": dict(look)}:
            read = None if outline is None else _outline_from_dict(outline)
            return read, _SECOND_LOOK.validate_json(json.dumps(look), strict=True)
        case {"plain": plain}:
            return _from_plain(plain)
    raise ValueError("a value of no known form")


def _plain(value: Any) -> Any:
    """None, truth, numbers, text; bytes and tuples by a name of their own. Raises PicklingError for anything else."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if type(value) is tuple:
        return {"tuple": [_plain(each) for each in value]}
    raise PicklingError(f"a worker has no way to return {type(value).__name__}")


def _from_plain(value: Any) -> Any:
    match value:
        case {"bytes": str(text)}:
            return base64.b64decode(text, validate=True)
        case {"tuple": list(values)}:
            return tuple(map(_from_plain, values))
        case None | bool() | int() | float() | str():
            return value
    raise ValueError("a plain value of no known form")


def _error(error: BaseException, traceback: str) -> dict[str, str]:
    kind = type(error).__name__
    if _ERRORS.get(kind) is type(error):
        return {"kind": kind, "text": str(error), "traceback": traceback}
    return {"kind": "", "text": f"{kind}: {error}", "traceback": traceback}


def _raised(kind: str, text: str, traceback: str) -> Exception:
    error = _ERRORS[kind](text) if kind else WorkerBugError(text)
    error.__cause__ = RemoteTraceback(traceback)  # type: ignore[no-untyped-call]
    return error


def _outline_as_dict(outline: Outline) -> dict[str, Any]:
    plain = {
        name: getattr(outline, name) for name in ("duration_s", "waveform_sha256", "column_s", "spectrogram_s")
    }
    return {**plain, **{name: _array(getattr(outline, name)) for name in _OUTLINE_ARRAYS}}


def _outline_from_dict(raw: dict[str, Any]) -> Outline:
    arrays = {name: _from_array(raw[name]) for name in _OUTLINE_ARRAYS}
    if [array.ndim for array in arrays.values()] != [1, 1, 2]:
        raise ValueError("an outline of another shape")
    return Outline(
        duration_s=float(raw["duration_s"]),
        waveform_sha256=str(raw["waveform_sha256"]),
        column_s=float(raw["column_s"]),
        spectrogram_s=float(raw["spectrogram_s"]),
        **arrays,
    )


def _array(array: NDArray[np.float32]) -> dict[str, Any]:
    data = np.ascontiguousarray(array, dtype="<f4").tobytes()
    return {"shape": array.shape, "float32": base64.b64encode(data).decode()}


def _from_array(raw: dict[str, Any]) -> NDArray[np.float32]:
    """Raises ValueError where shape and data don't belong together."""
    shape = [int(size) for size in raw["shape"]]
    data = np.frombuffer(base64.b64decode(raw["float32"], validate=True), dtype="<f4")
    return data.reshape(shape).astype(np.float32)


def _replying(plain: Connection) -> ReplyConnection:
    """Takes the place of `plain`, which is closed."""
    end = ReplyConnection(os.dup(plain.fileno()), plain.readable, plain.writable)
    plain.close()
    return end


def _rebuilt(duplicate: Any, readable: bool, writable: bool) -> ReplyConnection:
    return ReplyConnection(duplicate.detach(), readable, writable)


def _reduced(end: ReplyConnection) -> tuple[Any, tuple[Any, ...]]:
    return _rebuilt, (DupFd(end.fileno()), end.readable, end.writable)


ForkingPickler.register(ReplyConnection, _reduced)
