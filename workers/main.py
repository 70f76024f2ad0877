"""Composition root of a worker process: broker, actors of its queues, sweeper, heartbeat."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from types import FrameType

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware
from dramatiq.worker import Worker
from sqlalchemy import Engine

from app.core.errors import BadInput
from app.core.jobs import Queue
from app.core.ports import TextEncoder
from app.embedded.lifeline import exit_with_parent
from app.encoders import registry
from app.operate.fleet import WorkerState
from app.operate.joining import join
from app.settings import Settings
from app.storage.blobs import open_blobs
from app.storage.engine import make_engine
from app.storage.progress import ProgressPublisher
from app.storage.queue import RedisJobQueue, make_broker
from workers import actors
from workers.pulse import Pulse
from workers.sweeper import Sweeper
from workers.workshop import Workshop

log = logging.getLogger(__name__)

IDLE_MS = {Queue.QUERY: 20, Queue.DISCOVER: 250, Queue.INGEST: 250, Queue.GRAPH: 500}
"""How long an idle consumer's back-off may grow. 20 ms means 11 ms to pick a message up
(SECURITY.md 4), for searches; it also means polling Redis all day, so no more than that queue."""

THREADS = {Queue.DISCOVER: 0, Queue.INGEST: 3, Queue.QUERY: 4, Queue.GRAPH: 1}
"""Messages at once. Ingest: one chunk fetches while one embeds and one stores. Graph: its jobs use
every core by themselves. Discover: a source is read beside the threads."""


STOP_MS = 15_000
"""The supervisor kills what has not stopped after 20 s."""


def parse_queues(names: str) -> list[Queue]:
    """`ingest,query` → queues. Raises BadInput."""
    known = {queue.value: queue for queue in Queue}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise BadInput(
            f"There is no queue “{', '.join(unknown)}”.", cure=f"Queues: {', '.join(known)}."
        )
    found = [known[name] for name in dict.fromkeys(wanted)]
    if Queue.INGEST in found or Queue.DISCOVER in found:
        # One worker serves both; only the order in which messages are taken differs.
        found = [q for q in found if q not in (Queue.DISCOVER, Queue.INGEST)]
        found += [Queue.DISCOVER, Queue.INGEST]
    return found


def run_worker(settings: Settings, queues: Sequence[Queue]) -> None:
    """Work on these queues until SIGINT or SIGTERM, then give back what is in hand and return.

    Raises BadInput without the services' addresses or where this machine's schema, secret key or
    blob store is not the installation's, and whatever loading the encoders raises.
    """
    exit_with_parent()
    if not settings.database_url or not settings.redis_url:
        raise BadInput(
            "A worker needs the addresses of PostgreSQL and Redis.",
            cure="Set DATABASE_URL and REDIS_URL, or use `clairvision up`, which starts both.",
        )
    join(settings)
    engine = make_engine(settings.database_url, application=f"clairvision {'+'.join(queues)}")
    broker = make_broker(settings.redis_url)
    dramatiq.set_broker(broker)
    jobs = RedisJobQueue(settings.redis_url, broker)
    work = _register(settings, queues, broker, engine, jobs)
    worker = Worker(
        broker,
        queues={queue.value for queue in queues},
        worker_timeout=min(IDLE_MS[queue] for queue in queues),
        worker_threads=sum(THREADS[queue] for queue in queues),
    )
    sweeper = None
    if {Queue.INGEST, Queue.GRAPH} & set(queues):
        sweeper = Sweeper(engine, jobs, settings.chunk_size)
    pulse = Pulse(engine, [queue.value for queue in queues], done=work.done)
    stopped = _stopped_by_signal()
    worker.start()
    pulse.start()
    if sweeper is not None:
        sweeper.start()
    log.info("working on %s", ", ".join(queues))
    loading = _Loading(work)
    try:
        while not stopped.wait(0.5):
            if loading.over():
                pulse.say(WorkerState.WORKING)
    finally:
        # Also where loading failed: the threads that are left would keep a dead worker alive.
        log.info("draining: giving back what is in hand")
        pulse.say(WorkerState.DRAINING)
        if sweeper is not None:
            sweeper.stop()
        worker.stop(timeout=STOP_MS)
        pulse.stop()
        engine.dispose()
        if loading.is_alive():
            # Nothing is in hand any more, and Python would wait for the thread that reads weights.
            os._exit(0)


class _CloseWorkshop(Middleware):
    """Closes the workshop after the last actor and before Dramatiq's event loop stops.

    Dramatiq calls "after" hooks in reverse, so this must be added later than AsyncIO.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    def after_worker_shutdown(self, broker: object, worker: object) -> None:
        _in_loop(self._workshop.close())


@dataclass(frozen=True)
class _Work:
    """What the actors of this process lean on; None where its queues need none."""

    workshop: Workshop | None
    encoder: _ResidentEncoder | None

    def done(self) -> int:
        """Photos that this process has finished."""
        return self.workshop.done if self.workshop is not None else 0


def _register(
    settings: Settings,
    queues: Sequence[Queue],
    broker: RedisBroker,
    engine: Engine,
    jobs: RedisJobQueue,
) -> _Work:
    workshop = encoder = None
    if Queue.INGEST in queues:
        workshop = Workshop(
            settings,
            engine=engine,
            jobs=jobs,
            progress=ProgressPublisher(settings.redis_url or ""),
            blobs=open_blobs(settings.home, settings.blobs_url),
        )
        actors.register_ingest(broker, workshop)
        broker.add_middleware(_CloseWorkshop(workshop))
    if Queue.QUERY in queues:
        encoder = _ResidentEncoder(settings)
        actors.register_query(broker, encoder)
    if Queue.GRAPH in queues:
        actors.register_graph(broker, {**os.environ, **settings.to_environment()}, engine)
    return _Work(workshop, encoder)


class _ResidentEncoder:
    """The text encoder of this process, loaded and warmed by whoever asks first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._encoder: TextEncoder | None = None

    def __call__(self) -> TextEncoder:
        with self._lock:
            if self._encoder is None:
                settings = self._settings
                encoder = registry.load_text_encoder(settings.encoders, settings.home / "models")
                encoder.encode_texts(["warm"])
                self._encoder = encoder
                log.info("ready: text encoder loaded")
        return self._encoder


class _Loading(threading.Thread):
    """Loads the models ahead of the first photo and the first search, while the worker can already
    be stopped."""

    def __init__(self, work: _Work) -> None:
        super().__init__(name="loading", daemon=True)
        self._work = work
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            if self._work.encoder is not None:
                self._work.encoder()
            if self._work.workshop is not None:
                _in_loop(self._work.workshop.pipeline())
        except Exception as error:  # noqa: BLE001 - raised again by over
            self._error = error

    def over(self) -> bool:
        """Whether everything is loaded. Raises what went wrong, if anything did."""
        if self._error is not None:
            raise self._error
        return not self.is_alive()


def _in_loop(coroutine: Awaitable[object]) -> None:
    loop = get_event_loop_thread()
    if loop is not None:
        loop.run_coroutine(coroutine)


def _stopped_by_signal() -> threading.Event:
    """An event that SIGINT or SIGTERM sets from now on."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopped
