"""Everything that an operator can set, read once from the environment (prefix `EARWITNESS_`) and passed on.

    settings = Settings()                                    # from the environment
    settings = Settings(evidence_dir=Path("/srv/evidence"))  # in a test

Durations accept seconds (`90`) or ISO 8601 (`PT90S`).
"""

import logging
import re
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from earwitness.model_spec import default_model_path, model_path

MIB = 1 << 20
GIB = 1 << 30
SECRETS = Path("/run/secrets")
"""Where container engines put secrets: a file `earwitness_database_url` there is that setting, before any variable."""
ANY_HOST = "*"
HOST_NAME = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
UPLOAD_IDLE = timedelta(seconds=60)
"""Longer than a phone needs to change networks; short enough that dead clients don't hold files and connections."""

LONGEST = timedelta(days=36_525)
"""Of any time that is set: reckoned back from now it is a date, and a thread can wait for it."""


class Mode(StrEnum):
    DEVELOPMENT = "development"
    """Users name themselves by the headers X-User and X-Role: for one person on one machine."""
    PRODUCTION = "production"
    """Those headers are refused; without an authenticator everything but health and metrics is."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="EARWITNESS_",
        frozen=True,
        extra="forbid",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,  # a missing one would be warned of
    )

    mode: Mode = Mode.DEVELOPMENT
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    """0 takes a free port; `port_file` says which."""
    port_file: Path | None = None
    """Where the chosen port is written once the service listens."""
    database_url: str = "sqlite:///var/earwitness.db"
    evidence_dir: Path = Path("var/evidence")
    """Where evidence lies; with `evidence_url` only what is on its way, in and out."""
    evidence_url: str | None = None
    """An object store for the evidence, as s3://bucket/prefix: several hosts can share it."""
    evidence_endpoint: str | None = None
    """Of a server of one's own, as https://host:9000. Not set, as the three below: as the AWS tools find it."""
    evidence_region: str | None = None
    evidence_access_key: str | None = None
    evidence_secret_key: SecretStr | None = None
    model: Path = Field(default_factory=default_model_path)
    max_upload_bytes: int = Field(default=2 * GIB, gt=0)
    run_timeout: timedelta = timedelta(minutes=15)
    """Wall time of one run, after which its process is killed. A three-hour hearing takes a few minutes."""
    probe_timeout: timedelta = timedelta(seconds=15)
    """Wall time of the look at an upload's container; headers are read in milliseconds."""
    upload_idle_timeout: timedelta = UPLOAD_IDLE
    """How long an upload may send nothing before it is given up."""
    workers: int = Field(default=1, ge=0, le=128)  # each has six descriptors, and 1,024 is the usual limit
    """Runs at the same time, each in its own process. 0, with PostgreSQL only: `earwitness worker` does them all."""
    worker_memory_bytes: int = Field(default=4 * GIB, ge=256 * MIB)
    """Address space of a worker process. The runtime's threads reserve far more than they use."""
    worker_host: str = "127.0.0.1"
    worker_port: int | None = Field(default=None, ge=0, le=65_535)
    """Where `earwitness worker` answers /health, /ready and /metrics. Not set: nowhere, since several workers on one
    host would want the same port. 0 takes a free one; the worker's first line says which."""
    max_queued_runs: int = Field(default=1_000, ge=1)
    """Over all hosts."""
    run_wait: timedelta = timedelta(minutes=30)
    """How long a request waits for its run to end, waiting for a worker included; the run goes on then."""
    run_attempts: int = Field(default=3, ge=1)
    """With PostgreSQL: how often workers may die at one run before it is given up."""
    worker_heartbeat: timedelta = timedelta(seconds=10)
    """With PostgreSQL: how often a worker gives a sign of life, and every process looks for reloaded models."""
    worker_lost_after: timedelta = timedelta(seconds=30)
    """With PostgreSQL: how long a worker may be silent before its runs are given to others."""
    batch_ahead: int = Field(default=32, ge=1)
    """Runs in the queue from which on batches add none: enough that no worker waits, and nobody else does."""
    import_dir: Path | None = None
    """Where batches may take recordings from; without it they take only what was uploaded."""
    shutdown_grace: timedelta = timedelta(seconds=20)
    """How long a stopping service waits for what is under way before it interrupts it."""
    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that are not public and that webhooks may nevertheless reach: a JSON list such as ["10.1.0.0/16"]."""
    requests_per_minute: int | None = Field(default=None, gt=0)
    """Of each user; at once, or evenly over the minute. Not set: not counted. So the two below."""
    upload_bytes_per_day: int | None = Field(default=None, gt=0)
    runs_per_hour: int | None = Field(default=None, gt=0)
    evidence_retention: timedelta | None = None
    """Evidence is erased so long after its receipt; not set: kept until somebody erases it."""
    sweep_interval: timedelta = timedelta(hours=1)
    """How often the service looks for evidence that is due, and for erased bytes that are still there."""
    action_policy: str = "general"
    """Where a report's recommended actions come from: a shipped policy's name, or a file."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """What `Host` may name, without a port: names and addresses, separated by commas; `*` is any. Not set: the loopback
    address and `host`."""
    cors_origins: tuple[str, ...] = ()
    """Closed unless an operator opens it: a JSON list of origins."""
    otlp_endpoint: str | None = None
    """Where traces go, such as http://collector:4318/v1/traces; needs the extra `otel`. Not set: none are made."""
    log_level: str = "INFO"
    git_revision: str | None = None
    """What `GET /version` reports; read from the checkout where not set."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  what the base class passes
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The first has the say. Secrets come before variables: the image has some of its own, the database's address
        among them, and whoever gives a container a secret means it."""
        return init_settings, file_secret_settings, env_settings

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        known = logging.getLevelNamesMapping()
        if value.upper() not in known:
            raise ValueError(f"there is no such level; there are {', '.join(known)}")
        return value

    @field_validator("model", mode="before")
    @classmethod
    def _profile_or_path(cls, value: object) -> object:
        return model_path(value) if isinstance(value, str) and value else value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _host_names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        hosts = tuple(host.strip().lower() for host in value.split(",") if host.strip())
        for host in hosts:
            if host != ANY_HOST and not HOST_NAME.fullmatch(host):
                raise ValueError(
                    f"`{host}` must be a name or an address (IPv6 in brackets), without scheme and port"
                )
        return hosts

    @field_validator(
        "run_timeout",
        "run_wait",
        "probe_timeout",
        "upload_idle_timeout",
        "shutdown_grace",
        "evidence_retention",
        "sweep_interval",
        "worker_heartbeat",
        "worker_lost_after",
        mode="before",
    )
    @classmethod
    def _plain_seconds(cls, value: object) -> object:
        if isinstance(value, str) and value.replace(".", "", 1).isdigit():
            return timedelta(seconds=float(value))
        return value

    @field_validator(
        "run_timeout",
        "run_wait",
        "probe_timeout",
        "upload_idle_timeout",
        "evidence_retention",
        "sweep_interval",
        "worker_heartbeat",
        "worker_lost_after",
    )
    @classmethod
    def _positive(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value <= timedelta(0):
            raise ValueError("a time must be positive")
        if value is not None and value > LONGEST:
            raise ValueError("a time has at most a hundred years")
        return value

    @model_validator(mode="after")
    def _more_than_one_sign_of_life(self) -> "Settings":
        if self.worker_lost_after < 2 * self.worker_heartbeat:
            raise ValueError(
                "worker_lost_after must be at least twice worker_heartbeat, or busy workers pass for dead"
            )
        return self
