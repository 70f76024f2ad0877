"""Spaces that grow: old photos stay, new ones stand with theirs, refits lie on the last layout."""

from dataclasses import replace

import numpy as np
import pytest

from app.core.vectors import normalised
from app.graph.knn import nearest_neighbours
from app.graph.stored import StoredGraph
from app.space import spaces
from app.space.before import Before
from app.space.cloud import PointCloud, decode_cloud, encode_cloud
from app.space.growing import REFIT_FROM, Grown, grow
from app.space.layout import lay_out
from app.space.people import Faces, best_pairs, people_term

SIZE, BLOCKS = 30, 4


def event(count=SIZE * BLOCKS, *, seed=0, taken=None):
    """A stored graph of photos dealt to BLOCKS scenes in turn; its ids are 1, 2, 3, …"""
    random = np.random.default_rng(seed)
    centres = np.eye(24)[np.arange(count) % BLOCKS]
    vectors = normalised(centres + random.normal(scale=0.08, size=(count, 24)))
    return of(np.arange(1, count + 1), vectors, taken)


def of(ids, vectors, taken=None):
    found = nearest_neighbours(vectors)
    taken = np.full(len(ids), np.nan) if taken is None else taken
    return StoredGraph(1, np.asarray(ids, np.int64), vectors, found.rows, found.weights, taken)


def part(graph, kept):
    return of(graph.ids[kept], graph.vectors[kept], graph.taken[kept])


def stamps(graph, at=0):
    return np.full(len(graph.ids), at, np.int64)


def before_of(space, grown: Grown, *, stamp=100, model=1) -> Before:
    return Before(
        space.ids,
        grown.places,
        grown.box,
        model,
        stamp,
        "v",
        grown.fit,
        grown.fitted,
        grown.placed,
        grown.trustworthiness,
    )


@pytest.fixture(scope="module")
def whole():
    return event()


@pytest.fixture(scope="module")
def first(whole):
    """The space of the first hundred photos."""
    space = spaces.look(part(whole, slice(0, 100)))
    return space, grow(space, stamps(space), 1, None)


def grown_from(first, graph, **options):
    space, made = first
    return grow(
        spaces.look(graph),
        options.pop("stamps", stamps(graph)),
        1,
        before_of(space, made),
        **options,
    )


def test_new_photos_move_no_old_one_and_stand_with_their_like(first, whole):
    _, made = first
    grown = grown_from(first, whole)
    assert (grown.fit, grown.fitted, grown.placed, grown.came) == (1, 100, 20, 20)
    assert grown.trustworthiness == made.trustworthiness
    assert grown.places[:100].tobytes() == made.places.tobytes()
    label = np.arange(120) % BLOCKS
    apart = np.linalg.norm(grown.places[100:, None] - grown.places[None, :100], axis=2)
    nearest = np.argsort(apart, axis=1)[:, :5]
    assert (label[nearest] == label[100:, None]).mean() > 0.95
    low, high = made.box
    assert (grown.places >= low).all()
    assert (grown.places <= high).all()


def test_old_photos_keep_their_place_in_the_cloud_too(first, whole):
    _, made = first
    grown = grown_from(first, whole)
    groups = np.zeros(120, np.uint16)
    old = decode_cloud(
        encode_cloud(
            PointCloud(np.arange(100, dtype=np.uint32), made.places, groups[:100]), made.box
        )
    )
    new = decode_cloud(
        encode_cloud(PointCloud(np.arange(120, dtype=np.uint32), grown.places, groups), grown.box)
    )
    kept = np.argsort(new.ids)[:100]
    assert new.positions[kept].tobytes() == old.positions[np.argsort(old.ids)].tobytes()


def test_photos_that_go_leave_the_others_where_they_are(first, whole):
    _, made = first
    kept = np.arange(100) % 7 != 3
    grown = grown_from(first, part(whole, np.flatnonzero(kept)))
    assert grown.places.tobytes() == made.places[kept].tobytes()


def test_a_photo_that_looks_otherwise_is_placed_anew(first, whole):
    _, made = first
    graph = part(whole, slice(0, 100))
    since = stamps(graph)
    since[5] = 101
    grown = grown_from(first, graph, stamps=since)
    assert grown.came == 1
    assert (grown.places[5] != made.places[5]).any()
    assert np.delete(grown.places, 5, axis=0).tobytes() == np.delete(made.places, 5, 0).tobytes()


def test_a_third_more_photos_are_fitted_anew(first, whole):
    space, made = first
    before = replace(before_of(space, made), placed=int(100 * REFIT_FROM) - 10)
    grown = grow(spaces.look(whole), stamps(whole), 1, before)
    assert (grown.fit, grown.fitted, grown.placed, grown.refitted) == (2, 120, 0, True)


@pytest.mark.parametrize("way", ["demanded", "other model"])
def test_a_refit_lies_on_the_last_layout(first, whole, way):
    space, made = first
    before = before_of(space, made, model=1 if way == "demanded" else 2)
    grown = grow(spaces.look(whole), stamps(whole), 1, before, refit=way == "demanded")
    assert grown.refitted
    off = np.linalg.norm(grown.places[:100] - made.places, axis=1).mean()
    chance = np.linalg.norm(grown.places[:100] - made.places[::-1], axis=1).mean()
    assert off < chance / 3


def test_a_chapter_that_is_all_new_has_a_place_in_the_box(first, whole):
    _, made = first
    random = np.random.default_rng(9)
    strangers = normalised(np.eye(24)[20] + random.normal(scale=0.05, size=(20, 24)))
    graph = of(np.arange(1, 121), np.vstack([whole.vectors[:100], strangers]))
    grown = grown_from(first, graph)
    assert not grown.refitted
    assert np.isfinite(grown.places).all()
    assert len(np.unique(grown.places[100:], axis=0)) == 20
    low, high = made.box
    assert ((grown.places >= low) & (grown.places <= high)).all()


@pytest.mark.parametrize("n", [0, 1, 3, 7])
def test_a_handful_of_photos_is_placed_as_a_whole(n):
    graph = event(n)
    grown = grow(spaces.look(graph), stamps(graph), 1, None)
    assert grown.places.shape == (n, 3)
    assert grown.trustworthiness is None
    again = grow(spaces.look(event(9)), stamps(event(9)), 1, before_of(spaces.look(graph), grown))
    assert again.refitted
    assert np.isfinite(again.places).all()


def test_time_draws_photos_of_one_look_apart():
    taken = np.where(np.arange(120) < 60, 0.0, 7200.0) + 20.0 * np.arange(120)
    graph = event(taken=taken)
    by_look, by_both = spaces.look(graph), spaces.look_time(graph)
    ratio = []
    for space in (by_look, by_both):
        places = lay_out(space.vectors, space.terms)
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)
        same = (np.arange(120) % BLOCKS)[:, None] == np.arange(120) % BLOCKS
        early = taken < 7200
        ratio.append(apart[same & (early[:, None] != early)].mean() / apart.mean())
    assert ratio[1] > 1.3 * ratio[0]


def test_without_times_there_is_no_space_of_them():
    taken = np.full(120, np.nan)
    taken[:50] = np.arange(50)
    assert spaces.look_time(event(taken=taken)) is None
    assert spaces.look_time(event(taken=np.zeros(120))) is None


def faces():
    """Ann on photos 1–4, Ben on 5–8, both on 9; each face a bit different."""
    random = np.random.default_rng(3)
    people = {"ann": np.eye(8)[0], "ben": np.eye(8)[1]}
    shown = [(p, "ann") for p in range(1, 5)] + [(p, "ben") for p in range(5, 9)]
    shown += [(9, "ann"), (9, "ben")]
    vectors = [1.4 * people[who] + random.normal(scale=0.05, size=8) for _, who in shown]
    return Faces(np.array([p for p, _ in shown], np.int64), np.array(vectors, np.float32))


def test_people_are_neighbours_by_their_best_faces():
    term = people_term(faces())
    assert set(term.neighbours[8][np.isfinite(term.distances[8])]) == set(range(8))
    nearest = term.neighbours[:8, :4]
    assert (nearest[:4] < 4).sum() + (nearest[:4] == 8).sum() == 16
    rows, columns = np.array([0, 8]), np.array([1, 5, 8])
    alike = best_pairs(faces(), rows, columns)
    assert alike[0, 0] > -0.4
    assert alike[0, 1] < -1.5
    assert (alike[1, :2] > -0.4).all()


def test_the_space_of_people_holds_only_photos_with_faces():
    space = spaces.people(faces())
    assert space.ids.tolist() == list(range(1, 10))
    places = lay_out(space.vectors, space.terms)
    assert np.isfinite(places).all()
    ann, ben = places[:4].mean(axis=0), places[4:8].mean(axis=0)
    assert np.linalg.norm(places[:4] - ann, axis=1).max() < np.linalg.norm(ann - ben)
    assert spaces.people(faces().of(np.array([77]))) is None
