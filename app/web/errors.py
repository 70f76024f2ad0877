"""The one place where an error becomes a response: class → status, by ancestry."""

from __future__ import annotations

import http
import logging
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.core.errors import (
    BadInput,
    ClairError,
    Conflict,
    DiskFull,
    HomeUnusable,
    ModelUnavailable,
    NotAllowed,
    NotSignedIn,
    Overloaded,
    PhotoRejected,
    ServiceDown,
    SourceUnavailable,
    TryAgain,
    UnknownCluster,
    UnknownEvent,
    UnknownGroup,
    UnknownPhoto,
    UnknownRun,
    UnknownSource,
)
from app.web.access_log import redacted
from app.web.contexts import ErrorPage
from app.web.headers import add_security_headers

log = logging.getLogger(__name__)

MACHINE_PATHS = ("/api/", "/media/", "/ws/", "/healthz", "/readyz", "/static/")


class Malformed(BadInput):
    """The request itself can't be parsed, whatever it wanted."""


class InvalidField(BadInput):
    """One field of the body or the query is wrong; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownSpace(BadInput):
    """No layout of the event is built yet."""


class TooManyTries(TryAgain):
    """Wrong secrets too often; `after` says when the next try counts."""

    def __init__(self, after: float) -> None:
        super().__init__(
            "too-many-tries",
            "Too many wrong tries.",
            after=after,
            cure="Wait a minute, then try again.",
        )


STATUS: dict[type[Exception], int] = {
    Malformed: 400,
    UnknownCluster: 404,
    UnknownEvent: 404,
    UnknownGroup: 404,
    UnknownPhoto: 404,
    UnknownRun: 404,
    UnknownSource: 404,
    UnknownSpace: 404,
    BadInput: 422,
    NotSignedIn: 401,
    NotAllowed: 403,
    Conflict: 409,
    PhotoRejected: 502,
    SourceUnavailable: 502,
    TooManyTries: 429,
    TryAgain: 503,
    ServiceDown: 503,
    ModelUnavailable: 503,
    HomeUnusable: 507,
    DiskFull: 507,
    ClairError: 500,
}
_RETRY_AFTER = 5.0  # seconds, where the error doesn't know better

_HEADLINES = {
    400: "That request can't be understood",
    401: "Sign in first",
    403: "That isn't allowed",
    404: "There is nothing here",
    405: "That isn't possible here",
    409: "That clashes with something",
    413: "That is too large",
    422: "That can't be done as it stands",
    429: "Too many tries",
    502: "The photo's origin failed",
    503: "Not available right now",
    507: "The disk is full",
}


def status_of(error: Exception) -> int:
    """The status of an error: that of its nearest ancestor in the table."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((STATUS[c] for c in type(error).__mro__ if c in STATUS), 500)


def told(error: Exception) -> ErrorPage:
    """What people are told of an error. Of one that nobody foresaw, only that it happened."""
    if isinstance(error, PoolExhausted):
        error = Overloaded("Too much is going on at once.")
    status = status_of(error)
    headline = _HEADLINES.get(status, "Something went wrong here")
    if isinstance(error, ClairError):
        retry = None
        if status in (429, 503):
            after = error.after if isinstance(error, TryAgain) else None
            retry = max(1, math.ceil(_RETRY_AFTER if after is None else after))
        return ErrorPage(status, headline, error.message, error.cure, retry)
    if isinstance(error, HTTPException):
        phrase = http.HTTPStatus(status).phrase
        detail = error.detail if error.detail != phrase else _PLAIN.get(status, phrase + ".")
        return ErrorPage(status, headline, detail, "")
    return ErrorPage(
        500, headline, "This is our fault.", "Try again; the server's log has the details."
    )


_PLAIN = {
    404: "No page has this address.",
    405: "This address doesn't take that kind of request.",
}


def problem(error: Exception) -> Response:
    """RFC 9457. `type` is about:blank: the title is the status's own phrase."""
    page = told(error)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(page.status).phrase,
        "status": page.status,
        "detail": page.message,
    }
    if page.cure:
        body["cure"] = page.cure
    for name in ("field", "reason"):
        if value := getattr(error, name, ""):
            body[name] = value
    return JSONResponse(
        body, page.status, _headers(error, page), media_type="application/problem+json"
    )


def _headers(error: Exception, page: ErrorPage) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if page.retry_after is not None:
        headers["Retry-After"] = str(page.retry_after)
    if page.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="clairvision"'
    if isinstance(error, HTTPException):
        headers |= dict(error.headers or {})
    return headers


class ErrorResponses:
    """The handlers for Starlette's constructor. `render` makes the HTML page."""

    def __init__(self, render: Callable[[Request, ErrorPage, dict[str, str]], Response]) -> None:
        self._render = render

    def handlers(self) -> dict[Any, Callable[[Request, Exception], Response]]:
        return {
            ClairError: self.respond,
            HTTPException: self.respond,
            PoolExhausted: self.respond,
            Exception: self.unforeseen,
        }

    def respond(self, request: Request, error: Exception) -> Response:
        path: str = request.scope["path"]
        if (status := status_of(error)) >= 500:
            log.warning("%d for %s: %s", status, redacted(path), error)
        if path.startswith(MACHINE_PATHS):
            return problem(error)
        if isinstance(error, NotSignedIn):
            return to_login(request)
        if request.headers.get("hx-request") == "true" and request.method != "GET":
            return problem(error)  # told in a message; the page stays as it is
        page = told(error)
        return self._render(request, page, _headers(error, page))

    def unforeseen(self, request: Request, error: Exception) -> Response:
        # This one is made outside our middleware, and so must carry its headers itself.
        response = self.respond(request, error)
        add_security_headers(response.headers)
        return response


def to_login(request: Request) -> Response:
    """To the sign-in page and back again. htmx follows its own header, not a redirect."""
    asked = quote(request.scope["path"])
    if query := request.scope["query_string"].decode("ascii", "replace"):
        asked += f"?{query}"
    htmx = request.headers.get("hx-request") == "true"
    if htmx or request.method != "GET":
        asked = _path_of(request.headers.get("hx-current-url", "")) if htmx else "/events"
    address = f"/login?next={quote(asked, safe='')}"
    if htmx:
        return Response(status_code=401, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    return safe_next(f"{parts.path}?{parts.query}" if parts.query else parts.path)


def safe_next(value: str) -> str:
    """A path on this server, or /events: never another site's address."""
    plain = value.isprintable() and "\\" not in value and len(value) <= 2000
    return value if plain and value.startswith("/") and not value.startswith("//") else "/events"
