"""Answers of health, readiness and version."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class HealthView(BaseModel):
    status: Annotated[Literal["ok"], Field(examples=["ok"])] = "ok"


class ReadyView(BaseModel):
    status: Literal["ready", "not_ready"]
    checks: Annotated[
        dict[str, str],
        Field(examples=[{"database": "ok", "evidence_store": "ok", "model": "ok", "queue": "ok"}]),
    ]


class VersionView(BaseModel):
    version: Annotated[str, Field(examples=["0.1.0"])]
    git_revision: Annotated[str, Field(examples=["1f0c2d3e4b5a69788796a5b4c3d2e1f001234567"])]
    report_version: Annotated[int, Field(examples=[1], description="Of the reports that this service issues.")]
