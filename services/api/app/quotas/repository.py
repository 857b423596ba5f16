"""All SQL on `allowances`: one statement takes from an allowance, and decides whether there is enough.

The whole quota refills evenly within its window, so its state is one moment: when it will be full again. Taking moves
that moment further off; what would move it beyond one window from now is refused. (The literature calls this the
generic cell rate algorithm.) Several processes share the row; PostgreSQL's own clock serves them all.
"""

import time
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, case, cast, func, literal, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.quotas.models import Allowance, Kind

US_A_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Quota:
    kind: Kind
    amount: int
    window_s: int

    def as_us(self, amount: int) -> int:
        """How long `amount` takes to refill, rounded up."""
        return -(-amount * self.window_s * US_A_SECOND // self.amount)


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one user's allowance, after something was taken from it or refused."""

    quota: Quota
    allowed: bool
    spent_us: int
    """How long until the allowance is whole again."""
    wait_us: int
    """How long until what was refused would be allowed; 0 where it was allowed."""

    @property
    def remaining(self) -> int:
        window_us = self.quota.window_s * US_A_SECOND
        return max(0, (window_us - self.spent_us) * self.quota.amount // window_us)


def take(session: Session, user_name: str, quota: Quota, amount: int) -> Standing:
    """Take `amount`, which is no more than the whole quota, or nothing."""
    cost_us, window_us = quota.as_us(amount), quota.window_s * US_A_SECOND
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert = sqlite_insert if is_sqlite else postgresql_insert
    now_us = _now_us(is_sqlite)
    spent = _later(Allowance.spent_until_us, now_us) + cost_us
    taken_us = session.execute(
        insert(Allowance)
        .values(user_name=user_name, kind=quota.kind, spent_until_us=now_us + cost_us)
        .on_conflict_do_update(
            index_elements=[Allowance.user_name, Allowance.kind],
            set_={"spent_until_us": spent},
            where=spent - now_us <= window_us,
        )
        .returning(Allowance.spent_until_us - now_us)
    ).scalar()
    if taken_us is not None:
        return Standing(quota, allowed=True, spent_us=int(taken_us), wait_us=0)
    return look(session, user_name, quota, amount)


def look(session: Session, user_name: str, quota: Quota, amount: int) -> Standing:
    """Whether `amount` could be taken now; nothing is."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    found = session.scalar(
        select(Allowance.spent_until_us - _now_us(is_sqlite)).where(
            Allowance.user_name == user_name, Allowance.kind == quota.kind
        )
    )
    spent_us = max(0, int(found or 0))
    wait_us = max(0, spent_us + quota.as_us(amount) - quota.window_s * US_A_SECOND)
    return Standing(quota, allowed=not wait_us, spent_us=spent_us, wait_us=wait_us)


def _now_us(is_sqlite: bool) -> ColumnElement[int]:
    if is_sqlite:
        return literal(time.time_ns() // 1_000, BigInteger)
    return cast(func.extract("epoch", func.statement_timestamp()) * US_A_SECOND, BigInteger)


def _later(one: SQLColumnExpression[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one > other, one), else_=other)
