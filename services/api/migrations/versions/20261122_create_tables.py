"""Create analysis_records, detector_runs and audit_events, the latter two append-only."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_create_tables"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("detector_runs", "audit_events")

STATUSES = ("UPLOADED", "QUEUED", "RUNNING", "DONE", "FAILED")
VERDICTS = ("AUTHENTIC", "SUSPICIOUS", "DEEPFAKE")
OUTCOMES = ("DONE", "FAILED")
MEDIA_TYPES = ("audio", "video")
EVENT_TYPES = (
    "evidence_received",
    "evidence_read",
    "run_requested",
    "run_done",
    "run_failed",
    "report_issued",
)


def enumeration(values: tuple[str, ...], name: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def finding_columns() -> list[sa.Column]:
    return [
        sa.Column("verdict", enumeration(VERDICTS, "verdict"), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("p_fake", sa.Float()),
        sa.Column("llr", sa.Float()),
        sa.Column("explanations", sa.JSON(), nullable=False),
        sa.Column("signals", sa.JSON(), nullable=False),
        sa.Column("abstentions", sa.JSON(), nullable=False),
        sa.Column("model_version", sa.String(128)),
        sa.Column("duration_s", sa.Float()),
        sa.Column("failure_code", sa.String(64)),
        sa.Column("failure_message", sa.Text()),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence_range"),
        sa.CheckConstraint("p_fake >= 0 AND p_fake <= 1", name="p_fake_range"),
    ]


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "analysis_records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("updated_at", time, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("media_type", enumeration(MEDIA_TYPES, "media_type"), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("container", sa.String(128)),
        sa.Column("codec", sa.String(64)),
        sa.Column("sample_rate_hz", sa.Integer()),
        sa.Column("channels", sa.Integer()),
        sa.Column("case_id", sa.String(128)),
        sa.Column("exhibit_id", sa.String(128)),
        sa.Column("device_id", sa.String(128)),
        sa.Column("source", sa.String(512)),
        sa.Column("notes", sa.Text()),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("request_fingerprint", sa.String(64)),
        sa.Column("status", enumeration(STATUSES, "status"), nullable=False),
        sa.Column("run_id", sa.Uuid()),
        sa.Column("run_requested_by", sa.String(128)),
        sa.Column("processing_ms", sa.BigInteger()),
        *finding_columns(),
        sa.CheckConstraint("size_bytes > 0", name="size_positive"),
        sa.CheckConstraint("length(sha256) = 64", name="sha256_length"),
        sa.CheckConstraint("(status = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("created_by", "idempotency_key"),
    )
    for columns in (
        ["created_at", "id"],
        ["sha256"],
        ["status", "created_at", "id"],
        ["verdict", "created_at", "id"],
    ):
        op.create_index(f"ix_analysis_records_{'_'.join(columns)}", "analysis_records", columns)

    op.create_table(
        "detector_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("analysis_id", sa.Uuid(), sa.ForeignKey("analysis_records.id"), nullable=False),
        sa.Column("requested_by", sa.String(128), nullable=False),
        sa.Column("started_at", time, nullable=False),
        sa.Column("finished_at", time, nullable=False),
        sa.Column("processing_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcome", enumeration(OUTCOMES, "outcome"), nullable=False),
        sa.Column("evidence_sha256", sa.String(64), nullable=False),
        sa.Column("evidence_verified", sa.Boolean(), nullable=False),
        sa.Column("model_sha256", sa.String(64)),
        sa.Column("score", sa.Float()),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("windows", sa.JSON(), nullable=False),
        sa.Column("most_suspicious", sa.JSON()),
        sa.Column("media", sa.JSON()),
        sa.Column("timings_ms", sa.JSON(), nullable=False),
        *finding_columns(),
        sa.CheckConstraint("length(evidence_sha256) = 64", name="sha256_length"),
        sa.CheckConstraint("(outcome = 'FAILED') = (failure_code IS NOT NULL)", name="failure_has_code"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_detector_runs_analysis_id_finished_at", "detector_runs", ["analysis_id", "finished_at"])

    op.create_table(
        "audit_events",
        sa.Column("sequence", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("timestamp", time, nullable=False),
        sa.Column("event_type", enumeration(EVENT_TYPES, "event_type"), nullable=False),
        sa.Column("analysis_id", sa.Uuid(), sa.ForeignKey("analysis_records.id")),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.CheckConstraint("sequence > 0", name="sequence_positive"),
        sa.CheckConstraint("length(previous_hash) = 64 AND length(hash) = 64", name="hash_length"),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("previous_hash"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("ix_audit_events_analysis_id", "audit_events", ["analysis_id"])

    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
    for table in APPEND_ONLY:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )
        else:
            for deed in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{deed.lower()} BEFORE {deed} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )


def downgrade() -> None:
    for table in ("audit_events", "detector_runs", "analysis_records"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")
