"""Keeping a run's lease while long work goes on in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from app.core.errors import ClairError
from app.ingest.runs import RUN_LEASE_SECONDS, hold_run
from app.storage.engine import session_scope
from app.storage.tables import Run

log = logging.getLogger(__name__)


@contextmanager
def lease_kept(engine: Engine, run: Run) -> Iterator[None]:
    """Prolongs the run's lease from a thread until the block ends.

    A lost lease is not reported here: the fenced write at the end finds it out.
    """
    done = threading.Event()

    def keep() -> None:
        while not done.wait(RUN_LEASE_SECONDS / 3):
            try:
                with session_scope(engine) as session:
                    hold_run(session, run)
            except ClairError:
                log.warning("run %s: the lease could not be renewed; trying again", run.id)

    keeper = threading.Thread(target=keep, name=f"lease-{run.id}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
