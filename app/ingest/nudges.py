"""Messages that may get lost: their rows are written, so that the sweeper makes a lost one good."""

from __future__ import annotations

import logging

from app.core.errors import ServiceDown
from app.core.jobs import Job, JobQueue

log = logging.getLogger(__name__)


MOST_TICKETS = 256
"""Tickets that are sent at once. Should they be used up, the sweeper sends more."""


def nudge(jobs: JobQueue, job: Job, *arguments: object, delay: float | None = None) -> bool:
    """Send a job, or leave it to the sweeper where the queue is away. `delay` in seconds.

    Only after the commit of a row that the sweeper finds: a photo or run that is pending or due.
    """
    try:
        jobs.send(job, *arguments, delay=delay)
    except ServiceDown as error:
        log.warning("%s is left to the sweeper: %s", job, error)
        return False
    return True


def send_tickets(jobs: JobQueue, photos: int, chunk_size: int) -> int:
    """Tell workers that so many photos wait: one ticket a chunk. Returns the number of tickets."""
    tickets = min(-(-photos // chunk_size), MOST_TICKETS)
    for sent in range(tickets):
        if not nudge(jobs, Job.INGEST_CHUNK):
            return sent
    return tickets
