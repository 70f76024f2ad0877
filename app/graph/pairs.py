"""Which photos may be copies of each other, and a closer look at each such pair, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.graph.frames import grey, same_frame, side_for
from app.graph.structure import compare

Index = NDArray[np.int64]

LEAST_SIMILAR = 0.5
"""Cosine similarity below which neighbours are not looked at. The least alike of 1,344 copies had
0.65 (pocket); other models put copies no lower."""
NEAR_HASH = 6
"""Bits of 64 that perceptual hashes of copies differ in at most (Zauner, 2010; 4 in our copies)."""
_HASH_PARTNERS = 15
_AFTERWARDS = 5
"""Following frames of the same camera that each frame is compared with."""
_BURST = 60
"""Frames of a burst that may have one centre."""
_BRIDGES = 12
"""Neighbours of a photo that are compared with each other."""
_BRIDGE = 0.5
"""Structure from which two pairs with a photo in common call for the third."""

# What two pictures must have in common before their thumbnails are fetched.
_FRAME_STRUCTURE = 0.96
_FRAME_HASH = 10
_FRAME_MOVED = 0.02
_FRAME_ASPECT = 0.03
_BLOCK = 2048
_AT_ONCE = 50_000


@dataclass(frozen=True)
class Facts:
    """Of n photos: `content` (n,) int64, equal for identical bytes; `phash` (n,) uint64; `width`,
    `height` (n,) int64 of the upright original; `taken` (n,) float64 seconds, NaN where unknown;
    `by_camera` (n,) bool: the camera itself wrote that time; `shooter` (n,) int64, equal for one
    camera or uploader, -1 where unknown."""

    content: Index
    phash: NDArray[np.uint64]
    width: Index
    height: Index
    taken: NDArray[np.float64]
    by_camera: NDArray[np.bool_]
    shooter: Index


@dataclass(frozen=True)
class Verified:
    """m pairs of photos by index, a < b, ascending, and what a closer look showed: the columns of the
    table `photo_pair`."""

    a: Index
    b: Index
    similarity: NDArray[np.float32]
    structure: NDArray[np.float32]
    mirrored: NDArray[np.bool_]
    hash_distance: NDArray[np.int16]
    same_frame: NDArray[np.bool_]

    def and_those(self, other: Verified) -> Verified:
        """Both together, in order."""
        joined = {
            each.name: np.concatenate([getattr(self, each.name), getattr(other, each.name)])
            for each in fields(self)
        }
        order = np.lexsort((joined["b"], joined["a"]))
        return Verified(**{name: column[order] for name, column in joined.items()})


@dataclass(frozen=True)
class Look:
    """How to look at photos, by index. `pictures`: (m,) → (m, 48, 48) uint8 (app/graph/structure.py)
    and (m,) bool, false where there is none. `thumb`: a thumbnail's bytes, None where it is lost.
    `similarity`: two (m,) → (m,) float32 cosine similarities."""

    pictures: Callable[[Index], tuple[NDArray[np.uint8], NDArray[np.bool_]]]
    thumb: Callable[[int], bytes | None]
    similarity: Callable[[Index, Index], NDArray[np.float32]]


def candidates(facts: Facts, a: Index, b: Index, weight: NDArray[np.float32], gap: float) -> Index:
    """Pairs that are worth a closer look, as ascending keys (`key_of`).

    Edges of the graph (a, b, weight), frames that one camera took within `gap` seconds of each other,
    and photos with nearly the same perceptual hash. Identical bytes need no look.
    """
    alike = weight >= LEAST_SIMILAR
    first, second = _in_time(facts, gap)
    third, fourth = _by_hash(facts)
    one = np.concatenate([a[alike], first, third])
    other = np.concatenate([b[alike], second, fourth])
    apart = facts.content[one] != facts.content[other]
    return np.unique(key_of(one[apart], other[apart]))


def key_of(one: Index, other: Index) -> Index:
    """Both indices of each pair in one number, the smaller one first."""
    return np.minimum(one, other) << 32 | np.maximum(one, other)


def bridges(known: Verified, count: int) -> Index:
    """Keys of the pairs whose photos are both alike to a third: a group's centre has to be compared
    with all of its members."""
    near = known.structure >= _BRIDGE
    middle = np.concatenate([known.a[near], known.b[near]])
    end = np.concatenate([known.b[near], known.a[near]])
    value = np.concatenate([known.structure[near], known.structure[near]])
    order = np.lexsort((end, -value, middle))
    middle, end = middle[order], end[order]
    start = np.searchsorted(middle, np.arange(count))
    rank = np.arange(len(middle)) - start[middle]
    keys = []
    for step in range(1, _BRIDGES):
        here = np.flatnonzero(rank < _BRIDGES - step)
        here = here[here + step < len(middle)]
        here = here[middle[here] == middle[here + step]]
        keys.append(key_of(end[here], end[here + step]))
    return np.unique(np.concatenate(keys)) if keys else np.empty(0, np.int64)


def verify(facts: Facts, keys: Index, look: Look) -> Verified:
    """Look at pairs closely. Those with a photo that can't be looked at are left out."""
    a, b = keys >> 32, keys & 0xFFFF_FFFF
    used, place = np.unique(np.concatenate([a, b]), return_inverse=True)
    pictures, there = look.pictures(used)
    left, right = place[: len(a)], place[len(a) :]
    seen = there[left] & there[right]
    a, b, left, right = a[seen], b[seen], left[seen], right[seen]
    alike = compare(pictures, left, right)
    distance = np.bitwise_count(facts.phash[a] ^ facts.phash[b]).astype(np.int16)
    shape = facts.width / np.maximum(facts.height, 1)
    maybe = (
        (alike.structure >= _FRAME_STRUCTURE)
        & (alike.moved <= _FRAME_MOVED)
        & ~alike.mirrored
        & (distance <= _FRAME_HASH)
        & (np.abs(np.log(shape[a] / shape[b])) <= _FRAME_ASPECT)
        & ~(facts.by_camera[a] & facts.by_camera[b] & (facts.taken[a] != facts.taken[b]))
    )
    same = np.zeros(len(a), np.bool_)
    same[maybe] = _same_frames(facts, a[maybe], b[maybe], look)
    return Verified(a, b, look.similarity(a, b), alike.structure, alike.mirrored, distance, same)


def _same_frames(facts: Facts, a: Index, b: Index, look: Look) -> NDArray[np.bool_]:
    long_side = np.maximum(facts.width, facts.height)

    @lru_cache(maxsize=256)
    def opened(photo: int, side: int) -> NDArray[np.float32] | None:
        data = look.thumb(photo)
        try:
            return grey(data, side) if data is not None else None
        except OSError:
            return None

    found = np.zeros(len(a), np.bool_)
    for row, (one, other) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        side = side_for(int(min(long_side[one], long_side[other])))
        first, second = opened(one, side), opened(other, side)
        if first is not None and second is not None:
            found[row] = same_frame(first, second, side)
    return found


def _in_time(facts: Facts, gap: float) -> tuple[Index, Index]:
    """Frames of one shooter with those that follow within the gap, as long as it goes on so; and all
    of a long burst with the one in its middle, which may become its centre."""
    known = np.flatnonzero(~np.isnan(facts.taken) & (facts.shooter >= 0))
    known = known[np.lexsort((known, facts.taken[known], facts.shooter[known]))]
    follows = (np.diff(facts.shooter[known]) == 0) & (np.diff(facts.taken[known]) <= gap)
    run = np.concatenate([[0], np.cumsum(~follows)])[: len(known)]
    one, other = [known[:0]], [known[:0]]
    for step in range(1, _AFTERWARDS + 1):
        same = run[step:] == run[:-step]
        one.append(known[:-step][same])
        other.append(known[step:][same])
    _, begins, length = np.unique(run, return_index=True, return_counts=True)
    place = np.arange(len(known)) - begins[run]
    part = place // _BURST * _BURST
    middle = part + np.minimum(_BURST, length[run] - part) // 2
    one.append(known[place != middle])
    other.append(known[(begins[run] + middle)[place != middle]])
    return np.concatenate(one), np.concatenate(other)


def _by_hash(facts: Facts) -> tuple[Index, Index]:
    """Photos with the nearest perceptual hashes before them, the first of each content only: 64 bits
    at a time, 10⁹ comparisons take about two seconds."""
    _, first = np.unique(facts.content, return_index=True)
    first = np.sort(first)
    hashes = facts.phash[first]
    one, other = [first[:0]], [first[:0]]
    for start in range(0, len(first), _BLOCK):
        block = hashes[start : start + _BLOCK]
        row, column = np.nonzero(
            np.bitwise_count(block[:, None] ^ hashes[None, : start + len(block)]) <= NEAR_HASH
        )
        before = column < row + start
        row, column = row[before], column[before]
        # Of many (black frames, say) the last ones before it are enough.
        rank = np.searchsorted(row, row, side="right") - np.arange(len(row))
        kept = rank <= _HASH_PARTNERS
        one.append(first[column[kept]])
        other.append(first[row[kept] + start])
    return np.concatenate(one), np.concatenate(other)


def look_closely(
    facts: Facts,
    edges: tuple[Index, Index, NDArray[np.float32]],
    known: Verified,
    look: Look,
    gap: float,
    report: Callable[[float], None] = lambda share: None,
) -> Verified:
    """The pairs that are not `known` yet, looked at: candidates, then what they call for.

    `edges`: sources, targets and weights of the graph, by index. `gap`: seconds, as `candidates`.
    """
    done = key_of(known.a, known.b)
    keys = np.setdiff1d(candidates(facts, *edges, gap), done)
    fresh = _by_and_by(facts, keys, look, lambda share: report(0.7 * share))
    called = np.setdiff1d(bridges(known.and_those(fresh), len(facts.content)), done)
    called = np.setdiff1d(called, keys)
    apart = facts.content[called >> 32] != facts.content[called & 0xFFFF_FFFF]
    rest = _by_and_by(facts, called[apart], look, lambda share: report(0.7 + 0.3 * share))
    return fresh.and_those(rest)


def _by_and_by(facts: Facts, keys: Index, look: Look, report: Callable[[float], None]) -> Verified:
    """`verify` in chunks, so that the pictures of only a few photos are in memory at once."""
    found = nothing()
    for start in range(0, len(keys), _AT_ONCE):
        found = found.and_those(verify(facts, keys[start : start + _AT_ONCE], look))
        report(min(1.0, (start + _AT_ONCE) / len(keys)))
    return found


def nothing() -> Verified:
    """No pairs."""
    return Verified(
        np.empty(0, np.int64),
        np.empty(0, np.int64),
        np.empty(0, np.float32),
        np.empty(0, np.float32),
        np.empty(0, np.bool_),
        np.empty(0, np.int16),
        np.empty(0, np.bool_),
    )
