"""/api/v1 of events, photos and search: the handlers, each a few lines between typed bodies and the rooms."""

from __future__ import annotations

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from app.core.vectors import ModelInfo
from app.curate.scenes import scene_of
from app.search.similar import similar_photos
from app.space.store import LOOK, SPACES, built_spaces, latest_layout
from app.storage import gallery
from app.storage.engine import session_scope
from app.storage.events import all_events
from app.storage.tables_graph import GroupKind
from app.web import present
from app.web.commands import Commands
from app.web.errors import InvalidField, UnknownSpace
from app.web.guard import caller_of, json_body
from app.web.numbers import limit_of, whole
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
NO_FOLD = "none"


def fold_of(request: Request) -> GroupKind | None:
    """Which groups are folded; None for none. Raises InvalidField."""
    fold = request.query_params.get("fold", NO_FOLD)
    if fold == NO_FOLD:
        return None
    if fold not in set(GroupKind):
        raise InvalidField("fold", f"Fold is {NO_FOLD}, {', '.join(GroupKind)}.")
    return GroupKind(fold)


def space_name(request: Request) -> str:
    """Which of an event's spaces. Raises InvalidField."""
    name = request.query_params.get("name", LOOK)
    if name not in SPACES:
        raise InvalidField("name", f"The spaces are {', '.join(SPACES)}.")
    return name


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
        """GET /events/{slug}/photos?fold=&cluster=&cursor=&limit="""
        limit = limit_of(request, default=200, most=PHOTOS_LIMIT)
        fold = fold_of(request)
        slug = request.path_params["slug"]
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            cluster_id = whole(request, "cluster") or None
            if cluster_id is not None:
                scene_of(session, event.id, cluster_id)
            found = gallery.photo_slice(
                session,
                event.id,
                request.query_params.get("cursor"),
                limit,
                cluster_id=cluster_id,
                fold=fold,
            )
            total = gallery.photo_count(session, event.id, cluster_id=cluster_id, fold=fold)
            in_event = gallery.photo_count(session, event.id)
            ids = [photo.id for photo in found.photos]
            stacks = gallery.stacks(session, ids, fold) if fold else {}
        items = [present.gallery_photo(photo, slug, stacks.get(photo.id)) for photo in found.photos]
        return answer(Photos(items=items, next=found.next, total=total, in_event=in_event))

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
        """GET /events/{slug}/space?name="""
        slug, name = request.path_params["slug"], space_name(request)
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            layout = latest_layout(session, event.id, name)
            spaces = built_spaces(session, event.id)
        if layout is None:
            raise UnknownSpace(
                f"“{event.name}” has no space yet.", cure="It is built when an ingest settles."
            )
        body = SpaceBody(
            version=layout.version,
            count=layout.count,
            url=f"/media/cloud/{slug}/{layout.version}.bin",
            bounds=Bounds(min=layout.bounds[:3], max=layout.bounds[3:]),
            name=name,
            spaces=spaces,
            fit=layout.fit,
            trustworthiness=layout.trustworthiness,
        )
        return answer(body)
