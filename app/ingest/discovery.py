"""Discover: read a source to its end, record what it holds, send the work on in chunks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine, text

from app.core.errors import ClairError, DiskFull, ServiceDown, TryAgain
from app.core.jobs import Job, JobQueue
from app.core.photos import BadEntry
from app.core.ports import Source
from app.ingest import recording, rescan, runs
from app.ingest.nudges import nudge, send_tickets
from app.ingest.pairing import Found, Pairing
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
    photos: int = 0
    repeated: int = 0
    unchanged: int = 0
    again: bool = False
    """Whether this run has taken photos on before: its discovery was repeated, or it was reopened."""
    hidden: bool = False
    """Whether photos may lie behind something that could not be read."""

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
    open_source: Callable[[SourceRow], Source]
    model: int
    chunk_size: int

    async def run(self, run_id: int) -> None:
        """Carry out an ingest run's discovery; does nothing where it is done or held elsewhere."""
        claimed = await asyncio.to_thread(self._claim, run_id)
        if claimed is None:
            return
        run, event, row = claimed
        tally = _Tally(again=await asyncio.to_thread(self._has_photos, run.id))
        try:
            source = self.open_source(row)
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

    def _has_photos(self, run_id: int) -> bool:
        with session_scope(self.engine) as session:
            found = session.connection().execute(
                text("SELECT EXISTS (SELECT 1 FROM photo WHERE run_id = :run)"), {"run": run_id}
            )
            return bool(found.scalar_one())

    async def _read(self, source: Source, run: Run, event: Event, tally: _Tally) -> bool:
        """False where the run's lease was lost on the way: it was paused, cancelled or taken over."""
        batch: list[Found | BadEntry] = []
        pairing = Pairing()
        scan = recording.Scan(
            event_id=event.id,
            source_id=run.source_id or 0,
            run_id=run.id,
            model=self.model,
            faces_on=event.faces_on,
            revalidates=source.revalidates,
        )
        written_at = time.monotonic()
        try:
            async for entry in source.discover():
                if not tally.first_time(entry.key):
                    continue
                if isinstance(entry, BadEntry):
                    tally.hidden = tally.hidden or entry.hides
                    batch.append(entry)
                else:
                    batch += pairing.add(entry)
                late = time.monotonic() - written_at > LONGEST_WAIT
                if late:
                    batch += pairing.rest()
                if len(batch) >= self.chunk_size or (late and batch):
                    if not await asyncio.to_thread(self._write, batch, run, scan, tally):
                        return False
                    batch, written_at = [], time.monotonic()
        except ClairError as error:
            if not isinstance(error, ServiceDown | DiskFull):
                # What was found before the source broke off is kept.
                batch += pairing.rest()
                await asyncio.to_thread(self._write, batch, run, scan, tally)
            raise
        batch += pairing.rest()
        return await asyncio.to_thread(self._write, batch, run, scan, tally)

    def _write(
        self, batch: list[Found | BadEntry], run: Run, scan: recording.Scan, tally: _Tally
    ) -> bool:
        found = [entry for entry in batch if isinstance(entry, Found)]
        bad = [entry for entry in batch if isinstance(entry, BadEntry)]
        with session_scope(self.engine) as session:
            recorded = recording.record_found(session, scan, found)
            recording.record_bad_entries(session, scan, bad)
            tally.photos += len(batch)
            tally.unchanged += recorded.unchanged
            if tally.again:
                # What this run itself took on before its discovery was repeated is not unchanged.
                own = recording.count_of_run(session, run.id, found)
                tally.unchanged -= own - len(recorded.to_do)
            held = runs.hold_run(
                session, run, discovered=tally.photos, unchanged=tally.unchanged, message=""
            )
            if not held:
                session.rollback()
                return False
        send_tickets(self.jobs, len(recorded.to_do), self.chunk_size)
        self.progress.publish(run.event_id)
        return True

    def _finish(self, run: Run, row: SourceRow, tally: _Tally, duplicates: int) -> None:
        with session_scope(self.engine) as session:
            gone = 0
            if not tally.seen:
                # Nor is anything marked as gone: an empty place is more likely a wrong one.
                message = f"No photos were found in {row.uri}. Check that it is the right place."
                if runs.end_run(session, run, RunState.FAILED, message=message):
                    rescan.failed_scan(session, run, message)
                return
            if not tally.hidden:
                gone = rescan.mark_gone(session, row.id, tally.seen)
            if not runs.finish_discovery(
                session,
                run,
                discovered=tally.photos,
                unchanged=tally.unchanged,
                duplicates=duplicates,
                gone=gone,
            ):
                session.rollback()
                return
            rescan.finished_scan(session, run)
            graph = runs.settle(session, run.id)
        if graph is not None:
            nudge(self.jobs, Job.BUILD_STAGE, graph.id)

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
            if not runs.hold_run(session, run, wait, message=str(error)):
                return
            rescan.failed_scan(session, run, str(error))
            if again:
                pass
            elif not tally.photos:
                runs.end_run(session, run, RunState.FAILED, message=str(error))
            else:
                message = f"The source broke off after {tally.photos} photos: {error}"
                runs.hold_run(session, run, message=message)
                runs.finish_discovery(
                    session,
                    run,
                    discovered=tally.photos,
                    unchanged=tally.unchanged,
                    duplicates=tally.repeated,
                )
        if again:
            # The lease must have run out when the message comes.
            nudge(self.jobs, Job.DISCOVER, run.id, delay=wait + 0.5)
