"""What the API says of runs."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.analysis.schemas import Probability, Sha256
from app.runs.models import RunOutcome
from earwitness.finding import Abstention, Verdict


class WindowView(BaseModel):
    start_s: float
    end_s: float
    score: Annotated[float, Field(description="The network's raw logit; higher means more likely synthetic.")]
    llr: float | None
    p_fake: Annotated[Probability | None, Field(description="None where the detector abstained, as llr is.")]
    speech_share: Annotated[float, Field(ge=0, le=1)]


class StretchView(BaseModel):
    start_s: float
    end_s: float
    p_fake: Probability


class RunView(BaseModel):
    """One run that ended. Never changed afterwards."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    analysis_id: uuid.UUID
    requested_by: str
    started_at: datetime
    finished_at: datetime
    processing_ms: int
    outcome: RunOutcome
    failure_code: str | None
    failure_message: str | None
    evidence_sha256: Annotated[
        Sha256, Field(description="Of the receipt, or where the stored bytes were altered, what they had instead.")
    ]
    evidence_verified: Annotated[
        bool, Field(description="The stored bytes still had the hash of their receipt when the run began.")
    ]
    model_version: str | None
    model_sha256: str | None
    method: Annotated[
        dict[str, Any] | None,
        Field(
            description="What the run was made with: versions of the tools, calibration, thresholds, limits, "
            "recommended actions. Null where that was not recorded: in runs of earlier versions of the service, and "
            "where its process died."
        ),
    ]
    verdict: Verdict
    confidence: Probability
    p_fake: Probability | None
    llr: float | None
    score: float | None
    explanations: list[str]
    signals: dict[str, float | None]
    abstentions: list[Abstention]
    warnings: list[str]
    windows: list[WindowView]
    most_suspicious: StretchView | None
    duration_s: float | None
    timings_ms: dict[str, float]


class RunList(BaseModel):
    items: list[RunView]
    limit: int
    offset: int
