"""Is it well? The operations page for people, /healthz and /readyz for machines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
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
from app.storage import migrate
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind
from app.storage.tables_access import Worker
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
_FORGOTTEN = timedelta(minutes=10)
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
            with self._engine.connect() as connection:
                version = connection.execute(text("SELECT version_num FROM alembic_version"))
                schema = version.scalar()
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
        moment = datetime.now(UTC).isoformat().encode()
        self._blobs.put(_PROBE, moment)
        self._blobs.get(_PROBE)
        return "Can be written and read"

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
        detail = (
            error.message if isinstance(error, ClairError) else "What was written is not there."
        )
        return ServiceRow(name, False, detail, cure)


def _workers(session: Session) -> list[WorkerRow]:
    now = datetime.now(UTC)
    rows = session.exec(
        select(Worker).where(col(Worker.seen_at) > now - _FORGOTTEN).order_by(col(Worker.name))
    )
    return [
        WorkerRow(w.name, w.queues, w.pid, w.host, max(0.0, (now - w.seen_at).total_seconds()))
        for w in rows
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
