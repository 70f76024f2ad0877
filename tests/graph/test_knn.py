"""Neighbours: exact, the same for the same photos, and repaired rather than searched for anew."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.vectors import normalised
from app.graph import knn
from app.graph.knn import Neighbours, grow, nearest_neighbours


def random_rows(n, dim=16, seed=1):
    return normalised(np.random.default_rng(seed).normal(size=(n, dim)))


def assert_exact(vectors, found, k):
    n = len(vectors)
    k = max(0, min(k, n - 1))
    assert found.rows.shape == found.weights.shape == (n, k)
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -2)
    np.testing.assert_allclose(found.weights, -np.sort(-cosine, axis=1)[:, :k], atol=1e-5)
    own = np.take_along_axis(cosine, found.rows, 1)
    np.testing.assert_allclose(found.weights, own, atol=1e-5)
    assert all(len(set(row)) == k for row in found.rows.tolist())


@pytest.mark.parametrize(("n", "k"), [(0, 5), (1, 5), (2, 1), (3, 15), (40, 5), (2500, 15)])
def test_neighbours_are_exact(n, k):
    vectors = random_rows(n)
    assert_exact(vectors, nearest_neighbours(vectors, k), k)


def test_exact_copies_are_neighbours_of_each_other_not_of_themselves():
    vectors = np.repeat(np.eye(4, dtype=np.float32), 400, axis=0)
    found = nearest_neighbours(vectors, 5)
    assert all(i not in row for i, row in enumerate(found.rows))
    assert (found.rows // 400 == np.arange(1600)[:, None] // 400).all()
    np.testing.assert_allclose(found.weights, 1.0)
    # Of equals the lower index, so that the same photos give the same graph.
    assert found.rows[1599].tolist() == [1200, 1201, 1202, 1203, 1204]
    assert found.rows[0].tolist() == [1, 2, 3, 4, 5]


def test_many_photos_are_searched_approximately_with_the_recall_measured(monkeypatch):
    monkeypatch.setattr(knn, "EXACT_TO", 1000)
    centres = random_rows(60, 32, seed=2)
    noise = np.random.default_rng(3).normal(scale=0.1, size=(3000, 32))
    vectors = normalised(np.repeat(centres, 50, axis=0) + noise)
    found = nearest_neighbours(vectors, 15)
    exact = knn._exact(vectors, 15)
    true = np.mean([len(set(a) & set(b)) for a, b in zip(found.rows, exact.rows, strict=True)]) / 15
    assert found.recall >= knn.RECALL_WANTED
    assert abs(true - found.recall) < 0.03
    assert all(i not in row for i, row in enumerate(found.rows))


def start_of(vectors, kept, now, fresh):
    """What is known when `kept` rows of another time are today's rows `now`."""
    before = nearest_neighbours(vectors[kept])
    k = before.rows.shape[1]
    today = np.full(len(kept) + 1, -1, np.int64)
    today[: len(kept)] = now
    rows = np.full((len(fresh), k), -1, np.int64)
    weights = np.full((len(fresh), k), -np.inf, np.float32)
    there = now >= 0
    rows[now[there]] = today[before.rows[there]]
    weights[now[there]] = before.weights[there]
    return Neighbours(rows, weights)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(0, 20), st.integers(0, 20))
def test_growing_gives_the_graph_of_a_rebuild(seed, stay, come, go):
    """Photos 0…stay stay, the next `go` were there before, the last `come` are new."""
    vectors = random_rows(stay + go + come, 6, seed)
    today = np.concatenate([vectors[:stay], vectors[stay + go :]])
    kept = np.arange(stay + go)
    now = np.where(kept < stay, kept, -1)
    fresh = np.arange(stay + come) >= stay
    grown = grow(today, start_of(vectors, kept, now, fresh), fresh)
    rebuilt = nearest_neighbours(today)
    np.testing.assert_allclose(grown.neighbours.weights, rebuilt.weights, atol=1e-6)
    assert (grown.neighbours.rows != rebuilt.rows).sum() <= 0.01 * rebuilt.rows.size


def test_rows_that_stay_as_they_are_are_not_written_again():
    vectors = random_rows(3000, 8, 4)
    known = nearest_neighbours(vectors[:2990])
    rows = np.concatenate([known.rows, np.full((10, 15), -1)])
    weights = np.concatenate([known.weights, np.full((10, 15), -np.inf, np.float32)])
    fresh = np.arange(3000) >= 2990
    grown = grow(vectors, Neighbours(rows, weights), fresh)
    same = (grown.neighbours.rows == rows).all(axis=1)
    np.testing.assert_array_equal(grown.changed, ~same)
    assert 10 <= grown.changed.sum() < 600
