"""What people ask of sources and runs, for pages, API and command line alike.

Each method is one transaction with its audit entry, and nudges workers after the commit. `by` names
who asks, as the audit log shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlmodel import Session, select

from app.core.errors import UnknownSource
from app.core.jobs import Job, JobQueue
from app.core.runs import RunSummary
from app.core.sources import SourceSpec, pairs
from app.ingest import control, rescan, runs
from app.ingest.figures import run_summary
from app.ingest.nudges import nudge, send_tickets
from app.sources.open import kind_of
from app.storage import audit
from app.storage.blobs import BlobStore, thumb_key
from app.storage.engine import session_scope
from app.storage.sealing import Sealer
from app.storage.tables import Event, Run, RunKind, Source


class IngestService:
    """`chunk_size` is the number of photos in one ingest message. `tell` hears the id of an event
    whose figures were changed, after the commit, so that open pages show it at once."""

    def __init__(
        self,
        engine: Engine,
        jobs: JobQueue,
        sealer: Sealer,
        blobs: BlobStore,
        chunk_size: int,
        *,
        tell: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._sealer = sealer
        self._blobs = blobs
        self._chunk_size = chunk_size
        self._tell = tell

    def start(
        self,
        event_id: int,
        kind: str,
        uri: str,
        *,
        by: str,
        options: Mapping[str, str] | None = None,
        credentials: Mapping[str, str] | None = None,
        rescan_seconds: int | None = None,
    ) -> RunSummary:
        """Read a source into an event. Options and credentials that are given are kept for later
        runs, and so is how often it is to be rescanned. Raises BadInput for what can't be."""
        kind_of(kind).check(
            SourceSpec(kind, uri, pairs(options or {}), pairs(credentials or {})),
        )
        with session_scope(self._engine) as session:
            event = session.get_one(Event, event_id)
            if options is not None and not credentials:
                _keep_credentials_home(session, event, kind, uri, options)
            run = runs.start_ingest(
                session,
                event,
                kind,
                uri,
                options=dict(pairs(options)) if options is not None else None,
                sealed=self._sealed(session, credentials) if credentials else None,
            )
            if rescan_seconds is not None:
                rescan.schedule(session, _source(session, run.source_id or 0), rescan_seconds)
            audit.record(session, by, "start ingest", f"{event.slug} run {run.id}")
            summary = run_summary(session, run.id)
        self._tell(event_id)
        nudge(self._jobs, Job.DISCOVER, summary.id)
        return summary

    def rescan(self, source_id: int, *, by: str) -> RunSummary:
        """Look at a source again: only what changed is fetched. Raises UnknownSource."""
        with self._of_source(source_id) as (session, source):
            run = runs.start_scan(session, source, anew=True)
            audit.record(session, by, "rescan", f"source {source_id} run {run.id}")
            summary = run_summary(session, run.id)
        nudge(self._jobs, Job.DISCOVER, summary.id)
        return summary

    def pause(self, run_id: int, *, by: str) -> RunSummary:
        """Begin no further photo of the run. Raises UnknownRun, Conflict."""
        with self._of_run(run_id) as session:
            control.pause(session, run_id)
            audit.record(session, by, "pause run", f"run {run_id}")
            return self._told(session, run_id)

    def resume(self, run_id: int, *, by: str) -> RunSummary:
        """Go on with a paused run. Raises UnknownRun, Conflict."""
        with self._of_run(run_id) as session:
            graph = control.resume(session, run_id)
            audit.record(session, by, "resume run", f"run {run_id}")
            waiting = runs.waiting_photos(session, run_id)
            summary = self._told(session, run_id)
        if not summary.discovery_done:
            nudge(self._jobs, Job.DISCOVER, run_id)
        send_tickets(self._jobs, waiting, self._chunk_size)
        self._send_graph(graph)
        return summary

    def cancel(self, run_id: int, *, by: str) -> RunSummary:
        """End a run and give its waiting photos up. Raises UnknownRun, Conflict."""
        with self._of_run(run_id) as session:
            graph = control.cancel(session, run_id)
            audit.record(session, by, "cancel run", f"run {run_id}")
            summary = self._told(session, run_id)
        self._send_graph(graph)
        return summary

    def retry(
        self,
        run_id: int,
        *,
        by: str,
        reason: str | None = None,
        photo_id: int | None = None,
        ignored: bool = False,
    ) -> RunSummary:
        """Try failures again: all, one reason's, or one photo; or what was `ignored` of them.
        Raises UnknownRun, UnknownPhoto."""
        with self._of_run(run_id) as session:
            count = control.retry(
                session, run_id, reason=reason, photo_id=photo_id, ignored=ignored
            )
            audit.record(session, by, "retry failures", f"run {run_id}", f"{count} photos")
            summary = self._told(session, run_id)
        if count and not summary.discovery_done:
            nudge(self._jobs, Job.DISCOVER, run_id)
        send_tickets(self._jobs, count, self._chunk_size)
        return summary

    def ignore(
        self, run_id: int, *, by: str, reason: str | None = None, photo_id: int | None = None
    ) -> RunSummary:
        """Show failures no more: all, one reason's, or one photo. Raises UnknownRun, UnknownPhoto."""
        with self._of_run(run_id) as session:
            count = control.ignore(session, run_id, reason=reason, photo_id=photo_id)
            audit.record(session, by, "ignore failures", f"run {run_id}", f"{count} photos")
            return self._told(session, run_id)

    def schedule(self, source_id: int, seconds: int | None, *, by: str) -> None:
        """Rescan a source every so many seconds, or never. Raises UnknownSource, BadInput."""
        with self._of_source(source_id) as (session, source):
            rescan.schedule(session, source, seconds)
            audit.record(session, by, "schedule rescans", f"source {source_id}", f"{seconds} s")

    def set_credentials(
        self,
        source_id: int,
        credentials: Mapping[str, str] | None,
        *,
        by: str,
        options: Mapping[str, str] | None = None,
    ) -> bool:
        """Replace a source's credentials, and change options of it; none at all removes the
        credentials, None keeps them. An option that is not named stays, an empty one is removed.

        True where stored credentials were forgotten, since an option now names another server:
        they have to be given again. Raises UnknownSource, BadInput.
        """
        with self._of_source(source_id) as (session, source):
            wanted = dict(pairs({**source.options, **(options or {})}))
            spec = SourceSpec(
                source.kind, source.uri, pairs(options or {}), pairs(credentials or {})
            )
            kind_of(source.kind).check(spec)
            forgotten = False
            if credentials is not None:
                source.sealed = self._sealed(session, credentials)
            elif source.sealed is not None and _leads_elsewhere(source, wanted):
                source.sealed, forgotten = None, True
            source.options = wanted
            session.add(source)
            what = "set options" if credentials is None else "set credentials"
            told = ", ".join(sorted(options or {})) or "done"
            audit.record(session, by, what, f"source {source_id}", told)
        return forgotten

    def repoint(
        self, source_id: int, old: str, new: str, *, by: str
    ) -> tuple[int, RunSummary | None]:
        """A source's photos live elsewhere now: rewrite the beginning of their addresses, and look
        whether they are there. Nothing is embedded again. Returns how many addresses changed.
        Credentials are not taken along to another server: they have to be given again.

        No run follows where the source's own address stays as it was: what it lists names the old
        addresses until somebody changes it (rescan.CHANGE_THE_LIST). Raises UnknownSource,
        BadInput, Conflict.
        """
        summary = None
        with self._of_source(source_id) as (session, source):
            before = source.uri
            count = rescan.repoint(session, source, old, new)
            if _server(source.uri) != _server(before):
                source.sealed = None
                session.add(source)
            if source.uri == before:
                rescan.leave_unread(session, source)
            else:
                run = runs.start_scan(session, source, anew=True)
                summary = run_summary(session, run.id)
            audit.record(session, by, "re-point source", f"source {source_id}", f"{count} photos")
        if summary is not None:
            nudge(self._jobs, Job.DISCOVER, summary.id)
        return count, summary

    def clear_vanished(self, source_id: int, *, by: str) -> int:
        """Delete the photos that a source no longer lists. Returns how many. Raises UnknownSource."""
        with self._of_source(source_id) as (session, source):
            count, thumbs = rescan.clear_vanished(session, source_id)
            graph = None
            if count:
                graph = runs.start_stage(session, source.event_id, RunKind.GRAPH)
            audit.record(session, by, "clear vanished", f"source {source_id}", f"{count} photos")
        for thumb in thumbs:
            self._blobs.delete(thumb_key(thumb))
        self._send_graph(graph)
        return count

    @contextmanager
    def _of_run(self, run_id: int) -> Iterator[Session]:
        """A transaction on a run, after which its event's watchers are told."""
        with session_scope(self._engine) as session:
            yield session
            run = session.get(Run, run_id)
        if run is not None:
            self._tell(run.event_id)

    @contextmanager
    def _of_source(self, source_id: int) -> Iterator[tuple[Session, Source]]:
        """The same on a source. Raises UnknownSource."""
        with session_scope(self._engine) as session:
            source = _source(session, source_id)
            yield session, source
        self._tell(source.event_id)

    def _sealed(self, session: Session, credentials: Mapping[str, str]) -> bytes | None:
        # Sealed with another key than the workers', nobody could open them again.
        self._sealer.check(session)
        return self._sealer.seal(credentials)

    def _told(self, session: Session, run_id: int) -> RunSummary:
        session.flush()
        return run_summary(session, run_id)

    def _send_graph(self, graph: Run | None) -> None:
        if graph is not None:
            nudge(self._jobs, Job.BUILD_STAGE, graph.id)


def _keep_credentials_home(
    session: Session, event: Event, kind: str, uri: str, options: Mapping[str, str]
) -> None:
    """Forget stored credentials where an option would now send them to another server."""
    source = session.exec(
        select(Source).where(Source.event_id == event.id, Source.kind == kind, Source.uri == uri)
    ).first()
    if source is not None and _leads_elsewhere(source, options):
        source.sealed = None
        session.add(source)


def _leads_elsewhere(source: Source, options: Mapping[str, str]) -> bool:
    """Whether these options would have its credentials sent to another server than its own do."""
    leading = [field.name for field in kind_of(source.kind).fields if field.leads]
    return any(source.options.get(name, "") != options.get(name, "") for name in leading)


def _server(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    return parts.scheme, parts.netloc


def _source(session: Session, source_id: int) -> Source:
    source = session.get(Source, source_id)
    if source is None:
        raise UnknownSource(source_id)
    return source
