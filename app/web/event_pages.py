"""Pages of all events and of one event: photos, a photo, the space. Its sources: source_pages.py."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlencode

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core.errors import BadInput, UnknownPhoto
from app.core.vectors import ModelInfo
from app.curate.scenes import scene_of
from app.ingest.figures import event_progress
from app.search.similar import similar_photos
from app.space.store import LOOK, LOOK_TIME, PEOPLE, built_spaces, latest_layout
from app.storage import gallery
from app.storage.engine import session_scope
from app.storage.events import all_events
from app.storage.tables_graph import GroupKind
from app.web import present
from app.web.api import NO_FOLD, fold_of, space_name
from app.web.commands import Commands, Wanted, recognised
from app.web.contexts import (
    EventHead,
    EventPage,
    EventsPage,
    FormError,
    PhotoPage,
    SpacePage,
)
from app.web.event_frame import event_and_head
from app.web.guard import caller_of
from app.web.numbers import whole
from app.web.render import Place, Renderer

_SIMILAR = 12
SPACE_LABELS = {LOOK: "By look", LOOK_TIME: "By look and time", PEOPLE: "By people"}


class EventPages:
    def __init__(
        self, engine: Engine, commands: Commands, render: Renderer, image_model: ModelInfo
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._render = render
        self._image_model = image_model

    def home(self, request: Request) -> Response:
        """GET /"""
        return RedirectResponse("/events", 303)

    def events(self, request: Request) -> Response:
        """GET /events"""
        return self._events(request)

    def create(self, request: Request) -> Response:
        """POST /events"""
        caller = caller_of(request)
        name = caller.form.get("name", "")
        source = caller.form.get("source", "").strip()
        field = "name"
        try:
            field = "source"
            if source:
                recognised(source, "auto")
            field = "date"
            on = _date(caller.form.get("date", ""))
            field = "name"
            event = self._commands.create_event(name, on, caller.principal)
        except BadInput as error:
            return self._events(request, FormError(field, str(error)), name)
        if source:
            self._commands.ingest(event.slug, Wanted(source), caller.principal)
        return RedirectResponse(f"/events/{event.slug}", 303)

    def _events(self, request: Request, error: FormError | None = None, name: str = "") -> Response:
        with session_scope(self._engine) as session:
            events = all_events(session)
            ids = [event.id for event in events]
            counts = gallery.event_counts(session, ids)
            covers = gallery.covers(session, ids)
        cards = [present.event_card(e, counts[e.id], covers[e.id]) for e in events]
        return self._render.page(
            request,
            "events.html",
            EventsPage(cards, error, name),
            Place("Events", "events"),
            status=422 if error else 200,
        )

    def event(self, request: Request) -> Response:
        """GET /events/{slug}"""
        cluster_id = whole(request, "cluster") or None
        folded = fold_of(request) if "fold" in request.query_params else GroupKind.BURST
        fold = folded.value if folded else NO_FOLD
        with session_scope(self._engine) as session:
            event, head = event_and_head(session, request, "photos")
            going = event_progress(session, event.id)
            scene = scene_of(session, event.id, cluster_id) if cluster_id else None
        # A group may reach into another scene, where its best frame is: a scene is shown unfolded.
        asked = {"cluster": f"{cluster_id}"} if scene else {"fold": fold}
        page = EventPage(
            api_url=f"/api/v1/events/{event.slug}/photos?{urlencode(asked)}",
            fold=fold,
            scene=scene.name if scene else None,
            run_id=going.runs[0].id if going.runs else None,
            query=request.query_params.get("q", "")[:500],
            has_photos=head.photo_count > 0,
            running=going.state in ("pending", "working"),
        )
        return self._page(request, "event.html", page, event.name, head, entry="gallery")

    def photo(self, request: Request) -> Response:
        """GET /events/{slug}/photos/{photo_id}"""
        slug, photo_id = request.path_params["slug"], request.path_params["photo_id"]
        with session_scope(self._engine) as session:
            event, head = event_and_head(session, request, "photos")
            photo, its_event, _ = gallery.indexed_photo(session, photo_id)
            if its_event.id != event.id:
                raise UnknownPhoto(photo_id)
            similar = similar_photos(session, self._image_model, photo, _SIMILAR)
            before, after = gallery.neighbours(session, photo)
            faces = gallery.photo_faces(session, photo_id)
            renditions = gallery.photo_renditions(session, photo_id)
        page = PhotoPage(
            id=photo.id,
            title=present.title_of(photo),
            width=photo.width or 1,
            height=photo.height or 1,
            thumb_url=present.thumb_url(photo),
            preview_url=f"/media/preview/{photo.id}?size=2048",
            uri=photo.uri,
            health=present.photo_health(photo),
            facts=present.photo_facts(photo, renditions),
            faces=[present.face_box(face) for face in faces],
            similar=[present.tile(hit.photo, slug, hit.score) for hit in similar],
            back_url=f"/events/{slug}",
            previous_url=present.photo_url(slug, before) if before else None,
            next_url=present.photo_url(slug, after) if after else None,
        )
        return self._page(request, "photo.html", page, page.title, head, entry="photo")

    def space(self, request: Request) -> Response:
        """GET /events/{slug}/space"""
        name = space_name(request)
        with session_scope(self._engine) as session:
            event, head = event_and_head(session, request, "space")
            layout = latest_layout(session, event.id, name)
            built = built_spaces(session, event.id)
        base = f"/api/v1/events/{event.slug}/space"
        page = SpacePage(
            manifest_url=base if name == LOOK else f"{base}?{urlencode({'name': name})}",
            name=name,
            spaces=[(each, SPACE_LABELS[each]) for each in built],
            photo_count=head.photo_count,
            point_count=layout.count if layout else 0,
        )
        return self._page(request, "space.html", page, event.name, head, entry="space")

    def _page(
        self,
        request: Request,
        template: str,
        page: object,
        title: str,
        head: EventHead,
        *,
        entry: str = "base",
        status: int = 200,
    ) -> Response:
        return self._render.page(
            request,
            template,
            page,
            Place(title, "events", entry, head),
            status=status,
        )


def _date(value: str) -> date | None:
    if not value.strip():
        return None
    try:
        return date.fromisoformat(value.strip())
    except ValueError as error:
        raise BadInput(f"“{value}” is no date.", cure="Write it as 2026-07-31.") from error
