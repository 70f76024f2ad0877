"""Three groupings of an event's photos, each inside the next: exact, burst, look-alike.

Pure arithmetic over pairs that were verified before (app/graph/pairs.py): milliseconds, for any
sensitivity. Groups are stars, never chains: each member is alike to its group's centre itself. What
the thresholds mean and how they were measured is in docs/grouping.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

STEPS = tuple(range(0, 101, 5))
"""Sensitivities that are counted beforehand."""
MIDDLE = 50


@dataclass(frozen=True)
class Photos:
    """Of n photos: `content` (n,) int64, equal for identical bytes; `taken` (n,) float64 seconds,
    NaN where unknown; `shooter` (n,) int64, equal for one camera or uploader, -1 where unknown."""

    content: Index
    taken: NDArray[np.float64]
    shooter: Index


@dataclass(frozen=True)
class Pairs:
    """m verified pairs of photos, by index: `a`, `b` (m,) int64; `structure` (m,) float32, the
    aligned pictures' correlation; `closeness` (m,) float32, the vectors' likeness, 0 of strangers to 1
    of copies; `same_frame` (m,) bool, true where thumbnails show one and the same frame."""

    a: Index
    b: Index
    structure: Floats
    closeness: Floats
    same_frame: Flags


@dataclass(frozen=True)
class Groups:
    """For each photo the index of its group's centre, (n,) int64, its own where it is alone; of each
    kind."""

    exact: Index
    burst: Index
    lookalike: Index


@dataclass(frozen=True)
class Thresholds:
    """What two photos must have in common. `gap`: seconds between a burst's frames; `burst_structure`
    or `burst_closeness`: of its frames; `structure`: of look-alikes."""

    gap: float
    burst_structure: float
    burst_closeness: float
    structure: float


_STRICT = Thresholds(gap=1.0, burst_structure=0.85, burst_closeness=0.93, structure=0.90)
_MEDIUM = Thresholds(gap=3.0, burst_structure=0.50, burst_closeness=0.80, structure=0.78)
_LOOSE = Thresholds(gap=10.0, burst_structure=0.35, burst_closeness=0.60, structure=0.62)


def thresholds(sensitivity: float) -> Thresholds:
    """Of a sensitivity, 0 (folds least) to 100 (folds most), straight lines between three points."""
    share = min(max(sensitivity, 0), 100) / MIDDLE
    low, high = (_STRICT, _MEDIUM) if share <= 1 else (_MEDIUM, _LOOSE)
    part = share if share <= 1 else share - 1

    def between(name: str) -> float:
        start, end = float(getattr(low, name)), float(getattr(high, name))
        return start + (end - start) * part

    return Thresholds(*(between(name) for name in Thresholds.__dataclass_fields__))


class Grouper:
    """The groupings of one event's photos. Exact groups are found once: no sensitivity moves them."""

    def __init__(self, photos: Photos, pairs: Pairs) -> None:
        self.exact = _exact(photos, pairs)
        self._pairs = _merged(pairs, self.exact)
        self._nodes = np.unique(self.exact)
        self._taken, self._shooter = _times(photos, self.exact)

    def groups(self, sensitivity: float) -> Groups:
        """The groups of all kinds for a sensitivity, 0 to 100."""
        limit = thresholds(sensitivity)
        like = _BurstLike(self._pairs, limit)
        burst = self._burst(limit, like.alike)
        lookalike = self._lookalike(limit, like, burst)
        return Groups(self.exact, burst[self.exact], lookalike[self.exact])

    def counts(self) -> dict[str, dict[str, list[int]]]:
        """For each sensitivity step and kind: how many groups, those apart that are nothing but one
        of a narrower kind, and how many photos in groups of this kind or a narrower one."""
        found: dict[str, dict[str, list[int]]] = {}
        for step in STEPS:
            groups = self.groups(step)
            found[str(step)] = {
                kind: [_several(whole, part), tally(whole)[1]]
                for kind, whole, part in (
                    ("exact", groups.exact, np.arange(len(groups.exact))),
                    ("burst", groups.burst, groups.exact),
                    ("lookalike", groups.lookalike, groups.burst),
                )
            }
        return found

    def _burst(self, limit: Thresholds, alike: Flags) -> Index:
        """For each centre of exact copies its burst's centre, (n,); other photos stand for themselves."""
        run = _runs(self._taken, self._shooter, limit.gap)
        pairs = self._pairs
        near = alike & (run[pairs.a] >= 0) & (run[pairs.a] == run[pairs.b])
        a, b = pairs.a[near], pairs.b[near]
        weight = np.maximum(pairs.structure[near], pairs.closeness[near])
        size = np.ones(len(self.exact), np.int64)
        return stars(
            np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([weight, weight]), size
        )

    def _lookalike(self, limit: Thresholds, like: _BurstLike, burst: Index) -> Index:
        """The same for look-alikes, whose parts are whole bursts.

        A burst joins another where each of its frames looks like the other's centre, or like another
        frame there while it is still as like the centre as frames of one burst are.
        """
        pairs = self._pairs
        near = pairs.structure >= limit.structure
        a, b, weight = pairs.a[near], pairs.b[near], pairs.structure[near]
        frame, mate = np.concatenate([a, b]), np.concatenate([b, a])
        weight = np.concatenate([weight, weight])
        centre = burst[mate]
        joins = (burst[frame] != centre) & ((mate == centre) | like.has(frame, centre))
        frame, centre, weight = frame[joins], centre[joins], weight[joins]
        # One row a frame and centre, then as many rows a burst and centre as frames that joined.
        key = frame * len(burst) + centre
        order = np.lexsort((-weight, key))
        key, first = np.unique(key[order], return_index=True)
        frame, centre, weight = key // len(burst), key % len(burst), weight[order][first]
        key, index, count = np.unique(
            burst[frame] * len(burst) + centre, return_inverse=True, return_counts=True
        )
        member, centre = key // len(burst), key % len(burst)
        least = np.full(len(key), np.inf, np.float32)
        np.minimum.at(least, index, weight)
        size = np.bincount(burst[self._nodes], minlength=len(burst))
        whole = count == size[member]
        joined = stars(member[whole], centre[whole], least[whole], size)
        return joined[burst]


class _BurstLike:
    """Which pairs are as like each other as frames of one burst."""

    def __init__(self, pairs: Pairs, limit: Thresholds) -> None:
        self.alike = (pairs.structure >= limit.burst_structure) | (
            pairs.closeness >= limit.burst_closeness
        )
        self._pairs = pairs

    def has(self, one: Index, other: Index) -> Flags:
        """Of pairs of photos, whether they were found alike."""
        pairs = self._pairs
        keys = (pairs.a << 32 | pairs.b)[self.alike]  # ascending, as pairs are
        if not len(keys):
            return np.zeros(len(one), np.bool_)
        wanted = np.minimum(one, other) << 32 | np.maximum(one, other)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found: Flags = keys[place] == wanted
        return found


def tally(centre: Index) -> tuple[int, int]:
    """Groups of two photos or more, and the photos in them."""
    sizes = np.bincount(centre, minlength=1)
    several = sizes[sizes > 1]
    return len(several), int(several.sum())


def _several(whole: Index, part: Index) -> int:
    """Groups of a kind that are made of two parts or more."""
    return int((np.bincount(whole[np.unique(part)], minlength=1) > 1).sum())


def stars(member: Index, centre: Index, weight: Floats, size: Index) -> Index:
    """Group n nodes around centres: for each its centre, its own index where it is none's member.

    `member`, `centre`, `weight` (m,): which node may join which centre, and how like it is; `size`
    (n,): photos of each node. The centre of the most photos is taken first, then the next of those
    that are left; each member ends with the centre that it is most like. Equal ones go by index.
    """
    n = len(size)
    found = np.arange(n)
    order = np.lexsort((member, centre))
    member, centre, weight = member[order], centre[order], weight[order]
    start = np.searchsorted(centre, np.arange(n + 1))
    gain = np.bincount(centre, weights=size[member], minlength=n)
    total = np.bincount(centre, weights=weight, minlength=n)
    candidates = np.flatnonzero(gain)
    candidates = candidates[np.lexsort((candidates, -total[candidates], -gain[candidates]))]
    free = np.ones(n, np.bool_)
    chosen = np.zeros(n, np.bool_)
    for node in candidates:
        if not free[node]:
            continue
        near = member[start[node] : start[node + 1]]
        near = near[free[near]]
        if len(near):
            free[near] = free[node] = False
            chosen[node] = True
    return _settled(found, member, centre, weight, chosen)


def _settled(found: Index, member: Index, centre: Index, weight: Floats, chosen: Flags) -> Index:
    """Each node that is no centre goes to the chosen centre that it is most like."""
    open_to = chosen[centre] & ~chosen[member]
    member, centre, weight = member[open_to], centre[open_to], weight[open_to]
    order = np.lexsort((centre, -weight, member))
    nodes, first = np.unique(member[order], return_index=True)
    found[nodes] = centre[order][first]
    return found


def _exact(photos: Photos, pairs: Pairs) -> Index:
    """For each photo the centre of its exact copies: identical bytes, then the same frame."""
    _, first, label = np.unique(photos.content, return_index=True, return_inverse=True)
    same = first[label].astype(np.int64)
    a, b = same[pairs.a[pairs.same_frame]], same[pairs.b[pairs.same_frame]]
    weight = pairs.structure[pairs.same_frame]
    size = np.bincount(same, minlength=len(same))
    joined = stars(
        np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([weight, weight]), size
    )
    return joined[same]


def _merged(pairs: Pairs, exact: Index) -> Pairs:
    """Pairs of photos as pairs of their exact copies' centres, ascending, each once with the most
    that any of its photos showed."""
    one, other = exact[pairs.a], exact[pairs.b]
    apart = one != other
    key = (np.minimum(one, other) << 32 | np.maximum(one, other))[apart]
    keys, index = np.unique(key, return_inverse=True)

    def most(values: Floats) -> Floats:
        found = np.full(len(keys), -1, np.float32)
        np.maximum.at(found, index, values[apart])
        return found

    return Pairs(
        keys >> 32,
        keys & 0xFFFF_FFFF,
        most(pairs.structure),
        most(pairs.closeness),
        np.zeros(len(keys), np.bool_),
    )


def _times(photos: Photos, exact: Index) -> tuple[NDArray[np.float64], Index]:
    """When and by whom each centre's frame was taken: a copy may have lost what the original knows."""
    taken, shooter = photos.taken.copy(), photos.shooter.copy()
    known = np.flatnonzero(~np.isnan(photos.taken) & (photos.shooter >= 0))
    known = known[np.lexsort((-known, -photos.taken[known]))]
    taken[exact[known]] = photos.taken[known]
    shooter[exact[known]] = photos.shooter[known]
    return taken, shooter


def _runs(taken: NDArray[np.float64], shooter: Index, gap: float) -> Index:
    """Numbers of the runs in which one camera pressed on within `gap` seconds, -1 without a time."""
    run = np.full(len(taken), -1, np.int64)
    known = np.flatnonzero(~np.isnan(taken) & (shooter >= 0))
    known = known[np.lexsort((known, taken[known], shooter[known]))]
    apart = (np.diff(shooter[known]) != 0) | (np.diff(taken[known]) > gap)
    run[known] = np.concatenate([[0], np.cumsum(apart)])[: len(known)]
    return run
