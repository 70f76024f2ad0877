"""How far a layout can be trusted: Venna & Kaski's trustworthiness (2001)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.space.forces import Places

NEIGHBOURS = 15
SAMPLE = 5000
"""Photos that are compared all with all; of more a sample."""
_BLOCK = 256

Rows = NDArray[np.int64]
Compare = Callable[[Rows, Rows], NDArray[np.float32]]
"""Similarities (a, b) of photos (a,) to photos (b,), by their indices."""


def trustworthiness(
    alike: Compare, places: Places, *, k: int = NEIGHBOURS, sample: int = SAMPLE
) -> float | None:
    """1 where the k nearest in the layout (n, 3) are among the k most alike, for each photo; each
    that is not counts by how far down it is in truth. None for too few photos to tell.

    Of equally alike photos all count as the nearer: copies have no order.
    """
    n = len(places)
    if n < 8:
        return None
    chosen = np.arange(n)
    if n > sample:
        chosen = np.sort(np.random.default_rng(0).choice(n, sample, replace=False))
    at = places[chosen].astype(np.float64)
    m = len(chosen)
    k = min(k, (m - 1) // 2)
    length = (at**2).sum(axis=1)
    worse = 0
    for start in range(0, m, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, m))
        apart = length - 2 * (at[rows] @ at.T)
        apart[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(apart, k - 1, axis=1)[:, :k]
        similar = np.array(alike(chosen[rows], chosen), np.float32)
        similar[np.arange(len(rows)), rows] = -np.inf
        bar = np.partition(similar, m - k, axis=1)[:, m - k]
        mine = np.take_along_axis(similar, near, axis=1)
        similar.sort(axis=1)
        for row in np.flatnonzero((mine < bar[:, None]).any(axis=1)):
            strangers = mine[row][mine[row] < bar[row]]
            rank = m - np.searchsorted(similar[row], strangers, side="right") + 1
            worse += int((rank - k).sum())
    return 1.0 - worse * 2.0 / (m * k * (2 * m - 3 * k - 1))
