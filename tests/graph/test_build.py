"""The graph stage: edges in the database, kept between two builds, never dangling."""

import numpy as np
import pytest
from sqlalchemy import text

from app.core.errors import BadInput
from app.core.vectors import normalised
from app.graph.across import NEIGHBOURS_ACROSS
from app.graph.build import GraphStage
from app.graph.linking import link, unlink
from app.graph.stage import carry_out
from app.ingest import runs
from app.storage.engine import session_scope
from app.storage.tables import Event, Run, RunKind, RunState
from app.storage.vectors import store_photo_vectors
from tests.factories import IMAGE_MODEL, Made, index_photos, make_photos


@pytest.fixture
def build(engine, tmp_path):
    """Runs the stage for an event; returns its run."""

    def run_stage(made: Made) -> Run:
        with session_scope(engine) as session:
            run_id = runs.start_stage(session, made.event_id, RunKind.GRAPH).id
        assert carry_out(engine, run_id, GraphStage(engine, IMAGE_MODEL, tmp_path)) is not None
        with session_scope(engine) as session:
            return session.get(Run, run_id)

    return run_stage


def edges(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT src, dst, weight FROM edge ORDER BY 1, 2")).all()


def add_photos(engine, made: Made, vectors) -> list[int]:
    """More indexed photos in the same event."""
    with session_scope(engine) as session:
        ids = [
            row[0]
            for row in session.connection().execute(
                text(
                    "INSERT INTO photo (event_id, source_id, source_key, uri, state, indexed_at,"
                    " thumb) SELECT :event, :source, 'more ' || n || clock_timestamp(), 'u', 'indexed',"
                    " clock_timestamp(), 'ab' FROM generate_series(1, :n) AS n RETURNING id"
                ),
                {"event": made.event_id, "source": made.source_id, "n": len(vectors)},
            )
        ]
        rows = [(i, made.event_id, v) for i, v in zip(ids, normalised(vectors), strict=True)]
        store_photo_vectors(session, made.model, rows)
    return ids


def test_the_stage_stores_edges_and_calls_for_the_next(engine, build):
    made = make_photos(engine, 20)
    vectors = index_photos(engine, made)
    run = build(made)
    assert run.state == RunState.DONE
    assert run.summary["edges"] == 20 * 15
    stored = edges(engine)
    assert len(stored) == 20 * 15
    src, dst, weight = stored[0]
    a, b = made.photo_ids.index(src), made.photo_ids.index(dst)
    assert weight == pytest.approx(float(vectors[a] @ vectors[b]), abs=2e-3)
    with session_scope(engine) as session:
        following = session.connection().execute(
            text("SELECT count(*) FROM run WHERE kind NOT IN ('ingest', 'graph')")
        )
        assert following.scalar() == 1


def test_a_run_that_is_done_is_not_done_again(engine, build, tmp_path):
    made = make_photos(engine, 5)
    index_photos(engine, made)
    run = build(made)
    assert carry_out(engine, run.id, GraphStage(engine, IMAGE_MODEL, tmp_path)) is None


def test_unchanged_vectors_are_not_computed_again(engine, build):
    made = make_photos(engine, 6)
    index_photos(engine, made)
    build(made)
    before = edges(engine)
    assert build(made).summary["skipped"] is True
    assert edges(engine) == before


@pytest.mark.parametrize("damage", ["none", "lost", "cut off", "of another run"])
def test_photos_that_come_change_only_the_rows_that_they_enter(engine, build, tmp_path, damage):
    made = make_photos(engine, 300)
    random = np.random.default_rng(5)
    index_photos(engine, made, random.normal(size=(300, IMAGE_MODEL.dim)))
    first = build(made)
    assert first.summary["rows_written"] == 300
    (kept,) = tmp_path.iterdir()
    if damage == "lost":
        (kept / "ids.npy").unlink()
    elif damage == "cut off":
        (kept / "vectors.npy").write_bytes((kept / "vectors.npy").read_bytes()[:100])
    elif damage == "of another run":
        (kept / "facts.json").write_text('{"run": 1, "recall": 1}')
    add_photos(engine, made, random.normal(size=(3, IMAGE_MODEL.dim)))
    grown = build(made)
    assert (grown.summary["rows_written"] < 303) == (damage == "none")
    after = edges(engine)
    for path in tmp_path.rglob("*.npy"):
        path.unlink()
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM run WHERE kind = 'graph'"))
    assert build(made).summary["rows_written"] == 303
    rebuilt = edges(engine)
    assert [edge[:2] for edge in after] == [edge[:2] for edge in rebuilt]
    np.testing.assert_allclose([e[2] for e in after], [e[2] for e in rebuilt], atol=2e-3)


def test_a_photo_that_looks_otherwise_now_has_other_neighbours(engine, build):
    made = make_photos(engine, 40)
    random = np.random.default_rng(6)
    vectors = random.normal(size=(40, IMAGE_MODEL.dim))
    index_photos(engine, made, vectors)
    build(made)
    changed = made.photo_ids[3]
    with session_scope(engine) as session:
        rows = [(changed, made.event_id, normalised(vectors[20:21])[0])]
        store_photo_vectors(session, made.model, rows)
        session.connection().execute(
            text("UPDATE photo SET changed_at = clock_timestamp() WHERE id = :id"), {"id": changed}
        )
    build(made)
    first = max((e for e in edges(engine) if e[0] == changed), key=lambda e: e[2])
    assert first[1] == made.photo_ids[20]
    assert first[2] == pytest.approx(1, abs=1e-3)


def test_a_deleted_photo_leaves_no_dangling_edge_and_no_gap(engine, build):
    made = make_photos(engine, 30)
    index_photos(engine, made)
    build(made)
    gone = made.photo_ids[2]
    with session_scope(engine) as session:
        session.connection().execute(text("DELETE FROM photo WHERE id = :id"), {"id": gone})
    assert not any(gone in edge[:2] for edge in edges(engine))
    build(made)
    assert len(edges(engine)) == 29 * 15


def test_an_event_that_is_deleted_takes_its_edges_along(engine, build):
    made = make_photos(engine, 5)
    index_photos(engine, made)
    build(made)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM event WHERE id = :id"), {"id": made.event_id})
    assert edges(engine) == []


def across(engine):
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT src, dst FROM edge WHERE kind = 'across' ORDER BY 1, 2")
        ).all()


def events_of(engine, *made):
    with session_scope(engine) as session:
        return [session.get(Event, each.event_id) for each in made]


def waiting_graphs(engine) -> list[int]:
    with engine.connect() as connection:
        return list(
            connection.execute(
                text("SELECT event_id FROM run WHERE kind = 'graph' AND state = 'pending'")
            ).scalars()
        )


def test_photos_of_linked_events_find_each_other(engine, build):
    random = np.random.default_rng(8)
    first, second = make_photos(engine, 9), make_photos(engine, 7, event="Second")
    mine = index_photos(engine, first, random.normal(size=(9, IMAGE_MODEL.dim)))
    theirs = index_photos(engine, second, random.normal(size=(7, IMAGE_MODEL.dim)))
    build(first)
    build(second)
    assert across(engine) == []
    with session_scope(engine) as session:
        link(session, *events_of(engine, first, second))
    build(first)
    build(second)
    found = across(engine)
    assert len(found) == (9 + 7) * NEIGHBOURS_ACROSS
    nearest = np.argsort(-(mine @ theirs.T), axis=1)[:, :NEIGHBOURS_ACROSS]
    wanted = {
        (first.photo_ids[i], second.photo_ids[j]) for i, row in enumerate(nearest) for j in row
    }
    assert wanted <= {tuple(edge) for edge in found}
    # A photo that is deleted leaves no edge, neither there nor here.
    with session_scope(engine) as session:
        session.connection().execute(
            text("DELETE FROM photo WHERE id = :id"), {"id": second.photo_ids[0]}
        )
    assert not any(second.photo_ids[0] in edge for edge in across(engine))
    with session_scope(engine) as session:
        unlink(session, *events_of(engine, first, second))
    build(first)
    build(second)
    assert across(engine) == []


def test_a_change_of_one_event_reaches_the_other_and_comes_to_rest(engine, build):
    first, second = make_photos(engine, 8), make_photos(engine, 8, event="Second")
    index_photos(engine, first)
    index_photos(engine, second, np.random.default_rng(9).normal(size=(8, IMAGE_MODEL.dim)))
    with session_scope(engine) as session:
        link(session, *events_of(engine, first, second))
    for each in (first, second, first, second):
        build(each)
    assert waiting_graphs(engine) == []
    (new,) = add_photos(engine, second, np.ones((1, IMAGE_MODEL.dim)))
    build(second)
    assert waiting_graphs(engine) == [first.event_id]
    assert build(first).summary["rows_written"] == 0  # its own edges are what they were
    build(second)
    assert waiting_graphs(engine) == []
    assert any(edge[0] == new for edge in across(engine))


def test_an_event_is_not_linked_with_itself(engine):
    made = make_photos(engine, 1)
    with session_scope(engine) as session, pytest.raises(BadInput):
        link(session, *events_of(engine, made, made))
