"""Prometheus metrics, the same of services and of workers. One registry an app: several can live in one process.

A counter whose label values are known begins with all of them, at zero: to Prometheus, one that appears with its first
event has not increased, and an alert on what happens once would not fire.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from app import errors
from earwitness.errors import EarwitnessError
from earwitness.finding import Verdict

RUN_OUTCOMES = (
    *Verdict,
    *(kind.code for kind in errors.STATUS_BY_ERROR if issubclass(kind, EarwitnessError)),
    errors.DetectorBugError.code,
    errors.EvidenceAlteredError.code,
    errors.EvidenceMissingError.code,
    errors.EvidenceUnavailableError.code,
    errors.ModelUnknownError.code,
    errors.RunInterruptedError.code,
    errors.StorageFullError.code,
)
"""Verdicts, and failure codes: what detectors and workers raise, and what the service does around them."""
LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "earwitness_http_requests_total",
            "Requests by route template, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.requests.labels("/v1/analysis/upload", "POST", "507")  # a full store, which an alert is on
        self.request_seconds = Histogram(
            "earwitness_http_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ("route", "method"),
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.uploads = Counter(
            "earwitness_uploads_total", "Uploads that were acknowledged.", registry=self.registry
        )
        self.upload_bytes = Counter(
            "earwitness_upload_bytes_total", "Bytes of acknowledged uploads.", registry=self.registry
        )
        self.runs = Counter(
            "earwitness_runs_total",
            "Runs that ended, by outcome: the verdict, or the failure's code.",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in RUN_OUTCOMES:
            self.runs.labels(outcome)
        self.evidence_problems = Counter(
            "earwitness_evidence_problems_total",
            "Stored evidence that was found altered or missing, by kind: altered, missing.",
            ("kind",),
            registry=self.registry,
        )
        for kind in ("altered", "missing"):
            self.evidence_problems.labels(kind)
        self.run_seconds = Histogram(
            "earwitness_run_seconds",
            "Wall time of runs, waiting excluded.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.webhook_attempts = Counter(
            "earwitness_webhook_attempts_total",
            "Attempts to deliver a webhook, by result: delivered, failed (it is tried again), given_up.",
            ("result",),
            registry=self.registry,
        )
        for result in ("delivered", "failed", "given_up"):
            self.webhook_attempts.labels(result)
        self.runs_waiting = Gauge(
            "earwitness_runs_waiting",
            "Runs accepted and not yet ended; with PostgreSQL those of all hosts.",
            registry=self.registry,
        )
        self.model = Info("earwitness_model", "The active model of this process.", registry=self.registry)
        self.model_changes = Counter(
            "earwitness_model_changes_total",
            "Changes of the active model, by result: done, refused (the one before stays).",
            ("result",),
            registry=self.registry,
        )
        for result in ("done", "refused"):
            self.model_changes.labels(result)

    @contextmanager
    def watching_evidence(self) -> Iterator[None]:
        """Counts what the store finds within; the error goes on."""
        try:
            yield
        except errors.EvidenceAlteredError:
            self.evidence_problems.labels("altered").inc()
            raise
        except errors.EvidenceMissingError:
            self.evidence_problems.labels("missing").inc()
            raise
