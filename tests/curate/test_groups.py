"""Groups as people see and judge them."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.core.errors import BadInput, UnknownGroup
from app.core.jobs import Job
from app.curate.decisions import Field
from app.curate.groups import (
    GroupCount,
    group_counts,
    group_of,
    group_slice,
    groups_of_photo,
    sensitivity_of,
)
from app.curate.service import CHOSEN, CurateService, Verdict
from app.storage.engine import session_scope
from app.storage.tables_graph import GroupKind, PhotoGroup, PhotoGroupMember
from tests.factories import index_photos, make_photos


class Queue:
    def __init__(self):
        self.sent = []

    def send(self, job, *arguments, delay=None):
        self.sent.append(job)

    def ask(self, job, *arguments, timeout):
        raise AssertionError("nothing is asked here")


@pytest.fixture
def queue():
    return Queue()


@pytest.fixture
def service(engine, queue):
    return CurateService(engine, queue)


@pytest.fixture
def party(engine):
    made = make_photos(engine, 12)
    index_photos(engine, made)
    return made


def add_group(engine, made, numbers, kind=GroupKind.BURST) -> int:
    """A group of these photos, the first one the best."""
    with session_scope(engine) as session:
        ids = [made.photo_ids[n] for n in numbers]
        group = PhotoGroup(
            event_id=made.event_id, kind=kind, best_id=ids[0], size=len(ids), reason="Sharpest."
        )
        session.add(group)
        session.flush()
        for rank, photo_id in enumerate(ids):
            session.add(
                PhotoGroupMember(
                    group_id=group.id,
                    photo_id=photo_id,
                    kind=kind,
                    rank=rank,
                    similarity=1 - rank / 10,
                    reason=f"{rank} s later",
                )
            )
        return group.id


def ids_of(group):
    return [member.photo.id for member in group.members]


def test_the_largest_first_and_what_is_left_to_decide(engine, party, service):
    small, large = add_group(engine, party, [0, 1]), add_group(engine, party, [2, 3, 4])
    service.judge(large, Verdict.KEEP_ALL, by="anna")
    with session_scope(engine) as session:
        assert [g.id for g in group_slice(session, party.event_id, GroupKind.BURST).groups] == [
            small
        ]
        everything = group_slice(session, party.event_id, GroupKind.BURST, open_only=False)
        assert [g.id for g in everything.groups] == [large, small]
        assert [g.undecided for g in everything.groups] == [0, 2]
        assert group_slice(session, party.event_id, GroupKind.EXACT).groups == []
        counts = group_counts(session, party.event_id)
        assert counts[GroupKind.BURST] == GroupCount(2, 1, 5)
        assert counts[GroupKind.LOOKALIKE] == GroupCount()


def test_paging_neither_repeats_nor_skips_while_groups_are_decided(engine, party, service):
    groups = [add_group(engine, party, [n, n + 1]) for n in range(0, 12, 2)]
    seen, cursor = [], None
    while True:
        with session_scope(engine) as session:
            page = group_slice(session, party.event_id, GroupKind.BURST, cursor=cursor, limit=2)
        seen += [group.id for group in page.groups]
        service.judge(seen[-1], Verdict.KEEP_BEST, by="anna")
        cursor = page.next
        if cursor is None:
            break
    assert seen == groups


@pytest.mark.parametrize("cursor", ["x", "WyJhIiwgMV0", "W10", "WzEsIC0xXQ", "A" * 200])
def test_a_damaged_cursor_is_refused(engine, party, cursor):
    with session_scope(engine) as session, pytest.raises(BadInput, match="cursor"):
        group_slice(session, party.event_id, GroupKind.BURST, cursor=cursor)


def test_keeping_the_best_rejects_the_others_and_is_undone_as_one(engine, party, service):
    group_id = add_group(engine, party, [3, 1, 2])
    _, group = service.judge(group_id, Verdict.KEEP_BEST, by="anna")
    flags = {m.photo.id: (m.photo.flag, m.photo.kept_at is not None) for m in group.members}
    ids = party.photo_ids
    assert flags == {ids[3]: (0, True), ids[1]: (-1, False), ids[2]: (-1, False)}
    assert group.undecided == 0
    service.undo(party.event_id, by="anna")
    with session_scope(engine) as session:
        assert group_of(session, group_id).undecided == 3


def test_a_judgement_replaces_the_one_before(engine, party, service):
    group_id = add_group(engine, party, [0, 1, 2])
    service.judge(group_id, Verdict.KEEP_BEST, by="anna")
    chosen = party.photo_ids[1:3]
    _, group = service.judge(group_id, Verdict.KEEP_CHOSEN, by="anna", kept=chosen)
    kept = {m.photo.id for m in group.members if m.photo.kept_at and m.photo.flag == 0}
    rejected = {m.photo.id for m in group.members if m.photo.flag < 0}
    assert (kept, rejected) == (set(chosen), {party.photo_ids[0]})
    for wrong in ([], [party.photo_ids[9]]):
        with pytest.raises(BadInput):
            service.judge(group_id, Verdict.KEEP_CHOSEN, by="anna", kept=wrong)
    with pytest.raises(UnknownGroup):
        service.judge(group_id + 1000, Verdict.KEEP_ALL, by="anna")


def test_a_chosen_frame_leads_all_its_groups_at_once(engine, party, service, queue):
    inner = add_group(engine, party, [0, 1], GroupKind.EXACT)
    outer = add_group(engine, party, [2, 0, 1])
    _, group = service.choose_best(outer, party.photo_ids[1], by="anna")
    assert ids_of(group) == [party.photo_ids[n] for n in (1, 0, 2)]
    assert group.reason == CHOSEN
    with session_scope(engine) as session:
        assert ids_of(group_of(session, inner)) == [party.photo_ids[1], party.photo_ids[0]]
        both = groups_of_photo(session, party.photo_ids[1])
        assert [found.kind for found in both] == [GroupKind.EXACT, GroupKind.BURST]
    assert queue.sent == [Job.BUILD_STAGE]
    with pytest.raises(BadInput):
        service.choose_best(outer, party.photo_ids[7], by="anna")


def test_taking_a_choice_back_groups_anew(engine, party, service, queue):
    service.decide(party.event_id, [(Field.BEST, 1, party.photo_ids[:1])], by="anna")
    service.undo(party.event_id, by="anna")
    service.redo(party.event_id, by="anna")
    assert queue.sent == [Job.BUILD_STAGE] * 3
    assert service.redo(party.event_id, by="anna") is None
    service.decide(party.event_id, [(Field.FLAG, 1, party.photo_ids[:1])], by="anna")
    assert queue.sent == [Job.BUILD_STAGE] * 3
    with session_scope(engine) as session:  # they wait as one
        waiting = session.connection().execute(text("SELECT count(*) FROM run WHERE kind='groups'"))
        assert waiting.scalar() == 1


def test_sensitivity_is_the_events_own(engine, party, service, queue):
    with session_scope(engine) as session:
        assert sensitivity_of(session, party.event_id).value == 50
    service.set_sensitivity(party.event_id, 80, by="anna")
    with session_scope(engine) as session:
        assert sensitivity_of(session, party.event_id).value == 80
    assert queue.sent == [Job.BUILD_STAGE]
    with pytest.raises(BadInput):
        service.set_sensitivity(party.event_id, 101, by="anna")
