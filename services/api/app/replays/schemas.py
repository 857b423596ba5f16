"""What the API says of replays."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, computed_field

from app.analysis.schemas import Sha256
from app.runs.models import RunOutcome


class DifferenceView(BaseModel):
    field: Annotated[str, Field(examples=["windows[3].llr"])]
    recorded: Annotated[Any, Field(description="What the run has; null also where it has no such field.")]
    repeated: Annotated[Any, Field(description="What came out now.")]


class ReplayView(BaseModel):
    """One replay. Never changed afterwards."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    analysis_id: uuid.UUID
    run_id: Annotated[uuid.UUID, Field(description="The run that was repeated.")]
    requested_by: str
    started_at: datetime
    finished_at: datetime
    processing_ms: int
    evidence_sha256: Sha256
    model_version: str
    model_sha256: Sha256 | None
    tools: Annotated[
        dict[str, str], Field(description="What is installed now; the run's `method` says what was then.")
    ]
    outcome: RunOutcome
    failure_code: str | None
    failure_message: str | None
    difference_count: Annotated[int, Field(ge=0)]
    differences: Annotated[
        list[DifferenceView], Field(description="Field by field, the first of them where there are very many.")
    ]

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def identical(self) -> bool:
        """The replay gave just what the run has, to the last bit."""
        return self.difference_count == 0


class ReplayList(BaseModel):
    items: list[ReplayView]
    limit: int
    offset: int
