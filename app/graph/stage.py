"""What graph, groups, clusters and layout have in common: one durable step from input to output.

A stage reads its predecessor's stored output, works under a lease, and writes its own output, its
end and the pending run of the next stage in one transaction. A crash anywhere leaves either
nothing, or everything and a pending run that the sweeper sends. Where the input is what the last
run of the stage was built from, the work is skipped and the next stage still looks for itself.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import Engine, text
from sqlmodel import Session, col, select

from app.core.errors import ClairError
from app.ingest.leases import lease_kept
from app.ingest.runs import claim_run, end_run, follow_up
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind, RunState

log = logging.getLogger(__name__)

Report = Callable[[float], None]
"""Tells how far a stage is, 0 to 1."""

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")
_REPORT_SECONDS = 1.0


class Stage(ABC, Generic[_Input, _Output]):
    """One stage of the walk, for one kind of run."""

    kind: ClassVar[RunKind]
    following: ClassVar[RunKind | None]

    @abstractmethod
    def read(self, session: Session, run: Run) -> _Input:
        """Everything that the output depends on."""

    @abstractmethod
    def fingerprint(self, given: _Input) -> str:
        """The content address of the input: the same for the same output, whoever computes it."""

    @abstractmethod
    def build(self, given: _Input, report: Report) -> _Output:
        """The work, outside any transaction, which may take long."""

    @abstractmethod
    def store(self, session: Session, run: Run, given: _Input, made: _Output) -> dict[str, Any]:
        """Replaces the stored output; returns figures for the run's summary."""

    def stored(self) -> None:
        """After the commit: let go of what the new output has replaced."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A stage that was carried out, and the pending run of the next one."""

    event_id: int
    following: Run | None


def carry_out(engine: Engine, run_id: int, stage: Stage[Any, Any]) -> Carried | None:
    """Carry out a stage's run.

    Does nothing, and returns None, where the run is done, held elsewhere, or its lease was lost.
    Raises what the stage raises; the run's lease then runs out, or `fail_run` ends it.
    """
    began = time.monotonic()
    with session_scope(engine) as session:
        run = claim_run(session, run_id)
        if run is None:
            return None
        given = stage.read(session, run)
        fingerprint = stage.fingerprint(given)
        last = _last_summary(session, run)
    skip = last is not None and last.get("input") == fingerprint
    if not skip:
        with lease_kept(engine, run):
            made = stage.build(given, _reporter(engine, run))
    with session_scope(engine) as session:
        figures = dict(last or {}) if skip else stage.store(session, run, given, made)
        took = round(time.monotonic() - began, 3)
        summary = figures | {"input": fingerprint, "skipped": skip, "seconds": took}
        if not end_run(session, run, RunState.DONE, summary=summary):
            session.rollback()
            log.warning("%s run %s: lease lost, result dropped", stage.kind, run_id)
            return None
        following = follow_up(session, run, stage.following) if stage.following else None
    if not skip:
        stage.stored()
    return Carried(run.event_id, following)


def _last_summary(session: Session, run: Run) -> dict[str, Any] | None:
    summary = session.exec(
        select(Run.summary)
        .where(Run.event_id == run.event_id, Run.kind == run.kind, Run.state == RunState.DONE)
        .order_by(col(Run.id).desc())
        .limit(1)
    ).first()
    return dict(summary) if summary else None


def _reporter(engine: Engine, run: Run) -> Report:
    """Writes the progress at most once a second; a report that can't be written is left out."""
    last = 0.0

    def report(share: float) -> None:
        nonlocal last
        if time.monotonic() - last < _REPORT_SECONDS:
            return
        last = time.monotonic()
        try:
            with session_scope(engine) as session:
                session.connection().execute(
                    text("UPDATE run SET progress = :share WHERE id = :id AND lease = :lease"),
                    {"share": min(1.0, max(0.0, share)), "id": run.id, "lease": run.lease},
                )
        except ClairError as error:
            log.info("%s run %s: progress not written: %s", run.kind, run.id, error)

    return report
