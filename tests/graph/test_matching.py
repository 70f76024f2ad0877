import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.graph.matching import WEAKEST, free_numbers, inherited_names, match


def matched(old, new):
    """`old` and `new`: sets of photo ids, a cluster each."""

    def flat(clusters):
        pairs = sorted((photo, label) for label, its in enumerate(clusters) for photo in its)
        return (
            np.array([p for p, _ in pairs], np.int64),
            np.array([label for _, label in pairs], np.int64),
        )

    return match(*flat(old), *flat(new), old=len(old), new=len(new))


A, B, C = set(range(10)), set(range(10, 30)), set(range(30, 36))


def test_clusters_go_on_under_any_order():
    assert matched([A, B, C], [C, A, B]).old.tolist() == [2, 0, 1]


def test_a_cluster_that_only_grew_is_the_same():
    assert matched([A, B], [A | set(range(100, 400)), B]).old.tolist() == [0, 1]


def test_photos_that_were_deleted_don_t_count():
    assert matched([A, B], [{0}, B]).old.tolist() == [0, 1]


def test_the_pairs_with_the_most_in_common_win():
    """Each for itself would take the first; together they are matched better."""
    old = [set(range(12)), set(range(20, 30))]
    new = [{*range(4, 12), *range(20, 27)}, set(range(4))]
    assert matched(old, new).old.tolist() == [1, 0]


def test_a_weak_overlap_is_a_new_cluster():
    pieces = [set(range(i, 30, 4)) for i in range(4)]
    assert WEAKEST > 8 / 30
    assert matched([set(range(30))], pieces).old.tolist() == [-1] * 4
    half = matched([set(range(30))], [set(range(16)), set(range(16, 30))])
    assert half.old.tolist() == [0, -1]


def test_nothing_before_and_nothing_now():
    assert matched([], [A, B]).old.tolist() == [-1, -1]
    assert matched([A, B], []).old.tolist() == []


def test_new_ones_get_the_lowest_free_numbers():
    assert free_numbers({0, 2, 5}, 4) == [1, 3, 4, 6]
    assert free_numbers(set(), 0) == []


def test_a_name_stays_with_its_cluster():
    assert inherited_names(matched([A, B], [B, A]), {0: "Ours"}) == {1: "Ours"}


def test_a_name_goes_to_the_largest_piece_that_has_none():
    pieces = [{0, 1}, {2, 3, 4}, {5, 6}, {7, 8}, {9}, B]
    found = matched([A, B], pieces)
    assert found.old.tolist() == [-1, 0, -1, -1, -1, 1]
    assert inherited_names(found, {0: "Ours"}) == {1: "Ours"}
    shards = [{0}, {1, 2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}]
    assert inherited_names(matched([A], shards), {0: "Ours"}) == {1: "Ours"}


def test_names_of_clusters_that_became_one_are_both_kept():
    found = matched([A, B], [A | B])
    assert inherited_names(found, {0: "Church", 1: "Dinner"}) == {0: "Dinner / Church"}
    assert inherited_names(found, {0: "Same", 1: "Same"}) == {0: "Same"}


def test_a_name_is_gone_with_its_last_photo():
    assert inherited_names(matched([A, B], [B]), {0: "Ours"}) == {}


labels = st.lists(st.integers(0, 4), min_size=1, max_size=40)


@given(labels, labels, st.sets(st.integers(0, 4)))
def test_no_name_is_lost_while_a_photo_of_it_is_left(before, after, named):
    old = [{p for p, label in enumerate(before) if label == c} for c in range(5)]
    new = [its for c in range(5) if (its := {p for p, label in enumerate(after) if label == c})]
    found = matched(old, new)
    kept = [i for i in found.old.tolist() if i >= 0]
    assert len(kept) == len(set(kept))
    names = {c: f"name {c}" for c in named}
    text = " ".join(inherited_names(found, names).values())
    for c in named:
        assert (f"name {c}" in text) == bool(old[c] & set(range(len(after))))


def test_the_overlap_is_counted():
    found = matched([A, B], [set(range(5, 15)), set(range(15, 30))])
    assert found.shared.tolist() == [[5, 0], [5, 15]]
    assert found.heirs(0).tolist() == [0]
    assert found.heirs(1).tolist() == [1, 0]
