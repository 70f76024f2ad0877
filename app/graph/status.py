"""How far an event's stages are: what the command line and the API tell of graph, groups, clusters
and layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from app.ingest.runs import start_stage
from app.storage.tables import OPEN_RUNS, STAGES, Run, RunKind, RunState


@dataclass(frozen=True, slots=True)
class StageStatus:
    """`state`: none | pending | working | done | failed. `progress`: 0 to 1 while working.

    `figures` are the last finished run's; `seconds` is what it took, `skipped` whether it found its
    output up to date already.
    """

    stage: str
    state: str
    progress: float | None
    message: str
    finished_at: datetime | None
    seconds: float | None
    skipped: bool
    figures: dict[str, Any]


def stage_statuses(session: Session, event_id: int) -> list[StageStatus]:
    """One for each of STAGES."""
    newest: dict[str, Run] = {}
    done: dict[str, Run] = {}
    for run in session.exec(
        select(Run)
        .where(Run.event_id == event_id, col(Run.kind).in_(STAGES))
        .order_by(col(Run.id).desc())
        .limit(200)
    ):
        newest.setdefault(run.kind, run)
        if run.state == RunState.DONE:
            done.setdefault(run.kind, run)
    return [_status(stage, newest.get(stage), done.get(stage)) for stage in STAGES]


def _status(stage: RunKind, newest: Run | None, done: Run | None) -> StageStatus:
    summary = dict(done.summary or {}) if done else {}
    for inner in ("input", "skipped", "seconds"):
        summary.pop(inner, None)
    kept = (done.summary or {}) if done else {}
    return StageStatus(
        stage=stage,
        state=newest.state if newest else "none",
        progress=newest.progress if newest and newest.state == RunState.WORKING else None,
        message=newest.message if newest else "",
        finished_at=done.finished_at if done else None,
        seconds=kept.get("seconds"),
        skipped=bool(kept.get("skipped", False)),
        figures=summary,
    )


def build_again(session: Session, event_id: int, *, anew: bool = False) -> Run:
    """A pending graph run, which the later stages follow. Commit, then send its job.

    `anew`: nothing counts as up to date, so that every stage is built from the start.
    """
    if anew:
        session.connection().execute(
            text(
                "UPDATE run SET summary = summary - 'input' WHERE event_id = :event"
                " AND kind = ANY(:stages) AND state = 'done' AND summary ? 'input'"
            ),
            {"event": event_id, "stages": [stage.value for stage in STAGES]},
        )
        # None counts as fitted, so that all are: turned onto what they were, as after any growth.
        session.connection().execute(
            text("UPDATE layout SET fitted = 0 WHERE event_id = :event"), {"event": event_id}
        )
    return start_stage(session, event_id, STAGES[0])


def is_grouped(statuses: Sequence[StageStatus]) -> bool:
    """Whether nothing that is under way could still change the groups."""
    early = {RunKind.GRAPH, RunKind.GROUPS}
    return not any(each.state in OPEN_RUNS for each in statuses if each.stage in early)


def is_settled(session: Session, event_id: int) -> bool:
    """Whether no stage of the event waits or works."""
    found = session.exec(
        select(Run.id)
        .where(
            Run.event_id == event_id,
            col(Run.kind).in_(STAGES),
            col(Run.state).in_(OPEN_RUNS),
        )
        .limit(1)
    ).first()
    return found is None
