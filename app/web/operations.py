"""Is it well? The operations page for people, /healthz and /readyz for machines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, text
from sqlmodel import Session, col, select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.core.errors import ClairError, ServiceDown
from app.core.jobs import JobQueue
from app.core.vectors import ModelInfo
from app.ingest.figures import run_summary
from app.operate.fleet import workers as seen_workers
from app.operate.joining import check_blobs
from app.storage import migrate
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind
from app.web import present
from app.web.contexts import (
    OperationsPage,
    PhotoFact,
    QueueRow,
    RunRow,
    ServiceRow,
    WorkerRow,
)
from app.web.errors import problem
from app.web.render import Place, Renderer, wants_fragment

log = logging.getLogger(__name__)

_PROBE = "probe/web"
_PROBE_EVERY = 30.0
"""Seconds for which a blob store that was well is believed to be: an open page asks every 5 s, and
clouds charge for each request."""
_RUNS = 20


class ObservedQueue(JobQueue, Protocol):
    """The job queue as its operator sees it."""

    def lengths(self) -> dict[str, tuple[int, int]]:
        """For each queue the messages waiting and those delayed. Raises ServiceDown."""
        ...


class Operations:
    def __init__(
        self,
        engine: Engine,
        cache: redis.Redis,
        queues: ObservedQueue,
        blobs: BlobStore,
        render: Renderer,
        *,
        profile: str,
        models: Sequence[ModelInfo],
    ) -> None:
        self._engine = engine
        self._redis = cache
        self._queues = queues
        self._blobs = blobs
        self._render = render
        self._profile = profile
        self._models = list(models)
        self._probe_at = 0.0

    def page(self, request: Request) -> Response:
        """GET /operations"""
        services = [
            _checked(
                "PostgreSQL", self._postgres, "Look at its log; pages answer once it is back."
            ),
            _checked("Redis", self._redis_version, "Start it; work goes on where it stopped."),
            _checked("Blob store", self._blob_store, "Check its disk, or its address and key."),
        ]
        workers, runs = self._from_database(services)
        page = OperationsPage(
            services=services,
            queues=self._lengths(),
            workers=workers,
            runs=runs,
            profile=self._profile,
            models=[_model(info) for info in self._models],
        )
        if wants_fragment(request):
            return self._render.fragment("operations.html", page)
        return self._render.page(
            request, "operations.html", page, Place("Operations", "operations")
        )

    def healthz(self, request: Request) -> Response:
        """GET /healthz: the process answers."""
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    def readyz(self, request: Request) -> Response:
        """GET /readyz: PostgreSQL, its schema and Redis are there."""
        try:
            self._postgres()
            self._redis_version()
            with session_scope(self._engine) as session:
                version = text("SELECT version_num FROM alembic_version")
                schema = session.connection().execute(version).scalar()
        except ClairError as error:
            return problem(error)
        if schema != migrate.head():
            return problem(ServiceDown("The schema is not up to date.", cure="Run the migrations."))
        return JSONResponse({"status": "ready"}, headers={"Cache-Control": "no-store"})

    def _postgres(self) -> str:
        with session_scope(self._engine) as session:
            version, size = (
                session.connection()
                .execute(
                    text(
                        "SELECT current_setting('server_version'),"
                        " pg_size_pretty(pg_database_size(current_database()))"
                    )
                )
                .one()
            )
        return f"Version {version}, {size}"

    def _redis_version(self) -> str:
        try:
            info = self._redis.info()
        except RedisError as error:
            raise ServiceDown("Redis can't be reached.") from error
        return f"Version {info['redis_version']}, {info['used_memory_human']}B"

    def _blob_store(self) -> str:
        if time.monotonic() >= self._probe_at:
            moment = datetime.now(UTC).isoformat().encode()
            self._blobs.put(_PROBE, moment)
            self._blobs.get(_PROBE)
            with suppress(ServiceDown), session_scope(self._engine) as session:
                check_blobs(session, self._blobs, claim=False)
            self._probe_at = time.monotonic() + _PROBE_EVERY
        return f"{self._blobs.place} can be written and read"

    def _lengths(self) -> list[QueueRow]:
        try:
            lengths = self._queues.lengths()
        except ServiceDown:
            return []
        return [QueueRow(name, waiting, delayed) for name, (waiting, delayed) in lengths.items()]

    def _from_database(self, services: list[ServiceRow]) -> tuple[list[WorkerRow], list[RunRow]]:
        """Workers and runs, none while PostgreSQL is away: the page itself still says so."""
        if not services[0].ok:
            return [], []
        with session_scope(self._engine) as session:
            return _workers(session), _runs(session)


def _checked(name: str, check: Callable[[], str], cure: str) -> ServiceRow:
    try:
        return ServiceRow(name, True, check(), "")
    except (ClairError, KeyError) as error:
        log.warning("%s is not well: %s", name, error)
        if not isinstance(error, ClairError):
            return ServiceRow(name, False, "What was written is not there.", cure)
        return ServiceRow(name, False, error.message, error.cure or cure)


def _workers(session: Session) -> list[WorkerRow]:
    return [
        WorkerRow(
            host=seen.host,
            pid=seen.pid,
            version=seen.version,
            queues=seen.queues,
            state=seen.state,
            done=seen.done,
            recent=seen.recent,
            seen_seconds_ago=seen.seen_seconds_ago,
        )
        for seen in seen_workers(session)
    ]


def _runs(session: Session) -> list[RunRow]:
    ids = session.exec(
        select(Run.id).where(Run.kind == RunKind.INGEST).order_by(col(Run.id).desc()).limit(_RUNS)
    ).all()
    return [present.run_row(run_summary(session, run_id)) for run_id in ids]


def _model(info: ModelInfo) -> PhotoFact:
    return PhotoFact(
        f"{info.kind.capitalize()}s", f"{info.id} · {info.dim} numbers · {info.licence}"
    )
