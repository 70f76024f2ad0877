"""Discover: read a source to its end, record what it holds, send the work on in chunks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from app.core.errors import ClairError, DiskFull, ServiceDown, TryAgain
from app.core.jobs import Job, JobQueue
from app.core.photos import BadEntry, Locator
from app.core.ports import Source
from app.ingest import ledger, runs
from app.ingest.nudges import nudge
from app.storage.engine import session_scope
from app.storage.progress import ProgressPublisher
from app.storage.tables import Event, Run, RunState
from app.storage.tables import Source as SourceRow

log = logging.getLogger(__name__)

LONGEST_WAIT = 1.0
"""Seconds after which a batch is written even if it is not full, so that photos appear soon."""
RETRY_WAIT = 5.0
LONGEST_RETRY_AFTER = 300.0


@dataclass
class _Tally:
    seen: set[str] = field(default_factory=set)
    repeated: int = 0
    unchanged: int = 0

    def first_time(self, key: str) -> bool:
        if key in self.seen:
            self.repeated += 1
            return False
        self.seen.add(key)
        return True


@dataclass(frozen=True)
class Discovery:
    """Reads sources into the ledger. `model` is the partition of the image model in use."""

    engine: Engine
    jobs: JobQueue
    progress: ProgressPublisher
    open_source: Callable[[str, str], Source]
    model: int
    chunk_size: int

    async def run(self, run_id: int) -> None:
        """Carry out an ingest run's discovery; does nothing where it is done or held elsewhere."""
        claimed = await asyncio.to_thread(self._claim, run_id)
        if claimed is None:
            return
        run, event, row = claimed
        tally = _Tally()
        try:
            source = self.open_source(row.kind, row.uri)
            held = await self._read(source, run, event, tally)
        except asyncio.CancelledError:  # the worker stops
            await asyncio.shield(asyncio.to_thread(self._give_back, run, 0.0))
            raise
        except (ServiceDown, DiskFull):
            await asyncio.to_thread(self._give_back, run, RETRY_WAIT)
            raise
        except ClairError as error:
            await asyncio.to_thread(self._broke_off, run, tally, error)
        except Exception:
            log.exception("run %s: discovery failed", run_id)
            message = "Reading the source failed unexpectedly; the worker's log has the details."
            await asyncio.to_thread(self._broke_off, run, tally, ClairError(message))
        else:
            if held:
                duplicates = tally.repeated + getattr(source, "duplicates", 0)
                await asyncio.to_thread(self._finish, run, row, tally, duplicates)
        self.progress.publish(event.id)

    def _claim(self, run_id: int) -> tuple[Run, Event, SourceRow] | None:
        with session_scope(self.engine) as session:
            run = runs.claim_run(session, run_id)
            if run is None:
                return None
            event = session.get(Event, run.event_id)
            source = session.get(SourceRow, run.source_id)
            assert event is not None and source is not None  # noqa: S101, PT018 - foreign keys
            return run, event, source

    async def _read(self, source: Source, run: Run, event: Event, tally: _Tally) -> bool:
        batch: list[Locator | BadEntry] = []
        written_at = time.monotonic()
        async for entry in source.discover():
            if not tally.first_time(entry.key):
                continue
            batch.append(entry)
            if len(batch) >= self.chunk_size or time.monotonic() - written_at > LONGEST_WAIT:
                if not await asyncio.to_thread(self._write, batch, run, event, tally):
                    return False
                batch, written_at = [], time.monotonic()
        return await asyncio.to_thread(self._write, batch, run, event, tally)

    def _write(
        self, batch: list[Locator | BadEntry], run: Run, event: Event, tally: _Tally
    ) -> bool:
        locators = [entry for entry in batch if isinstance(entry, Locator)]
        with session_scope(self.engine) as session:
            recorded = ledger.record_locators(
                session,
                event_id=run.event_id,
                source_id=run.source_id or 0,
                run_id=run.id,
                model=self.model,
                faces_on=event.faces_on,
                locators=locators,
            )
            ledger.record_bad_entries(
                session,
                event_id=run.event_id,
                source_id=run.source_id or 0,
                run_id=run.id,
                entries=[entry for entry in batch if isinstance(entry, BadEntry)],
            )
            tally.unchanged += recorded.unchanged
            if run.attempts > 1:
                # What this run itself indexed before its discovery was repeated is not unchanged.
                own = ledger.count_of_run(session, run.id, locators)
                tally.unchanged -= own - len(recorded.to_do)
            held = runs.hold_run(
                session,
                run,
                discovered=len(tally.seen),
                unchanged=tally.unchanged,
                message="",
            )
            if not held:
                session.rollback()
                return False
        for start in range(0, len(recorded.to_do), self.chunk_size):
            nudge(self.jobs, Job.INGEST_CHUNK, recorded.to_do[start : start + self.chunk_size])
        self.progress.publish(run.event_id)
        return True

    def _finish(self, run: Run, row: SourceRow, tally: _Tally, duplicates: int) -> None:
        with session_scope(self.engine) as session:
            if not tally.seen:
                runs.end_run(
                    session,
                    run,
                    RunState.FAILED,
                    message=f"No photos were found in {row.uri}. Check that it is the right place.",
                )
                return
            runs.finish_discovery(
                session,
                run,
                discovered=len(tally.seen),
                unchanged=tally.unchanged,
                duplicates=duplicates,
            )
            graph = runs.settle(session, run.id)
        if graph is not None:
            nudge(self.jobs, Job.BUILD_GRAPH, graph.id)

    def _give_back(self, run: Run, after: float) -> None:
        try:
            with session_scope(self.engine) as session:
                runs.give_back_run(session, run.id, after=after)
        except (ServiceDown, DiskFull):
            log.warning("run %s could not be given back; its lease will run out", run.id)

    def _broke_off(self, run: Run, tally: _Tally, error: ClairError) -> None:
        """The source failed: try the run again, end it, or keep what was found before."""
        again = isinstance(error, TryAgain) and run.attempts < runs.MAX_RUN_ATTEMPTS
        asked = error.after if isinstance(error, TryAgain) else None
        wait = min(max(RETRY_WAIT, asked or 0.0), LONGEST_RETRY_AFTER)
        with session_scope(self.engine) as session:
            if again:
                runs.hold_run(session, run, wait, message=str(error))
            elif not tally.seen:
                runs.end_run(session, run, RunState.FAILED, message=str(error))
            else:
                message = f"The source broke off after {len(tally.seen)} photos: {error}"
                runs.hold_run(session, run, message=message)
                runs.finish_discovery(
                    session,
                    run,
                    discovered=len(tally.seen),
                    unchanged=tally.unchanged,
                    duplicates=tally.repeated,
                )
        if again:
            # The lease must have run out when the message comes.
            nudge(self.jobs, Job.DISCOVER, run.id, delay=wait + 0.5)
