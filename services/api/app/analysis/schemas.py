"""What the API says of analyses. Read-only views over rows; field names are those of the tables."""

import re
import uuid
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from app.analysis.models import MediaType, Status
from app.analysis.repository import RecordFilter
from earwitness.finding import Abstention, Verdict

EXAMPLE_ID = "2f1b6a52-6b0e-4c57-9d43-0f1c9a3f7e11"
EXAMPLE_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

Probability = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=[EXAMPLE_SHA256])]


class UploadReceipt(BaseModel):
    """What an upload is acknowledged with: from here on the bytes and the record are durable."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    analysis_id: Annotated[uuid.UUID, Field(validation_alias="id", examples=[EXAMPLE_ID])]
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0)]
    filename: Annotated[str, Field(description="The cleaned label; nothing is stored under it.")]
    media_type: MediaType
    created_at: datetime


class AnalysisView(BaseModel):
    """The record of an analysis: the evidence, where it stands, and the finding of the newest run."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "created_at": "2026-11-22T09:15:00.123456Z",
                    "updated_at": "2026-11-22T09:15:02.654321Z",
                    "created_by": "j.doe",
                    "media_type": "audio",
                    "filename": "voicemail.m4a",
                    "sha256": EXAMPLE_SHA256,
                    "size_bytes": 48231,
                    "container": "mov,mp4,m4a,3gp,3g2,mj2",
                    "codec": "aac",
                    "sample_rate_hz": 44100,
                    "channels": 1,
                    "duration_s": 7.4,
                    "case_id": "2026-114",
                    "exhibit_id": "A-3",
                    "device_id": None,
                    "source": "phone of the witness",
                    "notes": None,
                    "held_at": None,
                    "held_by": None,
                    "hold_reason": None,
                    "erased_at": None,
                    "erased_by": None,
                    "erasure_reason": None,
                    "removed_at": None,
                    "status": "DONE",
                    "run_id": "5f0c0e0e-2f0f-4a51-8a8c-3d0fbb0cc1aa",
                    "run_started_at": "2026-11-22T09:15:02.312345Z",
                    "examined_s": 7.4,
                    "progress": 1.0,
                    "failure_code": None,
                    "failure_message": None,
                    "verdict": "DEEPFAKE",
                    "confidence": 0.97,
                    "p_fake": 0.97,
                    "llr": 3.48,
                    "explanations": ["The most suspicious stretch is 2.0-6.0 s."],
                    "signals": {"speech_s": 6.1, "level_dbfs": -23.4},
                    "abstentions": [],
                    "model_version": "audio-2026.11.1",
                    "processing_ms": 311,
                }
            ]
        },
    )

    id: uuid.UUID
    created_at: datetime
    updated_at: datetime
    created_by: str
    media_type: MediaType
    filename: str
    sha256: Sha256
    size_bytes: int
    container: str | None
    codec: str | None
    sample_rate_hz: int | None
    channels: int | None
    duration_s: Annotated[
        float | None,
        Field(description="What the header declares until a run has decoded it; then the decoded length."),
    ]
    case_id: str | None
    exhibit_id: str | None
    device_id: str | None
    source: str | None
    notes: str | None
    held_at: Annotated[datetime | None, Field(description="Since when a hold keeps the evidence.")]
    held_by: str | None
    hold_reason: str | None
    erased_at: Annotated[
        datetime | None, Field(description="Since when this analysis has no evidence any more; the rest stays.")
    ]
    erased_by: str | None
    erasure_reason: str | None
    removed_at: Annotated[
        datetime | None,
        Field(description="When the erased bytes left the store: once no other analysis held the same ones."),
    ]
    status: Status
    run_id: Annotated[uuid.UUID | None, Field(description="The newest run, under way or ended.")]
    run_started_at: Annotated[
        datetime | None,
        Field(description="Since when a worker is, or was, at the newest run; null while it waits."),
    ]
    examined_s: Annotated[
        float | None,
        Field(
            description="Seconds of sound that the newest run has examined, noted every few seconds while it is under "
            "way; where it failed, how far it came. Null where that is not known."
        ),
    ]
    progress: Annotated[
        Probability | None,
        Field(
            description="`examined_s` of `duration_s`, at most 0.99 before the run is DONE, then 1. Null before the "
            "first run, and where either is not known."
        ),
    ]
    failure_code: str | None
    failure_message: str | None
    verdict: Annotated[Verdict, Field(description="SUSPICIOUS with confidence 0 until something was evaluated.")]
    confidence: Probability
    p_fake: Probability | None
    llr: Annotated[float | None, Field(description="Natural log; higher means more likely synthetic.")]
    explanations: list[str]
    signals: dict[str, float | None]
    abstentions: list[Abstention]
    model_version: str | None
    processing_ms: int | None


class AnalysisPage(BaseModel):
    items: list[AnalysisView]
    total: Annotated[int, Field(ge=0, description="Records that match, on all pages.")]
    limit: int
    offset: int


DEFAULT_PAGE = 20
MAX_PAGE = 200
MAX_OFFSET = 2**31 - 1  # more than anybody pages through, and every database takes it
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
DATE_AND_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:")
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"


def _within_reach(moment: datetime) -> datetime:
    """The nearest time that every database and every time zone can hold; no record lies beyond either end."""
    if moment.year < EARLIEST.year:
        return EARLIEST
    return LATEST if moment.year >= LATEST.year else moment


def _written_out(value: object) -> object:
    if isinstance(value, str) and not DATE_AND_TIME.match(value):
        raise ValueError("write the time out, such as 2026-11-22T12:00:00Z")  # pydantic also takes bare numbers
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_within_reach)]


class ListQuery(BaseModel):
    """Which records, and which page of them."""

    model_config = ConfigDict(extra="forbid")  # a misspelt filter must not look like one that matched everything

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    verdict: Verdict | None = None
    status: Status | None = None
    sha256: Sha256 | None = None
    filename: Annotated[str | None, Field(min_length=1, max_length=255, pattern=PRINTABLE)] = None
    created_after: Annotated[Moment | None, Field(description="At this time or later.")] = None
    created_before: Annotated[Moment | None, Field(description="Before this time.")] = None

    def chosen(self) -> RecordFilter:
        return RecordFilter(
            self.verdict, self.status, self.sha256, self.filename, self.created_after, self.created_before
        )
