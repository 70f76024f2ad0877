"""/api/v1 of events, photos and search: the handlers, each a few lines between typed bodies and the rooms."""

from __future__ import annotations

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from app.core.vectors import ModelInfo
from app.search.similar import similar_photos
from app.space.store import latest_layout
from app.storage import gallery
from app.storage.engine import session_scope
from app.storage.events import all_events
from app.web import present
from app.web.commands import Commands
from app.web.errors import UnknownSpace
from app.web.guard import caller_of, json_body
from app.web.numbers import limit_of
from app.web.schemas import (
    Bounds,
    Events,
    Hits,
    NewEvent,
    Photos,
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
        limit = limit_of(request, default=200, most=PHOTOS_LIMIT)
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
        limit = limit_of(request, default=60, most=HITS_LIMIT)
        slug, query = request.path_params["slug"], request.query_params.get("q", "")
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            hits, seconds = self._searcher.search(session, [event], query, limit)
        items = [present.hit_body(hit, slug) for hit in hits]
        return answer(SearchResult(query=query, items=items, seconds=round(seconds, 4)))

    def photo(self, request: Request) -> Response:
        """GET /photos/{photo_id}"""
        photo_id = request.path_params["photo_id"]
        with session_scope(self._engine) as session:
            photo, event, _ = gallery.indexed_photo(session, photo_id)
            faces = gallery.photo_faces(session, photo_id)
            renditions = gallery.photo_renditions(session, photo_id)
        return answer(present.photo_detail(photo, event.slug, faces, renditions))

    def similar(self, request: Request) -> Response:
        """GET /photos/{photo_id}/similar?limit="""
        limit = limit_of(request, default=60, most=HITS_LIMIT)
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
