"""Who may do what: the one table, and the one place where it is enforced.

@router.get("/...")
def endpoint(user: Annotated[User, Depends(allow(Action.READ_RECORD))]) -> ...
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from app.errors import ForbiddenError
from app.identity.authenticators import Authenticator
from app.identity.user import Role, User
from app.quotas.models import Kind
from app.quotas.service import headers_of
from app.state import State


class Action(StrEnum):
    UPLOAD = "upload"
    RUN = "run"
    READ_RECORD = "read_record"
    READ_REPORT = "read_report"
    READ_MODELS = "read_models"
    READ_RUNS = "read_runs"
    READ_EVENTS = "read_events"
    READ_EVIDENCE = "read_evidence"
    VERIFY_AUDIT = "verify_audit"
    RELOAD_MODELS = "reload_models"
    REPLAY = "replay"
    BATCH = "batch"
    READ_BATCHES = "read_batches"
    ERASE_EVIDENCE = "erase_evidence"
    HOLD_EVIDENCE = "hold_evidence"
    MANAGE_WEBHOOKS = "manage_webhooks"


_FIELD = frozenset({Action.UPLOAD, Action.RUN, Action.READ_RECORD, Action.READ_REPORT, Action.READ_MODELS})
_ANALYST = _FIELD | {
    Action.READ_RUNS,
    Action.READ_EVENTS,
    Action.READ_EVIDENCE,
    Action.REPLAY,
    Action.BATCH,
    Action.READ_BATCHES,
}
_ADMIN = _ANALYST | {
    Action.VERIFY_AUDIT,
    Action.RELOAD_MODELS,
    Action.ERASE_EVIDENCE,
    Action.HOLD_EVIDENCE,
    Action.MANAGE_WEBHOOKS,
}

PERMISSIONS: Mapping[Role, frozenset[Action]] = {
    Role.FIELD: _FIELD,
    Role.ANALYST: _ANALYST,
    Role.ADMIN: _ADMIN,
}


def check(user: User, action: Action) -> None:
    """Raises ForbiddenError where the user's role does not allow `action`."""
    if action not in PERMISSIONS[user.role]:
        raise ForbiddenError(f"the role {user.role} may not {action.replace('_', ' ')}: ask an administrator")


def allow(action: Action) -> Callable[[User], Awaitable[User]]:
    """A dependency that answers 401, 400 or 403, or gives the user who may do `action`."""

    async def permitted(user: Annotated[User, Depends(current_user)]) -> User:
        check(user, action)
        return user

    return permitted


async def current_user(request: Request, state: State) -> User:
    """Who asks. Raises what the authenticator raises, and TooManyRequestsError.

    Asynchronous, as the others here, so that no request waits for the thread pool to have its headers looked at.
    """
    authenticator: Authenticator = state.authenticator
    user = authenticator.authenticate(request.headers)
    request.state.user = user.name  # for the access log
    if state.quotas.limits(Kind.REQUESTS):
        standing = await run_in_threadpool(state.quotas.count_request, state.database, user.name)
        if standing is not None:
            request.state.quota_headers = headers_of(standing)  # the middleware sends them
    return user
