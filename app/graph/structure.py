"""Are two photos the same picture? Small grey pictures laid over each other, and thumbnails.

Embeddings tell what is in a photo, not whether two photos are copies. So candidates are looked at:
each photo keeps a grey picture of 48 × 48 pixels, whatever its shape. Two of them are laid over each
other by scale and shift of both axes, and mirrored where that fits better, and compared by the
correlation of their details, which brightness and contrast don't change. How well that tells copies
from other scenes is in docs/grouping.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.float32]
Index = NDArray[np.int64]

SIDE = 48
"""Pixels of a structure picture's side; stored row by row as SIDE² bytes."""
BYTES = SIDE * SIDE

_FINE, _WIDE = 0.7, 4.0
"""Pixels (σ) between which detail counts: noise is finer, light and sky are wider."""
_FLAT = 36.0
"""Variance (grey levels²) below which a region counts as flat, so that its noise isn't enlarged."""
_FAINT = 0.01
"""Length below which a picture is rounding errors, which are like nothing."""
_COARSE = 16
_CUTS = (0.0, 0.05, 0.10)
"""Shares of a side that may be cut off at either end, as the coarse search tries them."""
_GATE = 0.3
"""Coarse correlation below which two pictures are not worth aligning."""
_STEPS = 6
_MOST_SCALE, _MOST_SHIFT = 1.3, 0.15
_CHUNK = 256

Cuts = NDArray[np.float32]
"""(n, 4): scale and shift of rows, then of columns, as shares of a side: (1, 0, 1, 0) moves nothing."""


@dataclass(frozen=True)
class Alike:
    """Of m pairs: `structure` (m,) float32, -1 to 1; `mirrored` (m,) bool; `moved` (m,) float32: the
    share of a side by which the pictures had to be scaled or shifted."""

    structure: NDArray[np.float32]
    mirrored: NDArray[np.bool_]
    moved: NDArray[np.float32]


def compare(pictures: NDArray[np.uint8], a: Index, b: Index) -> Alike:
    """Lay m pairs of n pictures (n, SIDE, SIDE) over each other; `a` and `b` (m,) are their rows."""
    structure, mirrored, swapped, cuts = _first_guess(pictures, a, b)
    moved = np.zeros(len(a), np.float32)
    near = np.flatnonzero(structure >= _GATE)
    for start in range(0, len(near), _CHUNK):
        rows = near[start : start + _CHUNK]
        moving = detail(pictures[np.where(swapped[rows], b[rows], a[rows])])
        fixed = detail(pictures[np.where(swapped[rows], a[rows], b[rows])])
        fixed[mirrored[rows]] = fixed[mirrored[rows], :, ::-1]
        structure[rows], found = _refined(moving, fixed, cuts[rows])
        moved[rows] = np.abs(found - _STILL).max(axis=1)
    return Alike(structure, mirrored, moved)


_STILL = np.array([1, 0, 1, 0], np.float32)


def detail(pictures: NDArray[np.uint8]) -> Pictures:
    """Pictures (n, SIDE, SIDE) without what light does: local mean 0, local contrast about 1."""
    fine, wide = _gaussian(_FINE), _gaussian(_WIDE)
    values: Pictures = pictures.astype(np.float32)
    above: Pictures = values - np.matmul(np.matmul(wide, values), wide.T)
    spread: Pictures = np.matmul(np.matmul(wide, above * above), wide.T)
    found: Pictures = np.matmul(np.matmul(fine, above), fine.T) / np.sqrt(
        spread + np.float32(_FLAT)
    )
    return found


@cache
def _gaussian(sigma: float) -> Pictures:
    """(SIDE, SIDE): smooths an axis; what lies beyond an edge mirrors what lies before it."""
    at = np.arange(SIDE)
    matrix = np.zeros((SIDE, SIDE))
    for source in range(-SIDE, 2 * SIDE):
        inside = min(max(source, -source - 1), 2 * SIDE - 1 - source)
        inside = source if 0 <= source < SIDE else inside
        matrix[:, inside] += np.exp(-((at - source) ** 2) / (2 * sigma**2))
    found: Pictures = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def _first_guess(
    pictures: NDArray[np.uint8], a: Index, b: Index
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], Cuts]:
    """The best of all coarse cuts of either picture: its correlation, whether it is mirrored, whether
    `b` is the one that is cut, and the cut.

    A picture's cuts are made once, and multiplied with all pictures that it is compared with.
    """
    matrices, ranges = _coarse_cuts()
    used = np.unique(np.concatenate([a, b]))
    small = np.zeros((len(pictures), _COARSE, _COARSE), np.float32)
    for start in range(0, len(used), _CHUNK):
        rows = used[start : start + _CHUNK]
        small[rows] = _pooled(detail(pictures[rows]))
    upright = _unit(small.reshape(-1, _COARSE**2))
    mirror = _unit(small[:, :, ::-1].reshape(-1, _COARSE**2))
    best = np.full(len(a), -1, np.float32)
    which = np.zeros(len(a), np.int64)
    mirrored, swapped = np.zeros(len(a), np.bool_), np.zeros(len(a), np.bool_)
    for swap, moving, fixed in ((False, a, b), (True, b, a)):
        order = np.argsort(moving, kind="stable")
        photos, first = np.unique(moving[order], return_index=True)
        last = np.append(first[1:], len(order))
        for start in range(0, len(photos), _CHUNK):
            cut = _cut(small[photos[start : start + _CHUNK]], matrices)
            for number, views in enumerate(cut, start):
                pairs = order[first[number] : last[number]]
                for flip, targets in ((False, upright), (True, mirror)):
                    score = targets[fixed[pairs]] @ views.T
                    at = score.argmax(axis=1)
                    value = score[np.arange(len(pairs)), at]
                    better = value > best[pairs] + 1e-4
                    chosen = pairs[better]
                    best[chosen], which[chosen] = value[better], at[better]
                    mirrored[chosen], swapped[chosen] = flip, swap
    rows, columns = which // len(ranges), which % len(ranges)
    return best, mirrored, swapped, np.concatenate([ranges[rows], ranges[columns]], axis=1)


def _cut(small: Pictures, matrices: Pictures) -> Pictures:
    """Each of n pictures under all cuts of both axes, as unit rows: (n, cuts², _COARSE²)."""
    n, count = len(small), len(matrices)
    rows = np.matmul(matrices[None], small[:, None])
    both = np.matmul(rows[:, :, None], matrices.transpose(0, 2, 1)[None, None])
    return _unit(both.reshape(n, count * count, -1))


@cache
def _coarse_cuts() -> tuple[Pictures, Cuts]:
    """For each way to cut one axis a matrix that enlarges what is left, (m, _COARSE, _COARSE), and
    its scale and shift, (m, 2)."""
    ways = [(1 - low - high, (low - high) / 2) for low in _CUTS for high in _CUTS]
    ranges = np.array(ways, np.float32)
    lower, weight, _ = _samples(ranges[:, 0], ranges[:, 1], _COARSE)
    matrices = np.zeros((len(ways), _COARSE, _COARSE), np.float32)
    way, row = np.arange(len(ways))[:, None], np.arange(_COARSE)[None]
    matrices[way, row, lower] += weight
    matrices[way, row, lower + 1] += 1 - weight
    return matrices, ranges


def _samples(
    scale: NDArray[np.float32], shift: NDArray[np.float32], side: int
) -> tuple[Index, NDArray[np.float32], NDArray[np.bool_]]:
    """Where n scales and shifts sample an axis of `side` pixels, each (n, side): the lower
    neighbour, its weight, and whether the place lies inside."""
    centre = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    at = (centre[None] * scale[:, None] + shift[:, None] + 0.5) * side - 0.5
    inside = (at > -0.5) & (at < side - 0.5)
    at = np.clip(at, 0, side - 1)
    lower = np.minimum(at.astype(np.int64), side - 2)
    return lower, (1 - (at - lower)).astype(np.float32), inside


def _sampled(pictures: Pictures, cuts: Cuts) -> tuple[Pictures, NDArray[np.bool_]]:
    """Pictures under cuts, and where their pixels are known, each (n, SIDE, SIDE)."""
    y, y_weight, y_inside = _samples(cuts[:, 0], cuts[:, 1], SIDE)
    x, x_weight, x_inside = _samples(cuts[:, 2], cuts[:, 3], SIDE)
    n = np.arange(len(pictures))[:, None]
    y_weight, x_weight = y_weight[:, :, None], x_weight[:, None, :]
    rows = pictures[n, y] * y_weight + pictures[n, y + 1] * (1 - y_weight)
    x = x[:, None, :]
    found = np.take_along_axis(rows, x, 2) * x_weight
    found += np.take_along_axis(rows, x + 1, 2) * (1 - x_weight)
    return found, y_inside[:, :, None] & x_inside[:, None, :]


def _refined(moving: Pictures, fixed: Pictures, cuts: Cuts) -> tuple[NDArray[np.float32], Cuts]:
    """The best correlation of n aligned pairs (n,), and the cuts (n, 4), by Gauss-Newton steps from
    a first guess (enhanced correlation: Evangelidis and Psarakis, 2008)."""
    best, best_cuts = np.full(len(cuts), -1, np.float32), cuts.copy()
    place = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5
    limits = np.array([_MOST_SCALE - 1, _MOST_SHIFT] * 2, np.float32)
    for step in range(_STEPS + 1):
        warped, known = _sampled(moving, cuts)
        ours, theirs = _centred(warped, known), _centred(fixed, known)
        value = (ours * theirs).sum(axis=(1, 2))
        better = value > best
        best[better], best_cuts[better] = value[better], cuts[better]
        if step == _STEPS:
            break
        down = np.gradient(ours, axis=1) * known * (SIDE / cuts[:, 0, None, None])
        right = np.gradient(ours, axis=2) * known * (SIDE / cuts[:, 2, None, None])
        slopes = np.stack([down * place[:, None], down, right * place, right], axis=1)
        slopes = slopes.reshape(len(cuts), 4, -1)
        flat = ours.reshape(len(cuts), 1, -1)
        slopes = slopes - slopes.mean(axis=2, keepdims=True)
        slopes -= (slopes * flat).sum(axis=2, keepdims=True) * flat
        rest = (theirs - ours).reshape(len(cuts), -1, 1)
        normal = slopes @ slopes.transpose(0, 2, 1) + 1e-4 * np.eye(4, dtype=np.float32)
        move = np.linalg.solve(normal, slopes @ rest)[:, :, 0]
        cuts = cuts + np.clip(move, -0.05, 0.05)
        cuts = np.clip(cuts, _STILL - limits, _STILL + limits)
    return best, best_cuts


def _centred(pictures: Pictures, known: NDArray[np.bool_]) -> Pictures:
    """Mean 0 and length 1 over the known pixels, 0 elsewhere."""
    count = known.sum(axis=(1, 2), keepdims=True)
    mean = np.where(known, pictures, 0).sum(axis=(1, 2), keepdims=True) / count
    found = np.where(known, pictures - mean, 0)
    length = np.sqrt((found * found).sum(axis=(1, 2), keepdims=True))
    centred: Pictures = (found / (length + _FAINT)).astype(np.float32)
    return centred


def _pooled(pictures: Pictures) -> Pictures:
    factor = SIDE // _COARSE
    split = pictures.reshape(len(pictures), _COARSE, factor, _COARSE, factor)
    pooled: Pictures = split.mean(axis=(2, 4))
    return pooled


def _unit(rows: Pictures) -> Pictures:
    """Mean 0 and length 1 along the last axis."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    unit: Pictures = rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + _FAINT)
    return unit
