"""/api/v1: the handlers, each a few lines between typed bodies and the rooms."""

from __future__ import annotations

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.core.vectors import ModelInfo
from app.ingest.figures import event_runs, run_summary
from app.search.similar import similar_photos
from app.space.store import latest_layout
from app.storage import gallery
from app.storage.engine import session_scope
from app.storage.events import all_events
from app.web import present
from app.web.commands import Commands
from app.web.errors import InvalidField, Malformed, UnknownSpace
from app.web.guard import caller_of, json_body
from app.web.schemas import (
    Bounds,
    Events,
    Hits,
    NewEvent,
    NewRun,
    Photos,
    Retry,
    RunList,
    SearchResult,
    SpaceBody,
    answer,
)
from app.web.searching import Searcher

PHOTOS_LIMIT = 1000
HITS_LIMIT = 500


class Api:
    def __init__(
        self, engine: Engine, commands: Commands, searcher: Searcher, image_model: ModelInfo
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._searcher = searcher
        self._image_model = image_model

    def events(self, request: Request) -> Response:
        """GET /events"""
        with session_scope(self._engine) as session:
            events = all_events(session)
            counts = gallery.event_counts(session, [event.id for event in events])
        return answer(Events(items=[present.event_body(e, counts[e.id]) for e in events]))

    def create_event(self, request: Request) -> Response:
        """POST /events"""
        body = json_body(request, NewEvent)
        event = self._commands.create_event(body.name, body.date, caller_of(request).principal)
        created = answer(present.event_body(event, gallery.EventCounts()), 201)
        created.headers["Location"] = f"/api/v1/events/{event.slug}"
        return created

    def event(self, request: Request) -> Response:
        """GET /events/{slug}"""
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, request.path_params["slug"])
            counts = gallery.event_counts(session, [event.id])[event.id]
        return answer(present.event_body(event, counts))

    def photos(self, request: Request) -> Response:
        """GET /events/{slug}/photos?cursor=&limit="""
        limit = _limit(request, default=200, most=PHOTOS_LIMIT)
        slug = request.path_params["slug"]
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            found = gallery.photo_slice(
                session, event.id, request.query_params.get("cursor"), limit
            )
            total = gallery.photo_count(session, event.id)
        items = [present.photo_body(photo, slug) for photo in found.photos]
        return answer(Photos(items=items, next=found.next, total=total))

    def search(self, request: Request) -> Response:
        """GET /events/{slug}/search?q=&limit="""
        limit = _limit(request, default=60, most=HITS_LIMIT)
        slug, query = request.path_params["slug"], request.query_params.get("q", "")
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            hits, seconds = self._searcher.search(session, [event], query, limit)
        items = [present.hit_body(hit, slug) for hit in hits]
        return answer(SearchResult(query=query, items=items, seconds=round(seconds, 4)))

    def runs(self, request: Request) -> Response:
        """GET /events/{slug}/runs"""
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, request.path_params["slug"])
            runs = event_runs(session, event.id)
        return answer(RunList(items=[run.to_json() for run in runs]))

    def start_run(self, request: Request) -> Response:
        """POST /events/{slug}/runs"""
        body = json_body(request, NewRun)
        run = self._commands.ingest(
            request.path_params["slug"], body.source, body.kind, caller_of(request).principal
        )
        headers = {"Location": f"/api/v1/runs/{run.id}"}
        return JSONResponse(run.to_json(), 202, headers)

    def run(self, request: Request) -> Response:
        """GET /runs/{run_id}"""
        with session_scope(self._engine) as session:
            run = run_summary(session, request.path_params["run_id"])
        return JSONResponse(run.to_json())

    def retry(self, request: Request) -> Response:
        """POST /runs/{run_id}/retry"""
        body = json_body(request, Retry) if caller_of(request).body else Retry()
        principal = caller_of(request).principal
        run = self._commands.retry(request.path_params["run_id"], body.reason, principal)
        return JSONResponse(run.to_json(), 202)

    def photo(self, request: Request) -> Response:
        """GET /photos/{photo_id}"""
        photo_id = request.path_params["photo_id"]
        with session_scope(self._engine) as session:
            photo, event, _ = gallery.indexed_photo(session, photo_id)
            faces = gallery.photo_faces(session, photo_id)
        return answer(present.photo_detail(photo, event.slug, faces))

    def similar(self, request: Request) -> Response:
        """GET /photos/{photo_id}/similar?limit="""
        limit = _limit(request, default=60, most=HITS_LIMIT)
        with session_scope(self._engine) as session:
            photo, event, _ = gallery.indexed_photo(session, request.path_params["photo_id"])
            hits = similar_photos(session, self._image_model, photo, limit)
        return answer(Hits(items=[present.hit_body(hit, event.slug) for hit in hits]))

    def space(self, request: Request) -> Response:
        """GET /events/{slug}/space"""
        slug = request.path_params["slug"]
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            layout = latest_layout(session, event.id)
        if layout is None:
            raise UnknownSpace(
                f"“{event.name}” has no space yet.", cure="It is built when an ingest settles."
            )
        body = SpaceBody(
            version=layout.version,
            count=layout.count,
            url=f"/media/cloud/{slug}/{layout.version}.bin",
            bounds=Bounds(min=layout.bounds[:3], max=layout.bounds[3:]),
        )
        return answer(body)


def _limit(request: Request, *, default: int, most: int) -> int:
    given = request.query_params.get("limit")
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        raise Malformed("The limit is a whole number.")
    if not 1 <= int(given) <= most:
        raise InvalidField("limit", f"The limit is 1 to {most}.")
    return int(given)
