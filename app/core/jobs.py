"""Names of the queues and jobs, and the port through which any room asks for one.

A message carries ids only; the state of the work is in PostgreSQL, so that a lost or doubled
message changes nothing. Enqueue only after the commit that the job will read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Queue(StrEnum):
    INGEST = "ingest"
    GRAPH = "graph"
    QUERY = "query"


class Job(StrEnum):
    """Actor names, as registered in workers/actors.py."""

    DISCOVER = "discover"
    INGEST_CHUNK = "ingest_chunk"
    INGEST_SUSPECTS = "ingest_suspects"
    RESUME = "resume"
    BUILD_GRAPH = "build_graph"
    BUILD_LAYOUT = "build_layout"
    ENCODE_TEXT = "encode_text"


JOB_QUEUE: dict[Job, Queue] = {
    Job.DISCOVER: Queue.INGEST,
    Job.INGEST_CHUNK: Queue.INGEST,
    Job.INGEST_SUSPECTS: Queue.INGEST,
    Job.RESUME: Queue.INGEST,
    Job.BUILD_GRAPH: Queue.GRAPH,
    Job.BUILD_LAYOUT: Queue.GRAPH,
    Job.ENCODE_TEXT: Queue.QUERY,
}


class JobQueue(Protocol):
    def send(self, job: Job, *args: object, delay: float | None = None) -> None:
        """Nudge a worker. `delay` in seconds."""
        ...

    def ask(self, job: Job, *args: object, timeout: float) -> object:
        """Send and wait for the result. Raises EncoderWarming when `timeout` seconds pass."""
        ...
