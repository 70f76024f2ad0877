"""Decisions add up, are undone as they were made, and are never lost."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.core.errors import BadInput, UnknownPhoto
from app.curate.decisions import Field, decide, redo, undo
from app.storage.engine import session_scope
from tests.factories import index_photos, make_photos


@pytest.fixture
def party(engine):
    made = make_photos(engine, 4)
    index_photos(engine, made)
    return made


def flags(session, made) -> list[int]:
    rows = session.connection().execute(
        text("SELECT flag FROM photo WHERE event_id = :e ORDER BY id"), {"e": made.event_id}
    )
    return [row[0] for row in rows]


def flag(session, made, value, *photos, by="anna"):
    ids = [made.photo_ids[n] for n in photos]
    return decide(session, made.event_id, [(Field.FLAG, value, ids)], by=by)


def test_a_batch_is_undone_and_redone_as_one(engine, party):
    with session_scope(engine) as session:
        flag(session, party, 1, 0)
        flag(session, party, -1, 0, 1, 2)
        assert flags(session, party) == [-1, -1, -1, 0]
        undone = undo(session, party.event_id, by="anna")
        assert undone.photo_ids == tuple(party.photo_ids[:3])
        assert flags(session, party) == [1, 0, 0, 0]
        undo(session, party.event_id, by="anna")
        assert flags(session, party) == [0, 0, 0, 0]
        assert undo(session, party.event_id, by="anna") is None
        redo(session, party.event_id, by="anna")
        assert flags(session, party) == [1, 0, 0, 0]
        redo(session, party.event_id, by="anna")
        assert flags(session, party) == [-1, -1, -1, 0]
        assert redo(session, party.event_id, by="anna") is None


def test_who_decides_anew_has_nothing_to_redo(engine, party):
    with session_scope(engine) as session:
        flag(session, party, 1, 0)
        undo(session, party.event_id, by="anna")
        flag(session, party, 1, 1)
        assert redo(session, party.event_id, by="anna") is None
        assert flags(session, party) == [0, 1, 0, 0]


def test_each_person_undoes_their_own(engine, party):
    with session_scope(engine) as session:
        flag(session, party, 1, 0, 1, by="anna")
        flag(session, party, -1, 1, by="ben")
        undo(session, party.event_id, by="anna")
        assert flags(session, party) == [0, -1, 0, 0]  # Ben's word is newer, and stands
        undo(session, party.event_id, by="ben")
        assert flags(session, party) == [0, 0, 0, 0]


def test_a_named_batch_is_undone_though_newer_ones_stand(engine, party):
    with session_scope(engine) as session:
        first = flag(session, party, 1, 0)
        flag(session, party, 1, 1)
        undo(session, party.event_id, by="anna", batch=first.batch)
        assert flags(session, party) == [0, 1, 0, 0]
        assert undo(session, party.event_id, by="ben", batch=first.batch) is None


def test_fields_of_one_batch_go_together(engine, party):
    first, second = party.photo_ids[:2]
    with session_scope(engine) as session:
        decide(
            session,
            party.event_id,
            [(Field.BEST, 1, [first]), (Field.FLAG, -1, [second]), (Field.KEPT, 1, [first])],
            by="anna",
        )
        query = text("SELECT best_at IS NOT NULL, kept_at IS NOT NULL, flag FROM photo ORDER BY id")
        assert session.connection().execute(query).all()[:2] == [
            (True, True, 0),
            (False, False, -1),
        ]
        undo(session, party.event_id, by="anna")
        assert session.connection().execute(query).all()[:2] == [(False, False, 0)] * 2


def test_what_makes_no_sense_is_refused_and_changes_nothing(engine, party):
    other = make_photos(engine, 1, event="Elsewhere")
    with session_scope(engine) as session:
        with pytest.raises(UnknownPhoto):
            decide(
                session,
                party.event_id,
                [(Field.FLAG, 1, [party.photo_ids[0], other.photo_ids[0]])],
                by="anna",
            )
        with pytest.raises(BadInput):
            decide(session, party.event_id, [(Field.FLAG, 2, party.photo_ids)], by="anna")
        with pytest.raises(BadInput):
            decide(session, party.event_id, [(Field.FLAG, 1, [])], by="anna")
        assert flags(session, party) == [0, 0, 0, 0]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("flag"), st.integers(-1, 1), st.sets(st.integers(0, 3), min_size=1)),
        st.tuples(st.just("undo"), st.none(), st.none()),
        st.tuples(st.just("redo"), st.none(), st.none()),
    ),
    max_size=15,
)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_it_is_a_stack_of_states(engine, party, steps):
    past, future, now = [], [], [0, 0, 0, 0]
    with session_scope(engine) as session:
        for step, value, photos in steps:
            if step == "flag":
                flag(session, party, value, *photos)
                past.append(now)
                now = [value if n in photos else old for n, old in enumerate(now)]
                future = []
            elif step == "undo":
                assert (undo(session, party.event_id, by="anna") is None) == (not past)
                if past:
                    future.append(now)
                    now = past.pop()
            else:
                assert (redo(session, party.event_id, by="anna") is None) == (not future)
                if future:
                    past.append(now)
                    now = future.pop()
            assert flags(session, party) == now
        session.rollback()
