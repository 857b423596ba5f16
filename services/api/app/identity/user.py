"""Who is asking. A value, made once a request by an `Authenticator`."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    FIELD = "field"
    """Brings evidence in and reads the outcome."""
    ANALYST = "analyst"
    """Examines: also the evidence itself, every run and the events."""
    ADMIN = "admin"
    """Answers for the service: also its audit chain."""


@dataclass(frozen=True, slots=True)
class User:
    name: str
    role: Role
