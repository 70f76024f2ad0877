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
from app.web.curate_api import CurateApi
from app.web.curate_pages import CuratePages
from app.web.event_pages import EventPages
from app.web.graph_api import GraphApi
from app.web.guard import GuardedRoute
from app.web.ingest_api import IngestApi
from app.web.media import Media
from app.web.operations import Operations
from app.web.run_pages import RunPages
from app.web.searching import SearchPages
from app.web.sockets import Sockets
from app.web.source_pages import SourcePages


@dataclass(frozen=True, slots=True)
class Handlers:
    accounts: AccountPages
    events: EventPages
    sources: SourcePages
    runs: RunPages
    search: SearchPages
    operations: Operations
    media: Media
    api: Api
    ingests: IngestApi
    graph: GraphApi
    curation: CurateApi
    curating: CuratePages
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
    run, source = "/runs/{run_id:int}", "/sources/{source_id:int}"
    group, cluster = "/groups/{group_id:int}", "/clusters/{cluster_id:int}"
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
        page(f"{event}/sources", at.sources.sources, action=Action.VIEW_RUNS),
        post(f"{event}/sources", at.sources.add, action=Action.INGEST),
        post("/source-fields", at.sources.fields, action=Action.INGEST),
        post(f"{event}{source}/rescan", at.sources.rescan, action=Action.INGEST),
        post(f"{event}{source}/schedule", at.sources.schedule, action=Action.CHANGE_SOURCE),
        post(
            f"{event}{source}/credentials", at.sources.set_credentials, action=Action.CHANGE_SOURCE
        ),
        post(f"{event}{source}/repoint", at.sources.repoint, action=Action.RE_POINT),
        post(
            f"{event}{source}/clear-vanished",
            at.sources.clear_vanished,
            action=Action.CLEAR_VANISHED,
        ),
        page(f"{event}{run}/failures", at.runs.failures, action=Action.VIEW_RUNS),
        post(f"{event}{run}/pause", at.runs.pause, action=Action.CONTROL_RUNS),
        post(f"{event}{run}/resume", at.runs.resume, action=Action.CONTROL_RUNS),
        post(f"{event}{run}/cancel", at.runs.cancel, action=Action.CONTROL_RUNS),
        post(f"{event}{run}/retry", at.runs.retry, action=Action.CONTROL_RUNS),
        post(f"{event}{run}/ignore", at.runs.ignore, action=Action.CONTROL_RUNS),
        post(f"{event}/faces", at.sources.faces, action=Action.DECIDE_FACES),
        page(f"{event}{photo}", at.events.photo, action=Action.VIEW_PHOTO),
        page(f"{event}/duplicates", at.curating.duplicates, action=Action.VIEW_EVENT),
        post(f"{event}{group}/judge", at.curating.judge, action=Action.CURATE),
        post(f"{event}{group}/best", at.curating.best, action=Action.CURATE),
        post(f"{event}/undo", at.curating.undo, action=Action.CURATE),
        post(f"{event}/redo", at.curating.redo, action=Action.CURATE),
        post(f"{event}/sensitivity", at.curating.sensitivity, action=Action.CURATE),
        page(f"{event}/scenes", at.curating.scenes, action=Action.VIEW_EVENT),
        post(f"{event}{cluster}/name", at.curating.rename, action=Action.CURATE),
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
        get_api(f"{v1}{event}/space", at.api.space, action=Action.VIEW_EVENT),
        get_api(f"{v1}{event}/stages", at.graph.stages, action=Action.VIEW_EVENT),
        get_api(f"{v1}{event}/runs", at.ingests.runs, action=Action.VIEW_RUNS),
        post_api(f"{v1}{event}/runs", at.ingests.start, action=Action.INGEST),
        get_api(f"{v1}{event}/progress", at.ingests.progress, action=Action.VIEW_RUNS),
        get_api(f"{v1}{event}/sources", at.ingests.sources, action=Action.VIEW_RUNS),
        get_api(f"{v1}{run}", at.ingests.run, action=Action.VIEW_RUNS),
        get_api(f"{v1}{run}/failures", at.ingests.failures, action=Action.VIEW_RUNS),
        post_api(f"{v1}{run}/pause", at.ingests.pause, action=Action.CONTROL_RUNS),
        post_api(f"{v1}{run}/resume", at.ingests.resume, action=Action.CONTROL_RUNS),
        post_api(f"{v1}{run}/cancel", at.ingests.cancel, action=Action.CONTROL_RUNS),
        post_api(f"{v1}{run}/retry", at.ingests.retry, action=Action.CONTROL_RUNS),
        post_api(f"{v1}{run}/ignore", at.ingests.ignore, action=Action.CONTROL_RUNS),
        post_api(f"{v1}{source}/rescan", at.ingests.rescan, action=Action.INGEST),
        post_api(f"{v1}{source}/schedule", at.ingests.schedule, action=Action.CHANGE_SOURCE),
        post_api(
            f"{v1}{source}/credentials", at.ingests.set_credentials, action=Action.CHANGE_SOURCE
        ),
        post_api(f"{v1}{source}/repoint", at.ingests.repoint, action=Action.RE_POINT),
        post_api(
            f"{v1}{source}/clear-vanished", at.ingests.clear_vanished, action=Action.CLEAR_VANISHED
        ),
        get_api(f"{v1}/source-kinds", at.ingests.kinds, action=Action.VIEW_RUNS),
        get_api(f"{v1}{photo}", at.api.photo, action=Action.VIEW_PHOTO),
        get_api(f"{v1}{photo}/similar", at.api.similar, action=Action.VIEW_PHOTO),
        get_api(f"{v1}{photo}/neighbours", at.graph.neighbours, action=Action.VIEW_PHOTO),
        get_api(f"{v1}{event}/groups", at.curation.groups, action=Action.VIEW_EVENT),
        get_api(f"{v1}{group}", at.curation.group, action=Action.VIEW_EVENT),
        post_api(f"{v1}{group}/judge", at.curation.judge, action=Action.CURATE),
        post_api(f"{v1}{group}/best", at.curation.best, action=Action.CURATE),
        post_api(f"{v1}{event}/sensitivity", at.curation.sensitivity, action=Action.CURATE),
        post_api(f"{v1}{event}/decisions", at.curation.decide, action=Action.CURATE),
        post_api(f"{v1}{event}/undo", at.curation.undo, action=Action.CURATE),
        post_api(f"{v1}{event}/redo", at.curation.redo, action=Action.CURATE),
        get_api(f"{v1}{event}/clusters", at.curation.clusters, action=Action.VIEW_EVENT),
        post_api(f"{v1}{cluster}/name", at.curation.rename, action=Action.CURATE),
        post("/ws/ticket", at.sockets.ticket, action=Action.WATCH),
        WebSocketRoute("/ws", at.sockets.open),
        page("/healthz", at.operations.healthz, action=Action.CHECK_HEALTH),
        page("/readyz", at.operations.readyz, action=Action.CHECK_HEALTH),
        page("/favicon.ico", favicon, action=Action.FETCH_ASSET),
        Mount("/static", Static(directory=static), name="static"),
    ]
