"""From a request to its principal: session cookie or bearer token, and the cookies themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from sqlalchemy import Engine
from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.core.errors import NotSignedIn
from app.storage import accounts
from app.storage.engine import session_scope
from app.web.authorize import Anonymous, OwnerPrincipal, Principal, TokenPrincipal

SESSION_SECONDS = accounts.SESSION_DAYS * 86_400


@dataclass(frozen=True, slots=True)
class Cookies:
    """Names and attributes. `__Host-` needs HTTPS, which plain-http localhost doesn't have."""

    secure: bool

    @classmethod
    def for_address(cls, address: str) -> Cookies:
        return cls(secure=urlsplit(address).scheme == "https")

    @property
    def session(self) -> str:
        return "__Host-clair" if self.secure else "clair"

    @property
    def visitor(self) -> str:
        """Holds the CSRF secret of a browser that isn't signed in."""
        return "__Host-clair-visitor" if self.secure else "clair-visitor"

    @property
    def theme(self) -> str:
        return "clair-theme"

    def set(self, response: Response, name: str, value: str, *, seconds: int | None) -> None:
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite=_LAX,
        )

    def drop(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self.secure, httponly=True, samesite=_LAX)


_LAX: Literal["lax"] = "lax"


class Credentials:
    """Looks principals up in the database, once a request."""

    def __init__(self, engine: Engine, cookies: Cookies) -> None:
        self._engine = engine
        self.cookies = cookies

    def by_cookie(self, connection: HTTPConnection) -> tuple[Principal, bool]:
        """The browser's principal, and whether its cookie should be sent again to live longer."""
        secret = connection.cookies.get(self.cookies.session)
        if not secret:
            return Anonymous(), False
        with session_scope(self._engine) as session:
            found = accounts.find_session(session, accounts.digest(secret))
        if found is None:
            return Anonymous(), False
        return _owner(found), found.extended

    def by_session(self, session_hash: bytes) -> Principal:
        """The principal of a stored session, as sockets know it."""
        with session_scope(self._engine) as session:
            found = accounts.find_session(session, session_hash)
        return _owner(found) if found else Anonymous()

    def by_bearer(self, header: str) -> Principal:
        """The principal of an Authorization header. Raises NotSignedIn for a wrong or revoked one."""
        scheme, _, plain = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotSignedIn
        with session_scope(self._engine) as session:
            token = accounts.find_token(session, plain.strip())
        if token is None:
            raise NotSignedIn
        return TokenPrincipal(token.id, token.name, token.scope)


def _owner(found: accounts.SignedIn) -> OwnerPrincipal:
    return OwnerPrincipal(found.owner_id, found.owner_name, found.session_hash, found.csrf)
