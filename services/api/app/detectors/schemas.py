"""What the API says of models."""

from dataclasses import asdict
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

from app.analysis.schemas import Sha256
from app.detectors.registry import Model, Stock


class ModelView(BaseModel):
    """One that runs can be made with."""

    model_version: Annotated[str, Field(examples=["audio-2026.11.1"])]
    active: Annotated[bool, Field(description="Runs are made with it unless they ask for another one.")]
    sha256: Annotated[Sha256 | None, Field(description="Of the graph.")]
    spec_sha256: Annotated[Sha256 | None, Field(description="Of the file with everything below.")]
    calibration: dict[str, float] | None
    thresholds: dict[str, float] | None
    thresholds_chosen: str | None
    limits: dict[str, float] | None
    training: dict[str, Any]
    evaluation: Annotated[dict[str, Any], Field(description="How it did on recordings held out of its training.")]

    @classmethod
    def of(cls, model: Model, *, active: bool) -> Self:
        described, spec = model.description, model.description.spec
        return cls(
            model_version=described.model_version,
            active=active,
            sha256=described.model_sha256,
            spec_sha256=described.spec_sha256,
            calibration=asdict(spec.calibration) if spec else None,
            thresholds=asdict(spec.thresholds) if spec else None,
            thresholds_chosen=spec.thresholds_chosen if spec else None,
            limits=asdict(spec.limits) if spec else None,
            training=dict(spec.training) if spec else {},
            evaluation=dict(spec.evaluation) if spec else {},
        )


class UnusableView(BaseModel):
    """A file on the shelf that no run can be made with."""

    file: Annotated[str, Field(examples=["audio-2026.10.1.onnx"])]
    code: Annotated[str, Field(examples=["model_mismatch"])]
    problem: str


class ModelList(BaseModel):
    items: list[ModelView]
    unusable: list[UnusableView]

    @classmethod
    def of(cls, stock: Stock) -> Self:
        return cls(
            items=[ModelView.of(model, active=model is stock.active) for model in stock.models.values()],
            unusable=[
                UnusableView(file=other.file, code=other.code, problem=other.problem) for other in stock.unusable
            ],
        )
