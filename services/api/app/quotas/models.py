"""`allowances`: one row for each user and quota, whatever the number of requests."""

from enum import StrEnum

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.orm import Base, string_enum


class Kind(StrEnum):
    REQUESTS = "requests"
    UPLOAD_BYTES = "upload_bytes"
    RUNS = "runs"


class Allowance(Base):
    __tablename__ = "allowances"

    user_name: Mapped[str] = mapped_column(String(128), primary_key=True)
    kind: Mapped[Kind] = mapped_column(string_enum(Kind, "kind", constrained=False), primary_key=True)
    spent_until_us: Mapped[int] = mapped_column(BigInteger)
    """When the allowance will be whole again if nothing more is taken; microseconds since 1970."""
