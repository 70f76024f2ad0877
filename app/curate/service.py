"""What pages, API and command line ask of groups and decisions, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from sqlalchemy import Engine, text
from sqlmodel import Session

from app.core.errors import BadInput
from app.core.jobs import Job, JobQueue
from app.curate.decisions import Change, Field, decide, redo, undo
from app.curate.groups import Group, group_of, set_sensitivity
from app.ingest.nudges import nudge
from app.ingest.runs import start_stage
from app.storage import audit
from app.storage.engine import session_scope
from app.storage.tables import RunKind

CHOSEN = "Chosen by you."


class Verdict(StrEnum):
    """What a person says about a whole group."""

    KEEP_BEST = "keep-best"
    KEEP_ALL = "keep-all"
    KEEP_CHOSEN = "keep-chosen"


class CurateService:
    """`tell` hears of each event that changed."""

    def __init__(
        self, engine: Engine, jobs: JobQueue, tell: Callable[[int], object] = lambda _: None
    ) -> None:
        self._engine, self._jobs, self._tell = engine, jobs, tell

    def judge(
        self, group_id: int, verdict: Verdict, *, by: str, kept: Sequence[int] = ()
    ) -> tuple[Change, Group]:
        """Decide a group: keep its best frame, all, or those in `kept`; the others are rejected.

        One batch. Raises UnknownGroup, BadInput where `kept` is empty or not of the group.
        """
        with session_scope(self._engine) as session:
            group = group_of(session, group_id)
            ids = [member.photo.id for member in group.members]
            match verdict:
                case Verdict.KEEP_ALL:
                    stay = ids
                case Verdict.KEEP_BEST:
                    stay = ids[:1]
                case Verdict.KEEP_CHOSEN:
                    stay = list(kept)
            if not stay or not set(stay) <= set(ids):
                raise BadInput("Choose at least one photo of this group to keep.")
            go = sorted(set(ids) - set(stay))
            decisions = [(Field.KEPT, 1, stay)]
            rejected = [m.photo.id for m in group.members if m.photo.flag < 0]
            if back := sorted(set(stay) & set(rejected)):
                decisions.append((Field.FLAG, 0, back))
            if go:
                decisions += [(Field.FLAG, -1, go), (Field.KEPT, 0, go)]
            change = decide(session, group.event_id, decisions, by=by)
            session.expire_all()
            group = group_of(session, group_id)
        self._tell(group.event_id)
        return change, group

    def choose_best(self, group_id: int, photo_id: int, *, by: str) -> tuple[Change, Group]:
        """This frame is the best of its groups from now on. Raises UnknownGroup, BadInput."""
        with session_scope(self._engine) as session:
            group = group_of(session, group_id)
            if photo_id not in {member.photo.id for member in group.members}:
                raise BadInput("This photo is not in the group.")
            change = decide(session, group.event_id, [(Field.BEST, 1, [photo_id])], by=by)
            session.connection().execute(_LEAD, {"photo": photo_id, "reason": CHOSEN})
            session.connection().execute(_SWAP, {"photo": photo_id})
            session.expire_all()
            group = group_of(session, group_id)
            stage = start_stage(session, group.event_id, RunKind.GROUPS).id
        nudge(self._jobs, Job.BUILD_STAGE, stage)  # its members are compared with the new best
        self._tell(group.event_id)
        return change, group

    def decide(
        self, event_id: int, decisions: Sequence[tuple[Field, int, Sequence[int]]], *, by: str
    ) -> Change:
        """Raises what decisions.decide raises."""
        with session_scope(self._engine) as session:
            change = decide(session, event_id, decisions, by=by)
            stage = self._regroup(session, event_id, change)
        self._after(event_id, stage)
        return change

    def undo(self, event_id: int, *, by: str, batch: int | None = None) -> Change | None:
        """None where there is nothing to take back."""
        with session_scope(self._engine) as session:
            change = undo(session, event_id, by=by, batch=batch)
            stage = self._regroup(session, event_id, change)
        self._after(event_id, stage)
        return change

    def redo(self, event_id: int, *, by: str) -> Change | None:
        """None where there is nothing to restore."""
        with session_scope(self._engine) as session:
            change = redo(session, event_id, by=by)
            stage = self._regroup(session, event_id, change)
        self._after(event_id, stage)
        return change

    def set_sensitivity(self, event_id: int, value: int, *, by: str) -> None:
        """Group anew by this sensitivity, 0 to 100. Raises BadInput."""
        with session_scope(self._engine) as session:
            set_sensitivity(session, event_id, value)
            audit.record(session, by, "set sensitivity", f"event {event_id}", str(value))
            stage = start_stage(session, event_id, RunKind.GROUPS).id
        self._after(event_id, stage)

    def _regroup(self, session: Session, event_id: int, change: Change | None) -> int | None:
        """A best frame that is chosen, or no longer, leads its groups; one that is rejected doesn't."""
        if change is None:
            return None
        matters = session.connection().execute(
            text(
                "SELECT EXISTS (SELECT 1 FROM decision WHERE batch = :batch AND field = 'best')"
                " OR EXISTS (SELECT 1 FROM photo_group g JOIN photo p ON p.id = g.best_id"
                "   WHERE g.best_id = ANY(:ids) AND p.flag < 0)"
            ),
            {"batch": change.batch, "ids": list(change.photo_ids)},
        )
        return start_stage(session, event_id, RunKind.GROUPS).id if matters.scalar_one() else None

    def _after(self, event_id: int, stage: int | None) -> None:
        if stage is not None:
            nudge(self._jobs, Job.BUILD_STAGE, stage)
        self._tell(event_id)


_LEAD = text("""
UPDATE photo_group SET best_id = :photo, reason = :reason
WHERE id IN (SELECT group_id FROM photo_group_member WHERE photo_id = :photo)
""")
_SWAP = text("""
UPDATE photo_group_member AS member SET rank = CASE WHEN member.rank = 0 THEN mine.rank ELSE 0 END
FROM photo_group_member AS mine
WHERE mine.photo_id = :photo AND member.group_id = mine.group_id
    AND (member.rank = 0 OR member.photo_id = :photo) AND mine.rank > 0
""")
