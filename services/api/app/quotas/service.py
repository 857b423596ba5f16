"""Which quotas there are, and what exceeding one is answered with.

    quotas = Quotas(settings)
    quotas.charge(session, user.name, Kind.RUNS, 1)      # in the transaction that it belongs to; nothing where off

A charge is rolled back with its transaction: what was refused or failed for another reason costs nothing.
"""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from app.database import Database
from app.errors import TooManyRequestsError, UploadTooLargeError
from app.quotas import repository
from app.quotas.models import Kind
from app.quotas.repository import US_A_SECOND, Quota, Standing
from app.settings import Settings

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
TOLD = {Kind.REQUESTS: "requests a minute", Kind.UPLOAD_BYTES: "uploaded bytes a day", Kind.RUNS: "runs an hour"}


class Quotas:
    def __init__(self, settings: Settings) -> None:
        amounts = {
            Kind.REQUESTS: (settings.requests_per_minute, MINUTE_S),
            Kind.UPLOAD_BYTES: (settings.upload_bytes_per_day, DAY_S),
            Kind.RUNS: (settings.runs_per_hour, HOUR_S),
        }
        self._by_kind: Mapping[Kind, Quota] = {
            kind: Quota(kind, amount, window_s) for kind, (amount, window_s) in amounts.items() if amount
        }

    def limits(self, kind: Kind) -> bool:
        return kind in self._by_kind

    def charge(self, session: Session, user_name: str, kind: Kind, amount: int) -> Standing | None:
        """None where it is off. Raises TooManyRequestsError; UploadTooLargeError for more than there ever is."""
        quota = self._by_kind.get(kind)
        if quota is None:
            return None
        _check_possible(quota, amount)
        return _allowed(repository.take(session, user_name, quota, amount))

    def check_room(self, database: Database, user_name: str, kind: Kind, amount: int) -> None:
        """Before the work begins, whether it could be charged now. Raises as `charge` does."""
        quota = self._by_kind.get(kind)
        if quota is not None:
            _check_possible(quota, amount)
            with database.read() as session:
                _allowed(repository.look(session, user_name, quota, amount))

    def count_request(self, database: Database, user_name: str) -> Standing | None:
        """In a transaction of its own. A power cut may forget the last ones; nobody minds."""
        with database.write_soon() as session:
            return self.charge(session, user_name, Kind.REQUESTS, 1)


def headers_of(standing: Standing) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers has them."""
    quota = standing.quota
    reset_s = -(-standing.spent_us // US_A_SECOND)
    return {
        "RateLimit-Policy": f'"{quota.kind}";q={quota.amount};w={quota.window_s}',
        "RateLimit": f'"{quota.kind}";r={standing.remaining};t={reset_s}',
    }


def _check_possible(quota: Quota, amount: int) -> None:
    if amount > quota.amount:  # it would be refused for ever: waiting does not help
        raise UploadTooLargeError(f"{amount} is more than your whole quota of {quota.amount} {TOLD[quota.kind]}")


def _allowed(standing: Standing) -> Standing:
    if not standing.allowed:
        quota = standing.quota
        wait_s = -(-standing.wait_us // US_A_SECOND)
        raise TooManyRequestsError(
            f"your quota of {quota.amount} {TOLD[quota.kind]} is used up: try again in {wait_s} s",
            headers={"Retry-After": str(wait_s), **headers_of(standing)},
        )
    return standing
