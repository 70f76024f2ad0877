"""Names of the queues and jobs, and the port through which any room asks for one.

A message carries ids only; the state of the work is in PostgreSQL, so that a lost or doubled
message changes nothing. Enqueue only after the commit that the job will read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Queue(StrEnum):
    """`discover` is a queue of its own so that a new source never waits behind a big event's
    photos; the workers of `ingest` serve both."""

    DISCOVER = "discover"
    INGEST = "ingest"
    GRAPH = "graph"
    QUERY = "query"


class Job(StrEnum):
    """Actor names, as registered in workers/actors.py.

    INGEST_CHUNK names no photos: it tells a worker to take the next chunk, whose turn it is.
    BUILD_STAGE names a run, whose row says of which stage it is.
    """

    DISCOVER = "discover"
    INGEST_CHUNK = "ingest_chunk"
    BUILD_STAGE = "build_stage"
    ENCODE_TEXT = "encode_text"


JOB_QUEUE: dict[Job, Queue] = {
    Job.DISCOVER: Queue.DISCOVER,
    Job.INGEST_CHUNK: Queue.INGEST,
    Job.BUILD_STAGE: Queue.GRAPH,
    Job.ENCODE_TEXT: Queue.QUERY,
}


class JobQueue(Protocol):
    def send(self, job: Job, *args: object, delay: float | None = None) -> None:
        """Nudge a worker. `delay` in seconds."""
        ...

    def ask(self, job: Job, *args: object, timeout: float) -> object:
        """Send and wait for the result. Raises EncoderWarming when `timeout` seconds pass."""
        ...
