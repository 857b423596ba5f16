"""Prometheus metrics, the same of services and of workers. One registry an app: several can live in one process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

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
