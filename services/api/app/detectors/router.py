"""Which detectors there are, with the numbers that turn their scores into verdicts; and the change to a new one."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.detectors.schemas import ModelList
from app.identity.permissions import Action, allow
from app.identity.user import User
from app.problems import documented
from app.state import State

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="The models", responses=documented(400, 401, 403))
def list_models(
    state: State,
    _user: Annotated[User, Depends(allow(Action.READ_MODELS))],
) -> ModelList:
    """The active one first, then every other one that a run can name."""
    return ModelList.of(state.models.stock)


@router.post("/reload", summary="Use what lies on the shelf now", responses=documented(400, 401, 403, 409, 503))
def reload_models(
    state: State,
    user: Annotated[User, Depends(allow(Action.RELOAD_MODELS))],
) -> ModelList:
    """Runs under way end with the model that they began with; later ones are made with the new one.

    Where the new model can't be used the answer is 409 and the service goes on with the one that it has. SIGHUP does
    the same. With PostgreSQL all services and workers on the database follow, each with its own shelf, within
    EARWITNESS_WORKER_HEARTBEAT.
    """
    state.reloader.reload(user.name)
    return ModelList.of(state.models.stock)
