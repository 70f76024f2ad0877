"""Which pairs are looked at, and that each is looked at once."""

from dataclasses import fields, replace

import numpy as np
import pytest

from app.graph.pairs import (
    Facts,
    Look,
    Verified,
    bridges,
    candidates,
    key_of,
    look_closely,
    nothing,
    verify,
)
from tests.graph.looks import picture, recompressed, scene, thumb

NO_EDGES = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def facts(n: int, **columns) -> Facts:
    """n photos that have nothing in common, but for these columns."""
    random = np.random.default_rng(3)
    made = {
        "content": np.arange(n),
        "phash": random.integers(0, 2**63, n, dtype=np.uint64),
        "width": np.full(n, 1200),
        "height": np.full(n, 800),
        "taken": np.full(n, np.nan),
        "by_camera": np.zeros(n, np.bool_),
        "shooter": np.zeros(n, np.int64),
    }
    return Facts(**made | {name: np.array(values) for name, values in columns.items()})


def pairs_of(keys) -> list[tuple[int, int]]:
    return [(int(key) >> 32, int(key) & 0xFFFF_FFFF) for key in keys]


def verified(*rows: tuple[int, int, float]) -> Verified:
    a, b, structure = zip(*rows, strict=True)
    n = len(rows)
    return replace(
        nothing(),
        a=np.array(a),
        b=np.array(b),
        structure=np.array(structure, np.float32),
        similarity=np.ones(n, np.float32),
        mirrored=np.zeros(n, np.bool_),
        hash_distance=np.zeros(n, np.int16),
        same_frame=np.zeros(n, np.bool_),
    )


def test_edges_are_candidates_from_some_similarity_on():
    edges = (np.array([0, 1, 2]), np.array([1, 0, 3]), np.array([0.8, 0.8, 0.3], np.float32))
    assert pairs_of(candidates(facts(4), *edges, gap=5)) == [(0, 1)]


def test_identical_files_need_no_look():
    edges = (np.array([0, 1]), np.array([1, 2]), np.array([1.0, 0.8], np.float32))
    assert pairs_of(candidates(facts(3, content=[7, 7, 8]), *edges, gap=5)) == [(1, 2)]


def test_near_hashes_are_candidates():
    base = 0x0123_4567_89AB_CDEF
    hashes = np.array([base, base ^ 0b111111, base ^ 0b1111111, ~base & (2**64 - 1)], np.uint64)
    found = pairs_of(candidates(facts(4, phash=hashes), *NO_EDGES, gap=5))
    assert found == [(0, 1), (1, 2)]


def test_many_equal_hashes_are_not_all_compared():
    found = candidates(facts(400, phash=np.zeros(400, np.uint64)), *NO_EDGES, gap=5)
    assert len(found) < 400 * 16
    assert {a for a, _ in pairs_of(found)} | {b for _, b in pairs_of(found)} == set(range(400))


def test_frames_of_one_camera_within_the_gap_are_candidates():
    made = facts(5, taken=[0, 3, 20, 3, np.nan], shooter=[0, 0, 0, 1, 0])
    assert pairs_of(candidates(made, *NO_EDGES, gap=5)) == [(0, 1)]


def test_all_frames_of_a_long_burst_are_compared_with_its_middle():
    made = facts(40, taken=np.arange(40), shooter=np.zeros(40, np.int64))
    found = pairs_of(candidates(made, *NO_EDGES, gap=5))
    assert {pair for pair in found if 20 in pair} == {
        (min(other, 20), max(other, 20)) for other in range(40) if other != 20
    }
    assert len(found) < 40 * 6


def test_neighbours_of_one_photo_are_compared_with_each_other():
    known = verified((0, 1, 0.9), (0, 2, 0.8), (0, 3, 0.1), (4, 5, 0.9))
    assert (1, 2) in pairs_of(bridges(known, 6))
    assert not {(1, 3), (2, 3)} & set(pairs_of(bridges(known, 6)))
    assert len(bridges(nothing(), 6)) == 0


class Watched:
    """Real pictures, and a note of each that is looked at."""

    def __init__(self, images) -> None:
        self.images = images
        self.looked: list[int] = []
        self.thumbs: list[int] = []

    def look(self) -> Look:
        return Look(self._pictures, self._thumb, lambda a, b: np.full(len(a), 0.9, np.float32))

    def _pictures(self, rows):
        self.looked += rows.tolist()
        there = np.array([self.images[row] is not None for row in rows], np.bool_)
        made = [picture(self.images[row] or scene(0)) for row in rows]
        return np.array(made, np.uint8).reshape(-1, 48, 48), there

    def _thumb(self, row: int):
        self.thumbs.append(row)
        return thumb(self.images[row])


@pytest.fixture(scope="module")
def images():
    original = scene(1, 1200, 800)
    return [original, recompressed(original, 50), original.resize((600, 400)), scene(2, 1200, 800)]


def same_hashes(n: int, **columns) -> Facts:
    return facts(n, phash=np.zeros(n, np.uint64), **columns)


def test_copies_are_verified_to_be_one_frame(images):
    found = verify(
        same_hashes(3), key_of(np.array([0, 0]), np.array([1, 2])), Watched(images).look()
    )
    assert found.same_frame.all()
    assert (found.structure > 0.98).all()
    assert not found.mirrored.any()


@pytest.mark.parametrize(
    ("columns", "same"),
    [
        ({"taken": [10, 10], "by_camera": [True, True]}, True),
        ({"taken": [10, 11], "by_camera": [True, True]}, False),
        # A list's word for when a photo was taken is no proof that there were two.
        ({"taken": [10, 11], "by_camera": [True, False]}, True),
        ({"width": [1200, 1000]}, False),
    ],
)
def test_what_contradicts_one_frame(images, columns, same):
    watched = Watched(images)
    found = verify(same_hashes(2, **columns), key_of(np.array([0]), np.array([1])), watched.look())
    assert found.same_frame.tolist() == [same]
    assert bool(watched.thumbs) == same


def test_strangers_cost_no_thumbnails(images):
    watched = Watched(images)
    found = verify(same_hashes(4), key_of(np.array([0]), np.array([3])), watched.look())
    assert found.structure[0] < 0.6
    assert watched.thumbs == []


def test_a_photo_that_cannot_be_looked_at_is_left_out(images):
    watched = Watched([*images[:2], None])
    found = verify(same_hashes(3), key_of(np.array([0, 0]), np.array([1, 2])), watched.look())
    assert list(zip(found.a, found.b, strict=True)) == [(0, 1)]


def test_known_pairs_are_not_looked_at_again(images):
    watched = Watched(images)
    made = same_hashes(4)
    first = look_closely(made, NO_EDGES, nothing(), watched.look(), gap=5)
    assert len(first.a) == 6
    watched.looked.clear()
    assert len(look_closely(made, NO_EDGES, first, watched.look(), gap=5).a) == 0
    assert watched.looked == []
    part = Verified(**{each.name: getattr(first, each.name)[1:] for each in fields(first)})
    rest = look_closely(made, NO_EDGES, part, watched.look(), gap=5)
    assert list(zip(rest.a, rest.b, strict=True)) == [(0, 1)]
    assert set(watched.looked) == {0, 1}
    assert rest.structure[0] == pytest.approx(first.structure[0], abs=1e-4)
