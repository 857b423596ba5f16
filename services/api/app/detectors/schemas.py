"""What the API says of models."""

from typing import Annotated, Any

from pydantic import BaseModel, Field


class ModelView(BaseModel):
    model_version: Annotated[str, Field(examples=["audio-2026.11.1"])]
    loaded: bool
    sha256: str | None
    calibration: dict[str, float] | None
    thresholds: dict[str, float] | None
    thresholds_chosen: str | None
    limits: dict[str, float] | None
    training: dict[str, Any]
    evaluation: dict[str, Any]


class ModelList(BaseModel):
    items: list[ModelView]
