"""From request headers to a user. The seam at which tokens will come in.

`DevelopmentHeaders` believes what the headers say; `NoAuthenticator` lets nobody in. Both are chosen by the mode
in `app.application`; another `Authenticator` can be handed to `create_app`.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from app.errors import IdentityHeaderError, NotAuthenticatedError
from app.identity.user import Role, User

USER_HEADER = "X-User"
ROLE_HEADER = "X-Role"
DEVELOPER = User("developer", Role.ADMIN)
"""Who is asking in development mode where no header says: the person at the machine."""
USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")


class Authenticator(Protocol):
    def authenticate(self, headers: Mapping[str, str]) -> User:
        """Raises NotAuthenticatedError, or IdentityHeaderError for headers that can't be used.

        `headers` finds names whatever their case.
        """
        ...


class DevelopmentHeaders:
    def authenticate(self, headers: Mapping[str, str]) -> User:
        name, role = headers.get(USER_HEADER), headers.get(ROLE_HEADER)
        if name is not None and not USER_NAME.fullmatch(name):
            raise IdentityHeaderError(
                f"{USER_HEADER} must be 1 to 128 letters, digits or . _ @ + - and begin with a letter or digit"
            )
        if role is not None and role not in list(Role):
            raise IdentityHeaderError(f"{ROLE_HEADER} must be one of {', '.join(Role)}")
        if name is None and role is None:
            return DEVELOPER
        # A named user without a role gets the least; a role without a name is the developer trying it out.
        return User(name or DEVELOPER.name, Role(role) if role else Role.FIELD)


class NoAuthenticator:
    def authenticate(self, headers: Mapping[str, str]) -> User:
        if USER_HEADER in headers or ROLE_HEADER in headers:
            raise IdentityHeaderError(
                f"{USER_HEADER} and {ROLE_HEADER} are believed in development mode only; remove them"
            )
        raise NotAuthenticatedError(
            "this service runs in production mode and no way to authenticate is configured: it answers health, "
            "readiness, version and metrics only"
        )
