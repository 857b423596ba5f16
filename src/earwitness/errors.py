"""Everything that can go wrong, split by who is at fault.

    EarwitnessError
    |- InputError             the recording: another recording may work
    |  |- MediaNotFoundError      no such file, or not a regular file
    |  |- EmptyMediaError         no bytes at all
    |  |- UnreadableMediaError    no decoder makes sound of it
    |  `- MediaLimitError         beyond a named limit (length, channels, size, ...)
    |- ModelError             the artefact: mend or replace the model
    |  |- ModelNotFoundError      no graph or no spec at the given path
    |  `- ModelMismatchError      graph and spec do not belong together, or to this version
    `- HostError              this machine: its disk, memory, time
       |- OutputError             a result could not be written
       |- RunTimeoutError         a run exceeded its time limit and was killed
       |- WorkerCrashError        the worker process died (memory, decoder crash)
       |- ActionPolicyError       the file of recommended actions can't be used
       `- ReportError             a report can't be set: fonts or typesetter are missing, or refuse it

A recording that is readable but can't be judged (silent, no speech, a video without sound) is no error: it is
an abstention (`earwitness.finding.Abstention`).

Each class has a stable `code`; each instance a message that says what to do. Messages name files only by the
name that the caller gave.
"""

from typing import ClassVar


class EarwitnessError(Exception):
    """Root of what leaves the library; never raised itself."""

    code: ClassVar[str] = "internal"


class InputError(EarwitnessError):
    code = "input"


class MediaNotFoundError(InputError):
    code = "media_not_found"


class EmptyMediaError(InputError):
    code = "media_empty"


class UnreadableMediaError(InputError):
    code = "media_unreadable"


class MediaLimitError(InputError):
    code = "media_limit"


class ModelError(EarwitnessError):
    code = "model"


class ModelNotFoundError(ModelError):
    code = "model_not_found"


class ModelMismatchError(ModelError):
    code = "model_mismatch"


class HostError(EarwitnessError):
    code = "host"


class OutputError(HostError):
    code = "output_failed"


class RunTimeoutError(HostError):
    code = "run_timeout"


class WorkerCrashError(HostError):
    code = "worker_crash"


class ActionPolicyError(HostError):
    code = "action_policy"


class ReportError(HostError):
    code = "report"
