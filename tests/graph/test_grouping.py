"""Three groupings: each inside the next, bounded by a centre, never chained."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.graph.grouping import STEPS, Grouper, Pairs, Photos, stars, tally, thresholds


def photos(n: int, *, content=None, taken=None, shooter=None) -> Photos:
    return Photos(
        np.arange(n) if content is None else np.array(content),
        np.full(n, np.nan) if taken is None else np.array(taken, float),
        np.zeros(n, np.int64) if shooter is None else np.array(shooter),
    )


def pairs(*rows: tuple) -> Pairs:
    """(a, b, structure), (…, closeness), (…, same frame)."""
    full = [(*row, *(0.0, False)[len(row) - 3 :]) for row in sorted(rows)]
    a, b, structure, closeness, same = zip(*full, strict=True) if full else ((),) * 5
    return Pairs(
        np.array(a, np.int64),
        np.array(b, np.int64),
        np.array(structure, np.float32),
        np.array(closeness, np.float32),
        np.array(same, np.bool_),
    )


def groups(centre) -> list[set[int]]:
    centre = np.asarray(centre)
    found = [set(np.flatnonzero(centre == c).tolist()) for c in np.unique(centre)]
    return [each for each in found if len(each) > 1]


def test_identical_bytes_and_the_same_frame_are_exact():
    made = Grouper(photos(5, content=[0, 1, 0, 2, 3]), pairs((1, 3, 0.99, 1.0, True), (1, 4, 0.99)))
    assert groups(made.groups(50).exact) == [{0, 2}, {1, 3}]
    assert groups(made.groups(0).exact) == groups(made.groups(100).exact)


def test_a_burst_needs_one_camera_and_seconds_and_likeness():
    taken = [0, 1, 2, 60, 61, 2]
    shooter = [0, 0, 0, 0, 0, 1]
    alike = [(a, b, 0.6, 0.9) for a in range(6) for b in range(a + 1, 6)]
    found = Grouper(photos(6, taken=taken, shooter=shooter), pairs(*alike)).groups(50)
    assert groups(found.burst) == [{0, 1, 2}, {3, 4}]
    unlike = [(a, b, 0.1, 0.2) for a in range(6) for b in range(a + 1, 6)]
    found = Grouper(photos(6, taken=taken, shooter=shooter), pairs(*unlike)).groups(50)
    assert groups(found.burst) == []


def test_without_a_capture_time_there_is_no_burst():
    found = Grouper(photos(2), pairs((0, 1, 0.6, 0.9))).groups(50)
    assert groups(found.burst) == []


def test_a_copy_that_lost_its_time_goes_with_its_frame():
    taken = [0, 1, np.nan]
    made = Grouper(photos(3, taken=taken), pairs((0, 1, 0.8, 0.9), (1, 2, 0.99, 1.0, True)))
    assert groups(made.groups(50).exact) == [{1, 2}]
    assert groups(made.groups(50).burst) == [{0, 1, 2}]


def test_a_chain_is_cut():
    """Each is like the next, and the first not like the last: no group goes from end to end."""
    n = 30
    chain = pairs(*((i, i + 1, 0.95) for i in range(n - 1)))
    found = groups(Grouper(photos(n), chain).groups(50).lookalike)
    assert found
    assert max(len(each) for each in found) <= 3


def test_an_edited_copy_joins_its_frames_burst_only_while_it_is_like_its_centre():
    frames = [(a, b, 0.8, 0.9) for a in range(4) for b in range(a + 1, 4)]
    near = pairs(*frames, (3, 4, 0.95, 0.9), (0, 4, 0.6), (1, 4, 0.6), (2, 4, 0.6))
    taken = [0, 1, 2, 3, np.nan]
    assert groups(Grouper(photos(5, taken=taken), near).groups(50).lookalike) == [{0, 1, 2, 3, 4}]
    far = pairs(*frames, (3, 4, 0.95, 0.9), (0, 4, 0.2), (1, 4, 0.2), (2, 4, 0.2))
    found = Grouper(photos(5, taken=taken), far).groups(50)
    assert groups(found.lookalike) == groups(found.burst) == [{0, 1, 2, 3}]


def test_thresholds_fall_and_the_gap_grows():
    steps = [thresholds(step) for step in STEPS]
    for one, other in itertools.pairwise(steps):
        assert other.gap > one.gap
        assert other.structure < one.structure
        assert other.burst_structure < one.burst_structure
        assert other.burst_closeness < one.burst_closeness
    assert thresholds(-5) == thresholds(0)
    assert thresholds(500) == thresholds(100)


def test_a_centre_keeps_the_members_that_are_most_like_it():
    member = np.array([1, 2, 3, 3, 5])
    centre = np.array([0, 0, 0, 4, 4])
    weight = np.array([0.9, 0.9, 0.8, 0.95, 0.9], np.float32)
    found = stars(member, centre, weight, np.ones(6, np.int64))
    assert found.tolist() == [0, 0, 0, 4, 4, 4]


def test_nothing_at_all():
    none = Photos(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    made = Grouper(none, pairs())
    assert made.counts()["50"] == {"exact": [0, 0], "burst": [0, 0], "lookalike": [0, 0]}


@st.composite
def events(draw) -> tuple[Photos, Pairs]:
    """Up to 24 photos of any likeness, among them runs of one camera and identical files."""
    n = draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    density = draw(st.sampled_from([0.1, 0.4, 1.0]))
    a, b = np.triu_indices(n, 1)
    kept = random.random(len(a)) < density
    a, b = a[kept], b[kept]
    structure = random.random(len(a)).astype(np.float32)
    made = Pairs(
        a,
        b,
        structure,
        random.random(len(a)).astype(np.float32),
        (structure > 0.95) & (random.random(len(a)) < 0.8),
    )
    taken = np.where(random.random(n) < 0.3, np.nan, np.floor(random.random(n) * 40))
    content = random.integers(0, max(1, n - 2), n)
    return Photos(content, taken, random.integers(0, 2, n)), made


@given(events(), st.sampled_from(STEPS))
def test_each_kind_lies_in_the_next_and_within_bounds(event, sensitivity):
    given_photos, given_pairs = event
    made = Grouper(given_photos, given_pairs)
    found, limit = made.groups(sensitivity), thresholds(sensitivity)
    n = len(given_photos.content)
    for inner, outer in ((found.exact, found.burst), (found.burst, found.lookalike)):
        assert np.array_equal(outer[outer], outer)  # a centre is in its own group
        for group in groups(inner):
            assert len({int(outer[photo]) for photo in group}) == 1
    # Between exact copies a pair counts for all of them.
    best = np.full((2, n, n), -1.0)
    for a, b, structure, closeness in zip(
        found.exact[given_pairs.a],
        found.exact[given_pairs.b],
        given_pairs.structure,
        given_pairs.closeness,
        strict=True,
    ):
        for i, value in enumerate((structure, closeness)):
            best[i, a, b] = best[i, b, a] = max(best[i, a, b], value)
    for photo in np.unique(found.exact):
        centre = found.burst[photo]
        burst_like = (best[0] >= limit.burst_structure) | (best[1] >= limit.burst_closeness)
        assert photo == centre or burst_like[photo, centre]
        centre = found.lookalike[photo]
        if found.burst[photo] != found.burst[centre]:
            assert best[0, photo, centre] >= limit.structure or burst_like[photo, centre]


@given(events())
def test_the_order_of_pairs_does_not_matter(event):
    given_photos, given_pairs = event
    order = np.random.default_rng(1).permutation(len(given_pairs.a))
    mixed = Pairs(*(getattr(given_pairs, name)[order] for name in Pairs.__dataclass_fields__))
    for sensitivity in (0, 50, 100):
        one = Grouper(given_photos, given_pairs).groups(sensitivity)
        other = Grouper(given_photos, mixed).groups(sensitivity)
        assert np.array_equal(one.lookalike, other.lookalike)
        assert np.array_equal(one.burst, other.burst)


def test_more_sensitive_folds_more():
    """Scenes of five frames, each less like the first than the one before it."""
    likeness = np.linspace(0.98, 0.58, 9)
    rows = [(10 * i, 10 * i + j + 1, likeness[j]) for i in range(20) for j in range(9)]
    counts = Grouper(photos(200), pairs(*rows)).counts()
    folded = [counts[str(step)]["lookalike"][1] for step in STEPS]
    assert folded == sorted(folded)
    assert folded[0] < folded[10] < folded[-1]


@pytest.mark.parametrize("centre", [[], [0], [0, 0, 2, 2, 2]])
def test_tally(centre):
    several = groups(centre)
    assert tally(np.array(centre, np.int64)) == (len(several), sum(map(len, several)))
