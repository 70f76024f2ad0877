"""Fits: UMAP's graph and forces against umap-learn's own, and what a layout is worth."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from app.core.vectors import normalised
from app.graph.knn import nearest_neighbours
from app.space.aligning import align
from app.space.forces import CURVE_A, CURVE_B, fuzzy_graph, settle
from app.space.layout import lay_out, look_term
from app.space.trust import trustworthiness


def blocks(count, size, dim=32, noise=0.02):
    """`count` well separated groups of `size` unit vectors."""
    rng = np.random.default_rng(11)
    centres = np.repeat(np.eye(dim)[:count], size, axis=0)
    return normalised(centres + rng.normal(scale=noise, size=centres.shape))


def graph_of(vectors):
    found = nearest_neighbours(vectors)
    return found.rows, found.weights


def terms_of(vectors):
    return [look_term(*graph_of(vectors))]


def cosines(vectors):
    return lambda rows, columns: vectors[rows] @ vectors[columns].T


def test_the_graph_is_the_one_that_umap_makes():
    from umap.umap_ import find_ab_params, fuzzy_simplicial_set

    vectors = normalised(np.random.default_rng(3).normal(size=(120, 16)))
    rows, weights = graph_of(vectors)
    distances = 1 - weights
    own = np.arange(120)[:, None]
    theirs, _, _ = fuzzy_simplicial_set(
        vectors,
        n_neighbors=16,
        random_state=np.random.RandomState(0),
        metric="cosine",
        knn_indices=np.hstack([own, rows]).astype(np.int32),
        knn_dists=np.hstack([np.zeros((120, 1)), distances]).astype(np.float32),
    )
    ours = fuzzy_graph(rows, distances)
    np.testing.assert_allclose(ours.toarray(), theirs.toarray(), atol=2e-3)
    assert find_ab_params(1.0, 0.1) == pytest.approx((CURVE_A, CURVE_B), abs=1e-4)


def test_rows_with_fewer_neighbours_are_no_less_sure_of_them():
    neighbours = np.array([[1, 2], [0, 2], [0, 2]])
    distances = np.array([[0.1, 0.4], [0.1, 0.5], [0.4, np.inf]], np.float32)
    graph = fuzzy_graph(neighbours, distances).toarray()
    assert np.isfinite(graph).all()
    assert graph[2, 0] == pytest.approx(1, abs=1e-3)
    assert (np.diag(graph) == 0).all()


def test_groups_stay_together_in_space():
    vectors = blocks(5, 40)
    positions = lay_out(vectors, terms_of(vectors))
    assert positions.shape == (200, 3)
    assert np.isfinite(positions).all()
    label = np.arange(200) // 40
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :5]
    assert (label[nearest] == label[:, None]).mean() > 0.98


def test_the_same_photos_get_the_same_places():
    vectors = blocks(3, 20)
    terms = terms_of(vectors)
    np.testing.assert_array_equal(lay_out(vectors, terms), lay_out(vectors, terms))


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9])
def test_few_photos_have_a_place_too(n):
    vectors = normalised(np.random.default_rng(0).normal(size=(n, 16)))
    positions = lay_out(vectors, terms_of(vectors))
    assert positions.shape == (n, 3)
    assert np.isfinite(positions).all()


def test_identical_photos_do_not_break_the_layout():
    vectors = np.tile(np.eye(8, dtype=np.float32)[0], (50, 1))
    assert np.isfinite(lay_out(vectors, terms_of(vectors))).all()


def test_fixed_points_are_not_moved_by_the_forces():
    random = np.random.default_rng(2)
    places = random.normal(size=(40, 3)).astype(np.float32)
    rows = random.integers(0, 40, size=(40, 4))
    graph = fuzzy_graph(rows, random.uniform(0.1, 1, size=(40, 4)).astype(np.float32))
    settled = settle(places, graph, epochs=20, fixed=30)
    np.testing.assert_array_equal(settled[:30], places[:30])
    assert (settled[30:] != places[30:]).all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_layout_is_turned_back(mirrored):
    random = np.random.default_rng(4)
    before = random.normal(size=(30, 3)).astype(np.float32)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    if (np.linalg.det(turn) < 0) != mirrored:
        turn[:, 0] *= -1
    after = (2.5 * before @ turn + [3, -1, 7]).astype(np.float32)
    shared = np.arange(30) < 12
    lost = np.where(shared[:, None], before, 0)
    np.testing.assert_allclose(align(after, lost, shared), before, atol=1e-4)


def test_too_few_shared_photos_turn_nothing():
    places = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    assert align(places, np.zeros_like(places), np.arange(9) < 3) is places
    np.testing.assert_array_equal(align(places, np.zeros_like(places), np.arange(9) < 9), places)


def test_trustworthiness_is_that_of_scikit_learn():
    random = np.random.default_rng(8)
    vectors = normalised(random.normal(size=(400, 12)))
    places = (vectors[:, :3] + random.normal(scale=0.1, size=(400, 3))).astype(np.float32)
    theirs = sklearn_trustworthiness(vectors, places, n_neighbors=15)
    assert theirs < 0.95
    assert trustworthiness(cosines(vectors), places) == pytest.approx(theirs, abs=1e-6)


def test_trustworthiness_of_many_is_measured_on_some():
    random = np.random.default_rng(8)
    vectors = normalised(random.normal(size=(900, 6)))
    places = vectors[:, :3].copy()
    whole = trustworthiness(cosines(vectors), places)
    assert trustworthiness(cosines(vectors), places, sample=500) == pytest.approx(whole, abs=0.03)
    assert trustworthiness(cosines(vectors), places[:7]) is None


def test_a_good_layout_is_trusted_more_than_chance():
    vectors = blocks(6, 30)
    placed = lay_out(vectors, terms_of(vectors))
    chance = np.random.default_rng(0).permutation(placed)
    assert trustworthiness(cosines(vectors), placed) > 0.9
    assert trustworthiness(cosines(vectors), chance) < 0.6
