"""The actors: each a few lines that hand an id to a room. Names are those of app/core/jobs.py."""

from __future__ import annotations

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

from app.core.errors import UnknownModel
from app.core.jobs import JOB_QUEUE, Job
from app.core.ports import TextEncoder
from app.ingest.runs import give_back_run
from app.search.text import pack_vector
from app.settings import lifeline_fd
from app.storage.engine import session_scope
from workers.workshop import Workshop

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05


def register_ingest(broker: RedisBroker, workshop: Workshop) -> None:
    """Actors of the ingest queue."""

    @_actor(broker, Job.DISCOVER)
    async def discover(run_id: int) -> None:
        await (await workshop.discovery()).run(run_id)

    @_actor(broker, Job.INGEST_CHUNK)
    async def ingest_chunk(photo_ids: list[int]) -> None:
        await (await workshop.pipeline()).run(photo_ids)

    @_actor(broker, Job.INGEST_SUSPECTS)
    async def ingest_suspects(photo_ids: list[int]) -> None:
        await (await workshop.pipeline()).run_suspects(photo_ids)

    @_actor(broker, Job.RESUME)
    async def resume(run_id: int) -> None:
        await (await workshop.pipeline()).resume(run_id)


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

    @_actor(broker, Job.BUILD_GRAPH)
    def build_graph(run_id: int) -> None:
        _in_child(environment, engine, Job.BUILD_GRAPH, run_id)

    @_actor(broker, Job.BUILD_LAYOUT)
    def build_layout(run_id: int) -> None:
        _in_child(environment, engine, Job.BUILD_LAYOUT, run_id)


def _actor(broker: RedisBroker, job: Job, **options: Any) -> ActorDecorator:
    return dramatiq.actor(
        broker=broker, actor_name=job.value, queue_name=JOB_QUEUE[job].value, **options
    )


def _in_child(environment: Mapping[str, str], engine: Engine, job: Job, run_id: int) -> None:
    lifeline = lifeline_fd(environment)
    child = subprocess.Popen(
        [sys.executable, "-m", "workers.job", job.value, str(run_id)],
        env=dict(environment),
        pass_fds=() if lifeline is None else (lifeline,),
    )
    try:
        # Dramatiq's Shutdown is raised between two instructions, so no single wait may be long.
        while child.poll() is None:
            time.sleep(_POLL_SECONDS)
    except Shutdown:
        _end(child)
        with session_scope(engine) as session:
            give_back_run(session, run_id, after=0.0)
        log.info("%s %s given back: the worker stops", job, run_id)
        return
    finally:
        _end(child)
    if child.returncode:
        # The child has logged why, and the run's row says it.
        log.warning("%s %s ended with %s", job, run_id, child.returncode)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()
