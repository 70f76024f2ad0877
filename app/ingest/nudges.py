"""Messages that may get lost: their rows are written, so that the sweeper makes a lost one good."""

from __future__ import annotations

import logging

from app.core.errors import ServiceDown
from app.core.jobs import Job, JobQueue

log = logging.getLogger(__name__)


def nudge(jobs: JobQueue, job: Job, argument: object, *, delay: float | None = None) -> None:
    """Send a job, or leave it to the sweeper where the queue is away. `delay` in seconds.

    Only after the commit of a row that the sweeper finds: a photo or run that is pending or due.
    """
    try:
        jobs.send(job, argument, delay=delay)
    except ServiceDown as error:
        log.warning("%s is left to the sweeper: %s", job, error)
