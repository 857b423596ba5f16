"""What the API says of batches."""

import uuid
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.batches.models import BatchStatus

MAX_ANALYSES = 100_000  # 4 MB of ids; a larger batch comes as several, or as a list in the import folder
MAX_BODY_BYTES = 8 << 20
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"


class BatchRequest(BaseModel):
    """Either analyses that were uploaded, or what lies in the import folder."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "calls of November", "import_path": "calls/2026-11.csv"},
                {"analysis_ids": ["2f1b6a52-6b0e-4c57-9d43-0f1c9a3f7e11"]},
            ]
        },
    )

    name: Annotated[str | None, Field(min_length=1, max_length=255, pattern=PRINTABLE)] = None
    model_version: Annotated[
        str | None, Field(min_length=1, max_length=128, description="The model to use, for all of them.")
    ] = None
    analysis_ids: Annotated[list[uuid.UUID] | None, Field(min_length=1, max_length=MAX_ANALYSES)] = None
    import_path: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=1024,
            pattern=PRINTABLE,
            description="In the import folder: a folder, a `.csv` with a column `path`, a `.txt` with a path a line, "
            "or a recording.",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.analysis_ids is None) == (self.import_path is None):
            raise ValueError("give either analysis_ids or import_path")
        return self


class BatchView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    created_at: datetime
    created_by: str
    finished_at: Annotated[datetime | None, Field(description="When the last of its runs had ended.")]
    name: str | None
    import_path: str | None
    model_version: str | None
    status: BatchStatus
    failure_code: str | None
    failure_message: str | None
    total: Annotated[int, Field(ge=0, description="Items, as far as they are listed.")]
    duplicates: Annotated[int, Field(ge=0, description="Named a second time, and left out.")]
    entered: Annotated[int, Field(ge=0, description="Given to the queue, or failed before.")]
    done: Annotated[int, Field(ge=0, description="Ended with a finding.")]
    failed: Annotated[int, Field(ge=0, description="Ended without one; each has its code in the results.")]


class BatchPage(BaseModel):
    items: list[BatchView]
    total: Annotated[int, Field(ge=0)]
    limit: int
    offset: int
