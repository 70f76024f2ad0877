import numpy as np
import pytest
from sqlalchemy import text

from app.core.vectors import normalised
from app.graph.build import build_graph
from app.graph.knn import nearest_neighbours
from app.ingest import runs
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind, RunState
from tests.factories import IMAGE_MODEL, index_photos, make_photos


@pytest.mark.parametrize(("n", "k"), [(40, 5), (3, 15), (2, 1)])
def test_neighbours_are_exact(n, k):
    vectors = normalised(np.random.default_rng(1).normal(size=(n, 16)))
    neighbours, similarity = nearest_neighbours(vectors, k)
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -2)
    expected = -np.sort(-cosine, axis=1)[:, : min(k, n - 1)]
    np.testing.assert_allclose(similarity, expected, atol=1e-5)
    assert all(i not in row for i, row in enumerate(neighbours))


def test_exact_copies_are_neighbours_of_each_other_not_of_themselves():
    vectors = np.repeat(np.eye(4, dtype=np.float32), 30, axis=0)
    neighbours, similarity = nearest_neighbours(vectors, 5)
    assert all(i not in row for i, row in enumerate(neighbours))
    assert (neighbours // 30 == np.arange(120)[:, None] // 30).all()
    np.testing.assert_allclose(similarity, 1.0)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_photos_have_no_neighbours(n):
    neighbours, similarity = nearest_neighbours(np.ones((n, 4), np.float32))
    assert neighbours.shape == similarity.shape == (n, 0)


def graph_run(engine, made):
    with session_scope(engine) as session:
        return runs.follow_up(session, session.get(Run, made.run_id), RunKind.GRAPH).id


def edges(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT src, dst, weight FROM edge ORDER BY 1, 2")).all()


def test_the_stage_stores_edges_and_calls_for_a_layout(engine):
    made = make_photos(engine, 20)
    vectors = index_photos(engine, made)
    run_id = graph_run(engine, made)
    layout = build_graph(engine, run_id, IMAGE_MODEL)
    stored = edges(engine)
    assert len(stored) == 20 * 15
    src, dst, weight = stored[0]
    a, b = made.photo_ids.index(src), made.photo_ids.index(dst)
    assert weight == pytest.approx(float(vectors[a] @ vectors[b]), abs=2e-3)
    with session_scope(engine) as session:
        assert session.get(Run, layout).kind == RunKind.LAYOUT
        assert session.get(Run, run_id).state == RunState.DONE
    assert build_graph(engine, run_id, IMAGE_MODEL) is None  # delivered twice


def test_unchanged_vectors_are_not_computed_again(engine):
    made = make_photos(engine, 6)
    index_photos(engine, made)
    build_graph(engine, graph_run(engine, made), IMAGE_MODEL)
    before = edges(engine)
    second = graph_run(engine, made)
    assert build_graph(engine, second, IMAGE_MODEL) is not None
    with session_scope(engine) as session:
        assert session.get(Run, second).summary["skipped"] is True
    assert edges(engine) == before


def test_a_deleted_photo_leaves_no_dangling_edge(engine):
    made = make_photos(engine, 6)
    index_photos(engine, made)
    build_graph(engine, graph_run(engine, made), IMAGE_MODEL)
    gone = made.photo_ids[2]
    with session_scope(engine) as session:
        session.connection().execute(text("DELETE FROM photo WHERE id = :id"), {"id": gone})
    assert not any(gone in edge[:2] for edge in edges(engine))
    build_graph(engine, graph_run(engine, made), IMAGE_MODEL)
    assert len(edges(engine)) == 5 * 4
