"""Pages of all events and of one event: photos, sources with their runs, consent, photo, space."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Engine
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core.errors import BadInput, UnknownPhoto, UnknownRun
from app.core.vectors import ModelInfo
from app.ingest.figures import event_runs, latest_run, run_summary
from app.search.similar import similar_photos
from app.space.store import latest_layout
from app.storage import gallery
from app.storage.engine import session_scope
from app.storage.events import all_events
from app.storage.tables import Event
from app.web import present
from app.web.commands import Commands, FaceDecision, recognised
from app.web.contexts import (
    EventHead,
    EventPage,
    EventsPage,
    FormError,
    PhotoPage,
    SourcesPage,
    SpacePage,
)
from app.web.guard import caller_of
from app.web.render import Place, Renderer

_SIMILAR = 12


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
            self._commands.ingest(event.slug, source, "auto", caller.principal)
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
        with session_scope(self._engine) as session:
            event, head = _event(session, request, "photos")
            run = latest_run(session, event.id)
        page = EventPage(
            api_url=f"/api/v1/events/{event.slug}/photos",
            run_id=run.id if run else None,
            query=request.query_params.get("q", "")[:500],
            has_photos=head.photo_count > 0,
            running=run is not None and run.state in ("pending", "working"),
        )
        return self._page(request, "event.html", page, event.name, head, entry="gallery")

    def sources(self, request: Request) -> Response:
        """GET /events/{slug}/sources"""
        return self._sources(request)

    def add_source(self, request: Request) -> Response:
        """POST /events/{slug}/sources"""
        caller = caller_of(request)
        slug, source = request.path_params["slug"], caller.form.get("source", "")
        try:
            kind = caller.form.get("kind") or "auto"
            self._commands.ingest(slug, source, kind, caller.principal)
        except BadInput as error:
            if type(error) is not BadInput:  # an unknown event is no fault of the form
                raise
            return self._sources(request, FormError("source", str(error)), source)
        return RedirectResponse(f"/events/{slug}/sources", 303)

    def faces(self, request: Request) -> Response:
        """POST /events/{slug}/faces"""
        caller = caller_of(request)
        slug, form = request.path_params["slug"], caller.form
        try:
            days = form.get("retention_days", "").strip()
            decision = FaceDecision(
                on=form.get("on") == "1",
                purpose=form.get("purpose", ""),
                policy=form.get("policy", ""),
                retention_days=_days(days) if days else None,
            )
            self._commands.decide_faces(slug, decision, caller.principal)
        except BadInput as error:
            if type(error) is not BadInput:
                raise
            return self._sources(request, FormError("purpose", str(error)))
        return RedirectResponse(f"/events/{slug}/sources", 303)

    def runs(self, request: Request) -> Response:
        """GET /events/{slug}/runs"""
        with session_scope(self._engine) as session:
            event, _ = _event(session, request, "sources")
            page = _sources_page(session, event, None, "")
        return self._render.fragment("runs.html", page)

    def retry(self, request: Request) -> Response:
        """POST /events/{slug}/runs/{run_id}/retry"""
        caller = caller_of(request)
        run_id = request.path_params["run_id"]
        with session_scope(self._engine) as session:
            if run_summary(session, run_id).event != request.path_params["slug"]:
                raise UnknownRun(run_id)
        self._commands.retry(run_id, caller.form.get("reason"), caller.principal)
        return self.runs(request)

    def _sources(
        self, request: Request, error: FormError | None = None, source: str = ""
    ) -> Response:
        with session_scope(self._engine) as session:
            event, head = _event(session, request, "sources")
            page = _sources_page(session, event, error, source)
        status = 422 if error else 200
        return self._page(request, "sources.html", page, event.name, head, status=status)

    def photo(self, request: Request) -> Response:
        """GET /events/{slug}/photos/{photo_id}"""
        slug, photo_id = request.path_params["slug"], request.path_params["photo_id"]
        with session_scope(self._engine) as session:
            event, head = _event(session, request, "photos")
            photo, its_event, _ = gallery.indexed_photo(session, photo_id)
            if its_event.id != event.id:
                raise UnknownPhoto(photo_id)
            similar = similar_photos(session, self._image_model, photo, _SIMILAR)
            before, after = gallery.neighbours(session, photo)
            faces = gallery.photo_faces(session, photo_id)
        page = PhotoPage(
            id=photo.id,
            title=present.title_of(photo),
            width=photo.width or 1,
            height=photo.height or 1,
            thumb_url=present.thumb_url(photo),
            preview_url=f"/media/preview/{photo.id}?size=2048",
            uri=photo.uri,
            facts=present.photo_facts(photo),
            faces=[present.face_box(face) for face in faces],
            similar=[present.tile(hit.photo, slug, hit.score) for hit in similar],
            back_url=f"/events/{slug}",
            previous_url=present.photo_url(slug, before) if before else None,
            next_url=present.photo_url(slug, after) if after else None,
        )
        return self._page(request, "photo.html", page, page.title, head, entry="photo")

    def space(self, request: Request) -> Response:
        """GET /events/{slug}/space"""
        with session_scope(self._engine) as session:
            event, head = _event(session, request, "space")
            layout = latest_layout(session, event.id)
        page = SpacePage(
            manifest_url=f"/api/v1/events/{event.slug}/space",
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


def _event(session: Session, request: Request, active: str) -> tuple[Event, EventHead]:
    event = gallery.event_by_slug(session, request.path_params["slug"])
    counts = gallery.event_counts(session, [event.id])[event.id]
    return event, present.event_head(event, counts, active)


def _sources_page(
    session: Session, event: Event, error: FormError | None, source: str
) -> SourcesPage:
    return SourcesPage(
        runs=[present.run_row(run) for run in event_runs(session, event.id)],
        faces_on=event.faces_on,
        faces_purpose=event.faces_purpose,
        faces_policy=event.faces_policy,
        faces_retention_days=event.faces_retention_days,
        faces_decided_by=event.faces_decided_by,
        faces_decided_at=event.faces_decided_at,
        error=error,
        form_source=source,
    )


def _date(value: str) -> date | None:
    if not value.strip():
        return None
    try:
        return date.fromisoformat(value.strip())
    except ValueError as error:
        raise BadInput(f"“{value}” is no date.", cure="Write it as 2026-07-31.") from error


def _days(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 5:
        raise BadInput("The retention is a number of days.", cure="For example 90.")
    return int(value)
