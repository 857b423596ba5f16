"""What is asked of erasures and holds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.analysis.schemas import PRINTABLE

Reason = Annotated[
    str,
    Field(
        min_length=3,
        max_length=512,
        pattern=PRINTABLE,
        description="Why; kept with the record and in the audit trail.",
        examples=["order of the court of 2026-11-20"],
    ),
]


class HoldOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    held: Annotated[bool, Field(description="true places the hold, false releases it.")]
    reason: Reason
