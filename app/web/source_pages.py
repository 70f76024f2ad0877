"""The Sources tab: adding sources and looking after them, and the consent to faces."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from sqlalchemy import Engine
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core.errors import BadInput, Conflict, UnknownSource
from app.ingest import control
from app.ingest.figures import event_runs, source_runs
from app.ingest.health import source_health
from app.ingest.rescan import CHANGE_THE_LIST
from app.storage.engine import session_scope
from app.storage.tables import Event, Source
from app.web import present, present_sources
from app.web.commands import Commands, FaceDecision, Wanted
from app.web.contexts import FormError
from app.web.csrf import masked
from app.web.event_frame import event_and_head
from app.web.guard import caller_of
from app.web.render import Place, Renderer, wants_fragment
from app.web.source_contexts import CardError, NewSource, SourcesPage

_EARLIER = 20
_ASK_WORKING, _ASK_IDLE = 3, 20  # seconds; the socket tells of most changes before
_OPTION, _SECRET = "option.", "credential."  # what the names of a kind's inputs begin with

SAID = {
    "scanning": "The source is being looked at. Only what is new or changed is fetched.",
    "credentials": "The new credentials are stored, and the source is being looked at with them.",
    "options": "The options are saved, and the source is being looked at with them.",
    "forgotten": "The options are saved. They name another server, and the stored credentials don't"
    " go there: give them again, or rescan without.",
    "repointed": "The addresses are rewritten, and the new place is being looked at.",
    "relist": f"The addresses are rewritten. {CHANGE_THE_LIST}",
    "cleared": "The vanished photos are deleted.",
    "scheduled": "The schedule is saved.",
}


class SourcePages:
    def __init__(self, engine: Engine, commands: Commands, render: Renderer) -> None:
        self._engine = engine
        self._commands = commands
        self._ingests = commands.ingests
        self._render = render

    def sources(self, request: Request) -> Response:
        """GET /events/{slug}/sources; its live part alone for htmx"""
        if wants_fragment(request):
            return self.live(request)
        return self._page(request)

    def live(self, request: Request) -> Response:
        """The sources with their runs and failures, as they are now."""
        with session_scope(self._engine) as session:
            event, _ = event_and_head(session, request, "sources")
            page = self._context(session, request, event)
        return self._render.fragment("sources.html", page)

    # Adding

    def fields(self, request: Request) -> Response:
        """POST /source-fields: what the typed address is, and what its kind may be told"""
        form = caller_of(request).form
        kind = form.get("kind") or "auto"
        found = present_sources.look_at(form.get("source", ""), kind)
        return self._render.fragment("source_fields.html", NewSource(found=found))

    def add(self, request: Request) -> Response:
        """POST /events/{slug}/sources; with `step` = fields it only shows what the kind asks for"""
        caller, slug = caller_of(request), request.path_params["slug"]
        form = caller.form
        kind, source = form.get("kind") or "auto", form.get("source", "")
        rescan = form.get("rescan", "")
        options, secrets = _given(form, _OPTION), _given(form, _SECRET)
        asked_for = form.get("fields_of", "")
        told = present_sources.without_defaults(asked_for, options)
        found = present_sources.look_at(source, kind, told)
        typed = NewSource(source, kind, rescan, found)
        if form.get("step") == "fields":
            return self._page(request, add=typed)
        try:
            if (told or secrets) and asked_for and found.kind and asked_for != found.kind:
                raise BadInput(
                    "What was entered below was for another kind of source.",
                    cure="Fill in what this one needs, then start again.",
                )
            wanted = Wanted(
                source,
                kind,
                # An address that was added before keeps its own where the form shows none.
                options=told or None,
                credentials=secrets or None,
                rescan_seconds=_seconds(rescan),
            )
            run = self._commands.ingest(slug, wanted, caller.principal)
        except BadInput as error:
            if type(error) is not BadInput:  # an unknown event is no fault of the form
                raise
            failed = replace(typed, error=FormError("source", str(error)))
            return self._page(request, add=failed, status=422)
        return self._back(request, run.source_id)

    # Looking after one

    def rescan(self, request: Request) -> Response:
        """POST /events/{slug}/sources/{source_id}/rescan"""
        source_id = self._source_id(request)
        self._ingests.rescan(source_id, by=_by(request))
        if wants_fragment(request):
            return self.live(request)
        return self._back(request, source_id, "scanning")

    def schedule(self, request: Request) -> Response:
        """POST /events/{slug}/sources/{source_id}/schedule"""
        source_id = self._source_id(request)
        try:
            seconds = _seconds(caller_of(request).form.get("rescan", ""))
            self._ingests.schedule(source_id, seconds, by=_by(request))
        except BadInput as error:
            return self._refused(request, CardError(source_id, "schedule", str(error)))
        return self._back(request, source_id, "scheduled")

    def set_credentials(self, request: Request) -> Response:
        """POST /events/{slug}/sources/{source_id}/credentials"""
        source_id = self._source_id(request)
        form = caller_of(request).form
        given, typed = _given(form, _SECRET), _inputs(form, _OPTION)
        with session_scope(self._engine) as session:
            source = session.get_one(Source, source_id)
            options = present_sources.changed_options(source.kind, source.options, typed)
        try:
            if not given and not options:
                raise BadInput(
                    "No credential was entered, and no option changed.",
                    cure="Fill in at least one.",
                )
            forgotten = self._ingests.set_credentials(
                source_id, given or None, options=options, by=_by(request)
            )
            if not forgotten:
                self._ingests.rescan(source_id, by=_by(request))
        except BadInput as error:
            failed = CardError(source_id, "credentials", str(error), options=typed)
            return self._refused(request, failed)
        said = "forgotten" if forgotten else "credentials" if given else "options"
        return self._back(request, source_id, said)

    def repoint(self, request: Request) -> Response:
        """POST /events/{slug}/sources/{source_id}/repoint"""
        source_id, form = self._source_id(request), caller_of(request).form
        old, new = form.get("old", ""), form.get("new", "")
        try:
            _, run = self._ingests.repoint(source_id, old, new, by=_by(request))
        except (BadInput, Conflict) as error:
            return self._refused(request, CardError(source_id, "repoint", str(error), old, new))
        return self._back(request, source_id, "repointed" if run else "relist")

    def clear_vanished(self, request: Request) -> Response:
        """POST /events/{slug}/sources/{source_id}/clear-vanished"""
        source_id = self._source_id(request)
        self._ingests.clear_vanished(source_id, by=_by(request))
        return self._back(request, source_id, "cleared")

    # Faces

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
            return self._page(request, error=FormError("purpose", str(error)), status=422)
        return RedirectResponse(_address(request), 303)

    # What they share

    def _refused(self, request: Request, error: CardError) -> Response:
        return self._page(request, card_error=error, status=422)

    def _back(self, request: Request, source_id: int, said: str = "") -> Response:
        query = f"?said={said}" if said else ""
        return RedirectResponse(f"{_address(request)}{query}#source-{source_id}", 303)

    def _page(
        self,
        request: Request,
        *,
        add: NewSource | None = None,
        error: FormError | None = None,
        card_error: CardError | None = None,
        status: int = 200,
    ) -> Response:
        with session_scope(self._engine) as session:
            event, head = event_and_head(session, request, "sources")
            page = self._context(session, request, event, add, error, card_error)
        place = Place(event.name, "events", event=head)
        return self._render.page(request, "sources.html", page, place, status=status)

    def _context(
        self,
        session: Session,
        request: Request,
        event: Event,
        add: NewSource | None = None,
        error: FormError | None = None,
        card_error: CardError | None = None,
    ) -> SourcesPage:
        found = source_health(session, event.id)
        runs = source_runs(session, event.id)
        ignored = control.ignored_photos(session, event.id)
        shown = {run.id for run in runs.values()}
        cards = [
            present_sources.source_card(
                health,
                runs.get(health.id),
                sources=len(found),
                ignored=ignored.get(health.id, ()),
                error=card_error,
            )
            for health in reversed(found)  # the newest first
        ]
        busy = any(card.run and card.run.is_open and card.state != "paused" for card in cards)
        return SourcesPage(
            slug=event.slug,
            csrf_token=masked(caller_of(request).csrf_secret),
            cards=cards,
            earlier=[
                present.run_row(run)
                for run in event_runs(session, event.id, limit=_EARLIER + len(shown))
                if run.id not in shown
            ][:_EARLIER],
            photos=sum(card.photos for card in cards),
            attention=sum(card.attention for card in cards),
            seconds=_ASK_WORKING if busy else _ASK_IDLE,
            schedules=present_sources.schedules(cards),
            kinds=present_sources.kind_choices(),
            add=add or NewSource(),
            said=SAID.get(request.query_params.get("said", ""), ""),
            faces_on=event.faces_on,
            faces_purpose=event.faces_purpose,
            faces_policy=event.faces_policy,
            faces_retention_days=event.faces_retention_days,
            faces_decided_by=event.faces_decided_by,
            faces_decided_at=event.faces_decided_at,
            error=error,
        )

    def _source_id(self, request: Request) -> int:
        """That of the address, where it belongs to the address's event. Raises UnknownSource."""
        source_id: int = request.path_params["source_id"]
        with session_scope(self._engine) as session:
            event, _ = event_and_head(session, request, "sources")
            source = session.get(Source, source_id)
            if source is None or source.event_id != event.id:
                raise UnknownSource(source_id)
        return source_id


def _inputs(form: dict[str, str], prefix: str) -> dict[str, str]:
    """The inputs whose names begin so, without that beginning."""
    return {n[len(prefix) :]: value.strip() for n, value in form.items() if n.startswith(prefix)}


def _given(form: dict[str, str], prefix: str) -> dict[str, str]:
    """Those that are filled in."""
    return {name: value for name, value in _inputs(form, prefix).items() if value}


def _seconds(value: str) -> int | None:
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise BadInput("That is no schedule.", cure="Choose one from the list.")
    return int(value)


def _days(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 5:
        raise BadInput("The retention is a number of days.", cure="For example 90.")
    return int(value)


def _address(request: Request) -> str:
    return f"/events/{quote(request.path_params['slug'])}/sources"


def _by(request: Request) -> str:
    return caller_of(request).principal.label
