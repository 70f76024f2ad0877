"""One graph or layout job in a process of its own: `python -m workers.job build_graph RUN`.

FAISS, numba and UMAP cost hundreds of megabytes and hold the interpreter for long, so they live
only as long as the job does, away from the worker that keeps Dramatiq's heartbeat.
"""

from __future__ import annotations

import logging
import sys
import time

from sqlalchemy import Engine

from app.core.errors import ClairError, DiskFull, ServiceDown
from app.core.jobs import Job
from app.embedded.lifeline import exit_with_parent
from app.encoders.registry import profile_models
from app.graph.build import build_graph
from app.ingest.discovery import RETRY_WAIT
from app.ingest.pipeline import PATIENCE_SECONDS
from app.ingest.runs import fail_run, give_back_run
from app.settings import Settings
from app.space.build import build_layout
from app.storage.blobs import open_blobs
from app.storage.engine import make_engine, session_scope
from app.storage.progress import Change, ProgressPublisher
from app.storage.queue import RedisJobQueue
from workers.logs import set_up_logging

log = logging.getLogger(__name__)


def run_job(settings: Settings, engine: Engine, job: Job, run_id: int) -> None:
    """Carry the job out and send the next one on its way."""
    assert settings.redis_url  # noqa: S101 - the supervisor always hands it on
    image_model, _ = profile_models(settings.encoders)
    progress = ProgressPublisher(settings.redis_url)
    jobs = RedisJobQueue(settings.redis_url)
    if job is Job.BUILD_GRAPH:
        following = build_graph(engine, run_id, image_model)
        if following is not None:
            jobs.send(Job.BUILD_LAYOUT, following)
    elif job is Job.BUILD_LAYOUT:
        blobs = open_blobs(settings.home, settings.blobs_url)
        event_id = build_layout(engine, blobs, run_id, image_model)
        if event_id is not None:
            progress.publish(event_id, Change.LAYOUT)
            progress.publish(event_id)


def _give_back(engine: Engine, run_id: int) -> None:
    """Hand the run back as soon as PostgreSQL takes it: the fault was not its own."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        try:
            with session_scope(engine) as session:
                return give_back_run(session, run_id, after=RETRY_WAIT)
        except (ServiceDown, DiskFull):
            time.sleep(0.5)
    log.warning("run %s could not be given back; its lease will run out", run_id)
    return None


def main(arguments: list[str]) -> int:
    exit_with_parent()
    settings = Settings.from_environment()
    set_up_logging(settings.log_level)
    job, run_id = Job(arguments[0]), int(arguments[1])
    assert settings.database_url  # noqa: S101 - the supervisor always hands it on
    engine = make_engine(settings.database_url, pool_size=2, application="clairvision job")
    try:
        run_job(settings, engine, job, run_id)
    except (ServiceDown, DiskFull) as error:
        log.warning("%s %s: %s", job, run_id, error)
        _give_back(engine, run_id)
        return 1
    except ClairError as error:
        # The run's lease runs out and the sweeper tries again, a few times at most.
        log.warning("%s %s: %s", job, run_id, error)
        return 1
    except Exception as error:
        log.exception("%s %s failed", job, run_id)
        with session_scope(engine) as session:
            fail_run(session, run_id, f"{type(error).__name__}: {error}"[:500])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
