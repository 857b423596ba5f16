"""Which detector answers, with the numbers that turn its scores into verdicts."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends

from app.detectors.schemas import ModelList, ModelView
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.state import ServiceState, service_state

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="The models", responses=documented(400, 401, 403))
def list_models(
    state: Annotated[ServiceState, Depends(service_state)],
    _user: Annotated[User, Depends(allow(Action.READ_MODELS))],
) -> ModelList:
    detector = state.detector
    spec = detector.spec
    loaded = ModelView(
        model_version=detector.model_version,
        loaded=True,
        sha256=detector.model_sha256,
        calibration=asdict(spec.calibration) if spec else None,
        thresholds=asdict(spec.thresholds) if spec else None,
        thresholds_chosen=spec.thresholds_chosen if spec else None,
        limits=asdict(spec.limits) if spec else None,
        training=dict(spec.training) if spec else {},
        evaluation=dict(spec.evaluation) if spec else {},
    )
    return ModelList(items=[loaded])
