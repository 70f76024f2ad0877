"""Chapters and scenes: nested, of sensible number and size, aware of time, on any event."""

import numpy as np
import pytest

from app.core.vectors import normalised
from app.graph.clustering import (
    SHORTEST_TAU,
    TIME_SHARE,
    cluster,
    leiden,
    most_chapters,
    most_scenes,
    nearness,
    shared_graph,
    time_scale,
)
from app.graph.knn import nearest_neighbours


def clusters_of(vectors, taken=None):
    found = nearest_neighbours(vectors)
    return cluster(vectors, found.rows, found.weights, taken)


def scenes(chapters, each, size, dim=48, seed=3):
    """Photos of `chapters` × `each` scenes of `size`; scenes of a chapter resemble one another."""
    random = np.random.default_rng(seed)
    centres = np.repeat(np.eye(dim)[:chapters], each, axis=0)
    centres = centres + 0.5 * np.eye(dim)[chapters : chapters + chapters * each]
    photos = np.repeat(centres, size, axis=0)
    return normalised(photos + random.normal(scale=0.03, size=photos.shape))


def nested(found):
    return all(len(set(found.chapters[found.scenes == s])) == 1 for s in set(found.scenes))


def test_chapters_hold_scenes_and_scenes_hold_photos():
    found = clusters_of(scenes(4, 3, 40))
    true_scene = np.arange(480) // 40
    assert nested(found)
    assert 4 <= len(set(found.chapters)) <= most_chapters(480)
    assert all(len(set(true_scene[found.chapters == c] // 3)) == 1 for c in set(found.chapters))
    assert all(len(set(true_scene[found.scenes == s])) == 1 for s in set(found.scenes))


def test_the_same_photos_make_the_same_clusters():
    vectors = normalised(np.random.default_rng(0).normal(size=(300, 16)))
    first, second = clusters_of(vectors), clusters_of(vectors)
    np.testing.assert_array_equal(first.chapters, second.chapters)
    np.testing.assert_array_equal(first.scenes, second.scenes)


@pytest.mark.parametrize("n", [20, 300, 3000])
@pytest.mark.parametrize("apart", [False, True])
def test_numbers_and_sizes_are_for_people(n, apart):
    random = np.random.default_rng(n)
    if apart:  # many bursts with nothing between them
        photos = np.repeat(random.normal(size=(n // 18 + 1, 32)), 18, axis=0)[:n]
        vectors = normalised(photos + random.normal(scale=0.01, size=photos.shape))
    else:
        vectors = normalised(random.normal(size=(n, 32)) * (np.arange(32) + 1.0) ** -0.5)
    found = clusters_of(vectors)
    chapters, its_scenes = np.bincount(found.chapters), np.bincount(found.scenes)
    assert nested(found)
    assert len(chapters) <= most_chapters(n)
    assert len(chapters) <= len(its_scenes) <= most_scenes(n)
    assert its_scenes.min() >= 3
    assert chapters.min() >= min(15, max(3, n // 200))
    assert (np.diff(chapters) <= 0).all()
    if n == 3000:
        assert len(chapters) >= 6
        assert len(its_scenes) >= 20


def test_how_many_there_are_at_most():
    assert [most_chapters(n) for n in (1, 20, 3000, 100_000)] == [1, 3, 14, 46]
    assert [most_scenes(n) for n in (1, 20, 3000, 100_000)] == [1, 4, 77, 443]


def test_the_same_place_at_another_time_is_another_scene():
    random = np.random.default_rng(5)
    vectors = normalised(np.eye(16)[np.zeros(200, int)] + random.normal(scale=0.1, size=(200, 16)))
    taken = np.where(np.arange(200) < 100, 0.0, 6 * 3600.0) + 30.0 * np.arange(200)

    def purity(found):
        shares = [(taken[found.scenes == s] < 6 * 3600).mean() for s in set(found.scenes)]
        return np.mean([max(share, 1 - share) for share in shares])

    assert purity(clusters_of(vectors, taken)) > 0.8
    assert purity(clusters_of(vectors)) < 0.75


def test_photos_without_a_time_go_by_their_look():
    vectors = scenes(3, 1, 40)
    taken = np.full(120, np.nan)
    taken[::2] = np.arange(60) * 60.0
    found = clusters_of(vectors, taken)
    assert all(len(set(found.chapters[c * 40 : c * 40 + 40])) == 1 for c in range(3))
    np.testing.assert_array_equal(
        clusters_of(vectors, np.full(120, np.nan)).scenes, clusters_of(vectors).scenes
    )


def test_time_weakens_edges_and_makes_none():
    vectors = normalised(np.random.default_rng(1).normal(size=(60, 8)))
    found = nearest_neighbours(vectors)
    nothing = np.full(60, np.nan)
    taken = np.random.default_rng(2).uniform(0, 1e5, 60)
    plain = shared_graph(found.rows, found.weights, nothing, 600.0).toarray()
    timed = shared_graph(found.rows, found.weights, taken, 600.0).toarray()
    assert ((plain > 0) == (timed > 0)).all()
    assert (timed <= plain + 1e-12).all()
    assert (timed >= (1 - TIME_SHARE) * plain - 1e-12).all()
    np.testing.assert_array_equal(plain, plain.T)


def test_the_scale_of_time_is_the_event_s_own():
    day = np.arange(0, 36_000, 60.0)
    assert time_scale(day) == pytest.approx(3594)
    assert time_scale(np.concatenate([day, day + 86_400])) == pytest.approx(3594 * 2 + 360)
    assert time_scale(np.array([5.0, 6.0])) == SHORTEST_TAU
    assert time_scale(np.array([np.nan])) == SHORTEST_TAU
    np.testing.assert_allclose(
        nearness(np.array([0.0, 600.0, 1e9, np.nan]), 600.0),
        [1.0, 1 - TIME_SHARE * (1 - np.exp(-1)), 1 - TIME_SHARE, 1.0],
    )


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_the_smallest_events_are_one_chapter_and_one_scene(n):
    found = clusters_of(normalised(np.random.default_rng(0).normal(size=(n, 8))))
    assert found.chapters.tolist() == found.scenes.tolist() == [0] * n


def test_identical_photos_are_one_scene_or_several_of_people_s_size():
    found = clusters_of(np.tile(np.eye(8, dtype=np.float32)[0], (200, 1)))
    assert nested(found)
    assert np.bincount(found.scenes).min() >= 3


def test_an_event_without_edges_goes_by_its_vectors():
    vectors = scenes(3, 1, 10)
    none = np.empty((30, 0))
    found = cluster(vectors, none.astype(np.int64), none.astype(np.float32))
    assert nested(found)
    assert len(set(found.chapters)) == 3
    assert all(len(set(found.chapters[c * 10 : c * 10 + 10])) == 1 for c in range(3))


def test_a_photo_that_lost_its_neighbours_is_not_in_the_way():
    vectors = scenes(2, 1, 30)
    found = nearest_neighbours(vectors)
    rows, weights = found.rows.copy(), found.weights.copy()
    rows[4], weights[4] = 4, -np.inf
    rows[7, 3:], weights[7, 3:] = 7, -np.inf
    graph = shared_graph(rows, weights, np.full(60, np.nan), 600.0)
    assert np.isfinite(graph.data).all()
    assert graph.diagonal().sum() == 0
    made = cluster(vectors, rows, weights)
    assert len(set(made.chapters[:30])) == len(set(made.chapters[30:])) == 1
    assert len(leiden(graph, 1.0)) == 60
