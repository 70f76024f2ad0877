"""The actors: each a few lines that hand an id to a room. Names are those of app/core/jobs.py."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import dramatiq
from dramatiq.actor import ActorDecorator
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.shutdown import Shutdown
from sqlalchemy import Engine

from app.core.errors import DiskFull, ServiceDown, UnknownModel
from app.core.jobs import JOB_QUEUE, Job
from app.core.ports import TextEncoder
from app.ingest.runs import give_back_run
from app.search.text import pack_vector
from app.settings import lifeline_fd
from app.storage.engine import session_scope
from workers.workshop import Workshop

log = logging.getLogger(__name__)

REST_SECONDS = 10.0
"""How long a thread of an ingest worker rests after a full disk or a service that is away."""
_POLL_SECONDS = 0.05


def register_ingest(broker: RedisBroker, workshop: Workshop) -> None:
    """Actors of the queues discover and ingest."""

    @_actor(broker, Job.DISCOVER, priority=0)
    async def discover(run_id: int) -> None:
        # A slow source must not keep a thread that could index another's photos.
        workshop.begin_discovery(run_id)

    @_actor(broker, Job.INGEST_CHUNK, priority=10)
    async def ingest_chunk() -> None:
        try:
            if await (await workshop.pipeline()).run() == 1:
                # It may have been a suspect, which is worked on alone: others wait behind it, and
                # their tickets are used up.
                workshop.nudge_chunk()
        except (DiskFull, ServiceDown) as error:
            # The next ticket would only fetch photos that can't be kept either.
            log.warning("indexing rests for %.0f s: %s", REST_SECONDS, error)
            await asyncio.sleep(REST_SECONDS)


def register_query(broker: RedisBroker, encoder: Callable[[], TextEncoder]) -> None:
    """Actors of the query queue. `encoder` gives the resident text encoder."""

    @_actor(broker, Job.ENCODE_TEXT, store_results=True)
    def encode_text(model_id: str, text: str) -> str:
        resident = encoder()
        if resident.info.id != model_id:
            raise UnknownModel(model_id, [resident.info.id])
        return pack_vector(resident.encode_texts([text])[0])


def register_graph(broker: RedisBroker, environment: Mapping[str, str], engine: Engine) -> None:
    """Actors of the graph queue. The work itself runs in a child process (SECURITY.md 5)."""

    @_actor(broker, Job.BUILD_STAGE)
    def build_stage(run_id: int) -> None:
        _in_child(environment, engine, run_id)


def _actor(broker: RedisBroker, job: Job, **options: Any) -> ActorDecorator:
    return dramatiq.actor(
        broker=broker, actor_name=job.value, queue_name=JOB_QUEUE[job].value, **options
    )


def _in_child(environment: Mapping[str, str], engine: Engine, run_id: int) -> None:
    lifeline = lifeline_fd(environment)
    child = subprocess.Popen(
        [sys.executable, "-m", "workers.job", str(run_id)],
        env=dict(environment),
        pass_fds=() if lifeline is None else (lifeline,),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        # Dramatiq's Shutdown is raised between two instructions, so no single wait may be long.
        while child.poll() is None:
            time.sleep(_POLL_SECONDS)
    except Shutdown:
        _end(child)
        assert child.stdout is not None  # noqa: S101 - a pipe was asked for
        begun = [int(line) for line in child.stdout.read().split()]
        with session_scope(engine) as session:
            give_back_run(session, begun[-1] if begun else run_id, after=0.0)
        log.info("run %s given back: the worker stops", run_id)
        return
    finally:
        _end(child)
    if child.returncode:
        # The child has logged why, and the run's row says it.
        log.warning("run %s ended with %s", run_id, child.returncode)


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()
