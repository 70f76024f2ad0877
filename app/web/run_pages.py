"""Runs on the Sources tab: pause, resume, cancel; failures one by one, retried or ignored."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core.errors import UnknownRun
from app.core.runs import RunSummary
from app.ingest.figures import count_failed, failed_photos, run_summary
from app.ingest.service import IngestService
from app.storage.engine import session_scope
from app.web import present_sources
from app.web.csrf import masked
from app.web.event_frame import event_and_head
from app.web.guard import caller_of
from app.web.numbers import form_number, whole
from app.web.render import Place, Renderer, wants_fragment
from app.web.source_contexts import FailuresPage

PAGE = 50


class RunPages:
    """`live` answers with the live part of the Sources tab, after something was changed."""

    def __init__(
        self,
        engine: Engine,
        ingests: IngestService,
        render: Renderer,
        live: Callable[[Request], Response],
    ) -> None:
        self._engine = engine
        self._ingests = ingests
        self._render = render
        self._live = live

    def pause(self, request: Request) -> Response:
        """POST /events/{slug}/runs/{run_id}/pause"""
        return self._changed(request, self._ingests.pause(self._run(request).id, by=_by(request)))

    def resume(self, request: Request) -> Response:
        """POST /events/{slug}/runs/{run_id}/resume"""
        return self._changed(request, self._ingests.resume(self._run(request).id, by=_by(request)))

    def cancel(self, request: Request) -> Response:
        """POST /events/{slug}/runs/{run_id}/cancel"""
        return self._changed(request, self._ingests.cancel(self._run(request).id, by=_by(request)))

    def retry(self, request: Request) -> Response:
        """POST /events/{slug}/runs/{run_id}/retry"""
        reason, photo_id = _chosen(request)
        run = self._ingests.retry(
            self._run(request).id,
            by=_by(request),
            reason=reason,
            photo_id=photo_id,
            ignored=caller_of(request).form.get("ignored") == "1",
        )
        return self._changed(request, run)

    def ignore(self, request: Request) -> Response:
        """POST /events/{slug}/runs/{run_id}/ignore"""
        reason, photo_id = _chosen(request)
        run = self._ingests.ignore(
            self._run(request).id, by=_by(request), reason=reason, photo_id=photo_id
        )
        return self._changed(request, run)

    def failures(self, request: Request) -> Response:
        """GET /events/{slug}/runs/{run_id}/failures?reason=&after="""
        run = self._run(request)
        reason, after = request.query_params.get("reason", ""), whole(request, "after")
        with session_scope(self._engine) as session:
            event, head = event_and_head(session, request, "sources")
            found = failed_photos(
                session, run.id, reason=reason or None, after=after, limit=PAGE + 1
            )
            left = count_failed(session, run.id, reason=reason or None, after=after)
        total = sum(group.count for group in run.failures if reason in ("", group.reason))
        rows = [present_sources.failed_row(each) for each in found[:PAGE]]
        page = FailuresPage(
            slug=event.slug,
            csrf_token=masked(caller_of(request).csrf_secret),
            run_id=run.id,
            source=run.source,
            reason=reason,
            cure=present_sources.cure_of(reason),
            rows=rows,
            after=after,
            next=rows[-1].photo_id if len(found) > PAGE else None,
            left=left,
            total=total,
        )
        if wants_fragment(request):
            return self._render.fragment("failures.html", page)
        place = Place(f"Failures of run {run.id}", "events", event=head)
        return self._render.page(request, "failures.html", page, place)

    def _changed(self, request: Request, run: RunSummary) -> Response:
        form = caller_of(request).form
        if wants_fragment(request):
            # A single row takes itself away; the script then asks for the rest.
            return Response() if form.get("photo_id") else self._live(request)
        base = f"/events/{quote(run.event)}"
        if form.get("back") == "failures":
            reason = quote(form.get("of", ""), safe="")
            return RedirectResponse(f"{base}/runs/{run.id}/failures?reason={reason}", 303)
        return RedirectResponse(f"{base}/sources#source-{run.source_id}", 303)

    def _run(self, request: Request) -> RunSummary:
        """The run of the address, where it belongs to the address's event. Raises UnknownRun."""
        run_id: int = request.path_params["run_id"]
        with session_scope(self._engine) as session:
            run = run_summary(session, run_id)
        if run.event != request.path_params["slug"]:
            raise UnknownRun(run_id)
        return run


def _chosen(request: Request) -> tuple[str | None, int | None]:
    """(reason, photo) of the form, None for those that it doesn't name. Raises Malformed."""
    form = caller_of(request).form
    photo_id = form_number(form, "photo_id", "photo")
    return form.get("reason") or None, photo_id


def _by(request: Request) -> str:
    return caller_of(request).principal.label
