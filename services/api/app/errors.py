"""What can go wrong in the service, and the one table from error to HTTP status.

    AppError
    |- AnalysisNotFoundError, EvidenceMissingError, ...     one class a situation, each with a stable `code`

Library errors (`earwitness.errors`) know no HTTP; `STATUS_BY_ERROR` gives each of them, and each class here, its
status. A test fails when a class is missing. `app.problems` turns an error into RFC 9457 problem details.
"""

from collections.abc import Mapping
from typing import ClassVar

from earwitness import errors as library


class AppError(Exception):
    """Root of the service's own errors; never raised itself. The message is shown to the client."""

    code: ClassVar[str] = "app"


class AnalysisNotFoundError(AppError):
    code = "analysis_not_found"


class RunUnderWayError(AppError):
    """A second run of one analysis at the same time."""

    code = "run_under_way"


class AnalysisNotDoneError(AppError):
    """A report was asked for before there is a finding to report."""

    code = "analysis_not_done"


class RunFailedError(AppError):
    """A run ended without a finding; `failure_code` says why and decides the status."""

    code = "run_failed"

    def __init__(self, message: str, *, failure_code: str, analysis_id: str) -> None:
        super().__init__(message)
        self.failure_code = failure_code
        self.analysis_id = analysis_id


class RunWaitError(AppError):
    """A request waited for a run for as long as one may; the run goes on."""

    code = "run_wait"

    def __init__(self, message: str, *, analysis_id: str) -> None:
        super().__init__(message)
        self.analysis_id = analysis_id


class RunInterruptedError(AppError):
    """The service stopped while the run was under way."""

    code = "interrupted"


class DetectorBugError(AppError):
    """The detector raised what no detector should: a bug in it, logged, not shown."""

    code = "detector_bug"


class BatchNotFoundError(AppError):
    code = "batch_not_found"


class ImportsOffError(AppError):
    """The service has no import folder."""

    code = "imports_off"


class ImportPathError(AppError):
    """A name that is not in the import folder, or leads out of it."""

    code = "import_path"


class RunNotFoundError(AppError):
    code = "run_not_found"


class RunNotReplayableError(AppError):
    """The run did not record what it was made with."""

    code = "run_not_replayable"


class ModelNotOnShelfError(AppError):
    """The model that an old run was made with is not there any more."""

    code = "model_not_on_shelf"


class ModelUnknownError(AppError):
    """A run names a model version that is not on the shelf, or can't be used."""

    code = "model_unknown"


class ModelRefusedError(AppError):
    """The models were to be reloaded, and what lies there now can't be used: the service goes on with what it has."""

    code = "model_refused"


class QueueFullError(AppError):
    code = "queue_full"


class NoWorkersError(AppError):
    """No worker is alive that could carry out a run."""

    code = "no_workers"


class ShuttingDownError(AppError):
    code = "shutting_down"


class TooManyRequestsError(AppError):
    """A quota of the user is used up; the headers say when there will be more."""

    code = "too_many_requests"

    def __init__(self, message: str, *, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class BodyTooLargeError(AppError):
    """The body of a request that is no upload is longer than any such request needs."""

    code = "body_too_large"


class UploadTooLargeError(AppError):
    code = "upload_too_large"


class UploadStalledError(AppError):
    """Nothing more came of an upload for too long."""

    code = "upload_stalled"


class NotMultipartError(AppError):
    code = "not_multipart"


class BrokenMultipartError(AppError):
    code = "multipart_broken"


class UploadFieldError(AppError):
    """A form field is missing, repeated, too long, unknown or not text."""

    code = "upload_field"


class UnsupportedMediaError(AppError):
    """By its name or by its content, this is no recording that can be decoded."""

    code = "unsupported_media"


class IdempotencyKeyError(AppError):
    """An Idempotency-Key that is malformed, or that came before with another request."""

    code = "idempotency_key"


class StorageFullError(AppError):
    code = "storage_full"


class DatabaseUnavailableError(AppError):
    """It restarts, or is too busy: what was not acknowledged was not done."""

    code = "database_unavailable"


class EvidenceMissingError(AppError):
    """A record's bytes are not in the store: an operator must look."""

    code = "evidence_missing"


class EvidenceUnavailableError(AppError):
    """The evidence store does not answer, or refuses: what was not acknowledged was not kept."""

    code = "evidence_unavailable"


class EvidenceAlteredError(AppError):
    """Stored bytes no longer have the hash that they were received with: an operator must look."""

    code = "evidence_altered"

    def __init__(self, message: str, *, actual_sha256: str) -> None:
        super().__init__(message)
        self.actual_sha256 = actual_sha256


class RecordAlteredError(AppError):
    """A record or a run in the database is not what the audit trail tells of it: an operator must look."""

    code = "record_altered"


class EvidenceErasedError(AppError):
    """The evidence was erased on purpose; what is known of it stays."""

    code = "evidence_erased"


class EvidenceHeldError(AppError):
    """A hold keeps the evidence from being erased."""

    code = "evidence_held"


class WebhookNotFoundError(AppError):
    code = "webhook_not_found"


class WebhookEndedError(AppError):
    """The other side said that it is gone, so nothing is sent there any more."""

    code = "webhook_ended"


class DeliveryNotFoundError(AppError):
    code = "delivery_not_found"


class WebhookAddressError(AppError):
    """A webhook's URL is malformed, can't be resolved, or leads where the service must not go."""

    code = "webhook_address"


class NotAuthenticatedError(AppError):
    code = "not_authenticated"


class ForbiddenError(AppError):
    code = "forbidden"


class IdentityHeaderError(AppError):
    """X-User or X-Role malformed, or sent to a service in production mode."""

    code = "identity_header"


class HostNotAllowedError(AppError):
    """The request asks for a host that is not this service."""

    code = "host_not_allowed"


class CrossSiteError(AppError):
    """A browser sends this for a page of another web site."""

    code = "cross_site"


class NotAcceptableError(AppError):
    """No representation that the Accept header allows."""

    code = "not_acceptable"


OUTAGES = (EvidenceUnavailableError, StorageFullError)
"""Of the evidence store, or of the disk that copies of it stand on: they say nothing of any recording, and pass."""

STATUS_BY_ERROR: Mapping[type[Exception], tuple[int, str]] = {
    # The recording
    library.InputError: (422, "The recording can't be examined"),
    library.MediaNotFoundError: (500, "The evidence can't be read"),  # the store holds it, or says so itself
    library.EmptyMediaError: (422, "The recording is empty"),
    library.UnreadableMediaError: (422, "The recording can't be decoded"),
    library.MediaLimitError: (422, "The recording is beyond a limit"),
    # The model and the machine
    library.EarwitnessError: (500, "Internal error"),
    library.ModelError: (503, "The detector can't be used"),
    library.ModelNotFoundError: (503, "The detector's model is missing"),
    library.ModelMismatchError: (503, "The detector's model does not fit this version"),
    library.ActionPolicyError: (500, "The policy of recommended actions can't be used"),
    library.ReportError: (500, "The report can't be set"),
    library.HostError: (500, "The host failed"),
    library.OutputError: (500, "A result could not be written"),
    library.RunTimeoutError: (504, "The run exceeded its time limit"),
    library.WorkerCrashError: (500, "The worker process died"),
    # The service
    AppError: (500, "Internal error"),
    AnalysisNotFoundError: (404, "No such analysis"),
    RunUnderWayError: (409, "A run is under way"),
    AnalysisNotDoneError: (409, "The analysis has no finding yet"),
    RunFailedError: (500, "The run failed"),  # only where its failure code is not in this table
    RunWaitError: (504, "The run has not ended yet"),
    RunInterruptedError: (503, "The run was interrupted"),
    DetectorBugError: (500, "The detector failed"),
    BatchNotFoundError: (404, "No such batch"),
    ImportsOffError: (422, "There is no import folder"),
    ImportPathError: (422, "Not in the import folder"),
    RunNotFoundError: (404, "No such run"),
    RunNotReplayableError: (409, "The run can't be repeated"),
    ModelNotOnShelfError: (409, "The run's model is not on the shelf"),
    ModelUnknownError: (422, "No such model"),
    ModelRefusedError: (409, "The new model was refused"),
    QueueFullError: (503, "Too many runs are waiting"),
    NoWorkersError: (503, "No worker is alive"),
    ShuttingDownError: (503, "The service is stopping"),
    TooManyRequestsError: (429, "A quota is used up"),
    BodyTooLargeError: (413, "The body is too large"),
    UploadTooLargeError: (413, "The upload is too large"),
    UploadStalledError: (408, "The upload stalled"),
    NotMultipartError: (415, "Not a multipart form"),
    BrokenMultipartError: (400, "The multipart body is broken"),
    UploadFieldError: (422, "A form field is wrong"),
    UnsupportedMediaError: (415, "Unsupported media"),
    IdempotencyKeyError: (422, "The idempotency key can't be used"),
    StorageFullError: (507, "The evidence store is full"),
    DatabaseUnavailableError: (503, "The database is not available"),
    EvidenceUnavailableError: (503, "The evidence store is not available"),
    EvidenceMissingError: (500, "The evidence is missing"),
    EvidenceAlteredError: (500, "The evidence was altered"),
    RecordAlteredError: (500, "The record was altered"),
    EvidenceErasedError: (410, "The evidence was erased"),
    EvidenceHeldError: (409, "A hold keeps the evidence"),
    WebhookNotFoundError: (404, "No such webhook"),
    WebhookEndedError: (409, "The webhook has ended"),
    DeliveryNotFoundError: (404, "No such delivery"),
    WebhookAddressError: (422, "The webhook's address can't be used"),
    NotAuthenticatedError: (401, "Not authenticated"),
    ForbiddenError: (403, "Not permitted"),
    IdentityHeaderError: (400, "The identity headers can't be used"),
    HostNotAllowedError: (400, "The host is not this service's"),
    CrossSiteError: (403, "Another web site asks"),
    NotAcceptableError: (406, "Not acceptable"),
}
"""Status and title of every error. The title is the same each time; the detail is the instance's message."""

INTERNAL_CODE = library.EarwitnessError.code
"""Code of anything unforeseen: a bug, never the client's fault."""

_BY_CODE = {
    error.code: error for error in STATUS_BY_ERROR if issubclass(error, library.EarwitnessError | AppError)
}


def status_and_title(error: Exception) -> tuple[int, str]:
    """What the table says of `error`, a RunFailedError being judged by the failure that it reports."""
    kind: type[Exception] = type(error)
    if isinstance(error, RunFailedError):
        kind = _BY_CODE.get(error.failure_code, kind)
    return STATUS_BY_ERROR[kind]


def code_of(error: library.EarwitnessError | AppError) -> str:
    return error.failure_code if isinstance(error, RunFailedError) else error.code
