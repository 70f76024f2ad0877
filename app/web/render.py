"""Typed contexts into templates: the only caller of Jinja."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.web.assets import Bundle
from app.web.authorize import OwnerPrincipal
from app.web.contexts import ErrorPage, EventHead, Frame
from app.web.credentials import Cookies
from app.web.csrf import masked
from app.web.guard import caller_of

THEMES = ("dark", "light", "system")


def wants_fragment(request: Request) -> bool:
    """Whether htmx 4 will swap a part of the page. A body-wide swap, an `hx-select` and a restored
    history entry want the whole page."""
    headers = request.headers
    return (
        headers.get("hx-request") == "true"
        and headers.get("hx-request-type") != "full"
        and "hx-history-restore-request" not in headers
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page stands: its title, its rail entry, its script entry point, its event."""

    title: str
    active: str = ""
    entry: str = "base"
    event: EventHead | None = None


class Renderer:
    def __init__(self, templates: Path, bundle: Bundle, cookies: Cookies) -> None:
        self._bundle = bundle
        self._cookies = cookies
        self._jinja = Environment(
            loader=FileSystemLoader(templates),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )

    def theme(self, request: Request) -> str:
        chosen = request.cookies.get(self._cookies.theme, "dark")
        return chosen if chosen in THEMES else "dark"

    def page(
        self,
        request: Request,
        template: str,
        context: object,
        place: Place,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A whole page of pages/. Kept by no cache without asking again."""
        caller = caller_of(request)
        owner = caller.principal if isinstance(caller.principal, OwnerPrincipal) else None
        frame = Frame(
            title=place.title,
            active=place.active,
            owner_name=owner.name if owner else None,
            csrf_token=masked(caller.csrf_secret),
            theme=self.theme(request),
            assets=self._bundle.of(place.entry),
            event=place.event,
        )
        content = self._rendered(f"pages/{template}", {"frame": frame, "page": context})
        return HTMLResponse(content, status, _cached(headers))

    def fragment(self, template: str, context: object) -> Response:
        """A part of a page, of fragments/."""
        content = self._rendered(f"fragments/{template}", {"page": context})
        return HTMLResponse(content, headers=_cached(None))

    def error(self, request: Request, page: ErrorPage, headers: dict[str, str]) -> Response:
        """The page for any error."""
        return self.page(
            request,
            "error.html",
            page,
            Place(page.headline),
            status=page.status,
            headers=headers,
        )

    def _rendered(self, template: str, context: dict[str, Any]) -> str:
        return self._jinja.get_template(template).render(context)


def _cached(headers: Mapping[str, str] | None) -> dict[str, str]:
    # One address gives a page or a fragment, and what it shows depends on who asks.
    return {"Cache-Control": "private, no-cache", "Vary": "HX-Request, Cookie"} | dict(
        headers or {}
    )
