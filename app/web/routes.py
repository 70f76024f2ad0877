"""The URL table, and nothing else (docs/web.md).

Every line names its action, and the guard asks `authorize` before the handler runs. Order matters
only where two patterns overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.routing import BaseRoute, Mount, WebSocketRoute

from app.web.account_pages import AccountPages
from app.web.api import Api
from app.web.assets import Static, favicon
from app.web.authorize import Action
from app.web.credentials import Credentials
from app.web.event_pages import EventPages
from app.web.guard import GuardedRoute
from app.web.media import Media
from app.web.operations import Operations
from app.web.searching import SearchPages
from app.web.sockets import Sockets


@dataclass(frozen=True, slots=True)
class Handlers:
    accounts: AccountPages
    events: EventPages
    search: SearchPages
    operations: Operations
    media: Media
    api: Api
    sockets: Sockets


def url_table(
    at: Handlers, credentials: Credentials, address: str, static: Path
) -> list[BaseRoute]:
    """All routes of the application."""
    page = partial(GuardedRoute, credentials=credentials, address=address)
    post = partial(page, method="POST")
    get_api = partial(page, bearer=True)
    post_api = partial(post, bearer=True)
    event, photo = "/events/{slug}", "/photos/{photo_id:int}"
    v1, media = "/api/v1", "/media"
    return [
        page("/", at.events.home, action=Action.LIST_EVENTS),
        page("/welcome/{token}", at.accounts.welcome_form, action=Action.SIGN_IN),
        post("/welcome/{token}", at.accounts.welcome, action=Action.SIGN_IN),
        page("/login", at.accounts.login_form, action=Action.SIGN_IN),
        post("/login", at.accounts.login, action=Action.SIGN_IN),
        post("/logout", at.accounts.logout, action=Action.SIGN_OUT),
        page("/events", at.events.events, action=Action.LIST_EVENTS),
        post("/events", at.events.create, action=Action.CREATE_EVENT),
        page(event, at.events.event, action=Action.VIEW_EVENT),
        page(f"{event}/sources", at.events.sources, action=Action.VIEW_RUNS),
        post(f"{event}/sources", at.events.add_source, action=Action.INGEST),
        page(f"{event}/runs", at.events.runs, action=Action.VIEW_RUNS),
        post(f"{event}/runs/{{run_id:int}}/retry", at.events.retry, action=Action.INGEST),
        post(f"{event}/faces", at.events.faces, action=Action.DECIDE_FACES),
        page(f"{event}{photo}", at.events.photo, action=Action.VIEW_PHOTO),
        page(f"{event}/space", at.events.space, action=Action.VIEW_EVENT),
        page("/search", at.search.search, action=Action.SEARCH),
        page("/operations", at.operations.page, action=Action.OPERATE),
        page("/settings", at.accounts.settings, action=Action.CHANGE_SETTINGS),
        post("/settings/theme", at.accounts.set_theme, action=Action.CHANGE_SETTINGS),
        post("/settings/password", at.accounts.set_password, action=Action.CHANGE_SETTINGS),
        post("/settings/tokens", at.accounts.create_token, action=Action.MANAGE_TOKENS),
        post(
            "/settings/tokens/{token_id:int}/revoke",
            at.accounts.revoke_token,
            action=Action.MANAGE_TOKENS,
        ),
        get_api(f"{media}/thumb/{{photo_id:int}}.webp", at.media.thumb, action=Action.VIEW_PHOTO),
        get_api(f"{media}/preview/{{photo_id:int}}", at.media.preview, action=Action.VIEW_PHOTO),
        get_api(
            f"{media}/cloud/{{slug}}/{{version}}.bin", at.media.cloud, action=Action.VIEW_EVENT
        ),
        get_api(f"{v1}/events", at.api.events, action=Action.LIST_EVENTS),
        post_api(f"{v1}/events", at.api.create_event, action=Action.CREATE_EVENT),
        get_api(f"{v1}{event}", at.api.event, action=Action.VIEW_EVENT),
        get_api(f"{v1}{event}/photos", at.api.photos, action=Action.VIEW_EVENT),
        get_api(f"{v1}{event}/search", at.api.search, action=Action.SEARCH),
        get_api(f"{v1}{event}/runs", at.api.runs, action=Action.VIEW_RUNS),
        post_api(f"{v1}{event}/runs", at.api.start_run, action=Action.INGEST),
        get_api(f"{v1}{event}/space", at.api.space, action=Action.VIEW_EVENT),
        get_api(f"{v1}/runs/{{run_id:int}}", at.api.run, action=Action.VIEW_RUNS),
        post_api(f"{v1}/runs/{{run_id:int}}/retry", at.api.retry, action=Action.INGEST),
        get_api(f"{v1}{photo}", at.api.photo, action=Action.VIEW_PHOTO),
        get_api(f"{v1}{photo}/similar", at.api.similar, action=Action.VIEW_PHOTO),
        post("/ws/ticket", at.sockets.ticket, action=Action.WATCH),
        WebSocketRoute("/ws", at.sockets.open),
        page("/healthz", at.operations.healthz, action=Action.CHECK_HEALTH),
        page("/readyz", at.operations.readyz, action=Action.CHECK_HEALTH),
        page("/favicon.ico", favicon, action=Action.FETCH_ASSET),
        Mount("/static", Static(directory=static), name="static"),
    ]
