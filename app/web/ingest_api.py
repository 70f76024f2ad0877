"""/api/v1 of sources and runs: adding, rescanning, re-pointing; pausing, cancelling, retrying."""

from __future__ import annotations

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.core.errors import BadInput, UnknownSource
from app.core.failures import cure_for
from app.core.runs import RunSummary, SourceHealth
from app.ingest.figures import event_progress, event_runs, failed_photos, run_summary
from app.ingest.health import source_health
from app.ingest.rescan import CHANGE_THE_LIST
from app.sources.open import KINDS
from app.storage import gallery
from app.storage.engine import session_scope
from app.storage.tables import Source
from app.web.commands import Commands, Wanted
from app.web.guard import caller_of, json_body
from app.web.numbers import limit_of, whole
from app.web.schemas import (
    Chosen,
    Cleared,
    FailedBody,
    FailedList,
    FieldBody,
    KindBody,
    KindList,
    NewBase,
    NewCredentials,
    NewRun,
    RunList,
    Schedule,
    SourceList,
    ToRetry,
    answer,
    revealed,
)

FAILURES_LIMIT = 1000


class IngestApi:
    def __init__(self, engine: Engine, commands: Commands) -> None:
        self._engine = engine
        self._commands = commands
        self._ingests = commands.ingests

    def kinds(self, request: Request) -> Response:
        """GET /source-kinds"""
        items = [
            KindBody(
                name=kind.name,
                title=kind.title,
                example=kind.example,
                fields=[
                    FieldBody(
                        name=field.name,
                        label=field.label,
                        help=field.help,
                        secret=field.secret,
                        choices=list(field.choices),
                    )
                    for field in kind.fields
                ],
            )
            for kind in KINDS.values()
        ]
        return answer(KindList(items=items))

    # Runs

    def runs(self, request: Request) -> Response:
        """GET /events/{slug}/runs"""
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, request.path_params["slug"])
            runs = event_runs(session, event.id)
        return answer(RunList(items=[run.to_json() for run in runs]))

    def progress(self, request: Request) -> Response:
        """GET /events/{slug}/progress"""
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, request.path_params["slug"])
            found = event_progress(session, event.id)
        return JSONResponse(found.to_json())

    def start(self, request: Request) -> Response:
        """POST /events/{slug}/runs"""
        body = json_body(request, NewRun)
        wanted = Wanted(
            body.source,
            body.kind,
            body.options,
            revealed(body.credentials),
            body.rescan_seconds,
        )
        run = self._commands.ingest(
            request.path_params["slug"], wanted, caller_of(request).principal
        )
        return _begun(run)

    def run(self, request: Request) -> Response:
        """GET /runs/{run_id}"""
        with session_scope(self._engine) as session:
            run = run_summary(session, request.path_params["run_id"])
        return JSONResponse(run.to_json())

    def failures(self, request: Request) -> Response:
        """GET /runs/{run_id}/failures?reason=&after=&limit="""
        limit = limit_of(request, default=100, most=FAILURES_LIMIT)
        after = whole(request, "after")
        reason = request.query_params.get("reason") or None
        with session_scope(self._engine) as session:
            run = run_summary(session, request.path_params["run_id"])
            found = failed_photos(session, run.id, reason=reason, after=after, limit=limit + 1)
        groups = [group for group in run.failures if reason in (None, group.reason)]
        items = [
            FailedBody(
                photo_id=each.photo_id,
                uri=each.uri,
                reason=each.reason,
                message=each.message,
                cure=cure_for(each.reason),
                retriable=each.retriable,
            )
            for each in found[:limit]
        ]
        more = items[-1].photo_id if len(found) > limit else None
        total = sum(group.count for group in groups)
        return answer(FailedList(items=items, next=more, total=total))

    def pause(self, request: Request) -> Response:
        """POST /runs/{run_id}/pause"""
        return JSONResponse(self._ingests.pause(_run_id(request), by=_by(request)).to_json())

    def resume(self, request: Request) -> Response:
        """POST /runs/{run_id}/resume"""
        return _begun(self._ingests.resume(_run_id(request), by=_by(request)))

    def cancel(self, request: Request) -> Response:
        """POST /runs/{run_id}/cancel"""
        return JSONResponse(self._ingests.cancel(_run_id(request), by=_by(request)).to_json())

    def retry(self, request: Request) -> Response:
        """POST /runs/{run_id}/retry"""
        chosen = json_body(request, ToRetry) if caller_of(request).body else ToRetry()
        return _begun(
            self._ingests.retry(
                _run_id(request),
                by=_by(request),
                reason=chosen.reason or None,
                photo_id=chosen.photo_id,
                ignored=chosen.ignored,
            )
        )

    def ignore(self, request: Request) -> Response:
        """POST /runs/{run_id}/ignore"""
        chosen = json_body(request, Chosen) if caller_of(request).body else Chosen()
        run = self._ingests.ignore(
            _run_id(request),
            by=_by(request),
            reason=chosen.reason or None,
            photo_id=chosen.photo_id,
        )
        return JSONResponse(run.to_json())

    # Sources

    def sources(self, request: Request) -> Response:
        """GET /events/{slug}/sources"""
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, request.path_params["slug"])
            found = source_health(session, event.id)
        return answer(SourceList(items=[source.to_json() for source in found]))

    def rescan(self, request: Request) -> Response:
        """POST /sources/{source_id}/rescan"""
        return _begun(self._ingests.rescan(_source_id(request), by=_by(request)))

    def schedule(self, request: Request) -> Response:
        """POST /sources/{source_id}/schedule"""
        body = json_body(request, Schedule)
        self._ingests.schedule(_source_id(request), body.seconds, by=_by(request))
        return JSONResponse(self._source(_source_id(request)).to_json())

    def set_credentials(self, request: Request) -> Response:
        """POST /sources/{source_id}/credentials"""
        body = json_body(request, NewCredentials)
        if body.credentials is None and body.options is None:
            raise BadInput("Give credentials, options, or both.")
        self._ingests.set_credentials(
            _source_id(request),
            revealed(body.credentials),
            options=body.options,
            by=_by(request),
        )
        return JSONResponse(self._source(_source_id(request)).to_json())

    def repoint(self, request: Request) -> Response:
        """POST /sources/{source_id}/repoint"""
        body = json_body(request, NewBase)
        count, run = self._ingests.repoint(_source_id(request), body.old, body.new, by=_by(request))
        if run is None:
            return JSONResponse({"photos": count, "run": None, "hint": CHANGE_THE_LIST})
        found = {"photos": count, "run": run.to_json(), "hint": None}
        return JSONResponse(found, 202, _location(run))

    def clear_vanished(self, request: Request) -> Response:
        """POST /sources/{source_id}/clear-vanished"""
        count = self._ingests.clear_vanished(_source_id(request), by=_by(request))
        return answer(Cleared(photos=count))

    def _source(self, source_id: int) -> SourceHealth:
        with session_scope(self._engine) as session:
            row = session.get(Source, source_id)
            found = source_health(session, row.event_id) if row is not None else []
        for source in found:
            if source.id == source_id:
                return source
        raise UnknownSource(source_id)


def _begun(run: RunSummary) -> Response:
    return JSONResponse(run.to_json(), 202, _location(run))


def _location(run: RunSummary) -> dict[str, str]:
    return {"Location": f"/api/v1/runs/{run.id}"}


def _run_id(request: Request) -> int:
    found: int = request.path_params["run_id"]
    return found


def _source_id(request: Request) -> int:
    found: int = request.path_params["source_id"]
    return found


def _by(request: Request) -> str:
    return caller_of(request).principal.label
