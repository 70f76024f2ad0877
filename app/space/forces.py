"""UMAP's graph and its forces (McInnes, Healy & Melville, 2018), for a graph that is there already.

umap-learn finds its own neighbours, compiles for seconds in every process and stretches whatever it
starts from to a cube. Here a layout starts where it is told to, and points can be held fixed. The
tests compare both steps with umap-learn's own.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numba
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Places = NDArray[np.float32]
Graph: TypeAlias = Any
"""A scipy.sparse.csr_matrix, which has no types of its own."""

# umap-learn's find_ab_params(spread=1.0, min_dist=0.1): the curve 1 / (1 + a d^(2b)).
CURVE_A, CURVE_B = 1.5769434, 0.8950609
REPELLERS = 5
"""Random photos that push a photo away, for each neighbour that pulls it: UMAP's default."""

_BISECTIONS = 32
_LEAST_SCALE = 1e-3
_STRONGEST_STEP = 4.0


def strengths(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """How strongly each photo holds its k neighbours, 0 to 1: (n, k) of (n, k) distances.

    The nearest at 1, the others falling off so that a row sums to log₂(k + 1): UMAP's local
    connectivity. `distances` ≥ 0, inf where there is no neighbour.
    """
    there = np.isfinite(distances)
    known = np.where(there, distances, 0).astype(np.float64)
    count = there.sum(axis=1)
    if not known.size:
        return np.zeros(distances.shape, np.float32)
    nearest = np.where(there & (distances > 0), distances, np.inf).min(axis=1)
    nearest = np.where(np.isfinite(nearest), nearest, 0.0)[:, None]
    beyond = np.maximum(known - nearest, 0)
    wanted = np.log2(count + 1.0)
    low, high = np.zeros(len(known)), np.full(len(known), np.inf)
    scale = np.ones(len(known))
    for _ in range(_BISECTIONS):
        total = (np.exp(-beyond / scale[:, None]) * there).sum(axis=1)
        over = total > wanted
        high = np.where(over, scale, high)
        low = np.where(over, low, scale)
        scale = np.where(np.isinf(high), scale * 2, (low + np.minimum(high, 1e300)) / 2)
    mean = known.sum(axis=1) / np.maximum(count, 1)
    overall = float(known.sum() / max(1, int(count.sum())))
    scale = np.maximum(scale, _LEAST_SCALE * np.where(nearest[:, 0] > 0, mean, overall))
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    return np.asarray(np.exp(-beyond / scale[:, None]) * there, np.float32)


def fuzzy_graph(neighbours: Rows, distances: NDArray[np.float32]) -> Graph:
    """The symmetric graph of n photos: an edge where either side has one, a + b − ab where both.

    `neighbours` (n, k) indices, at any index where `distances` is inf.
    """
    n, k = neighbours.shape
    held = strengths(distances).ravel()
    head, tail = np.repeat(np.arange(n), k), neighbours.ravel()
    kept = (held > 0) & (head != tail)
    directed = scipy.sparse.csr_matrix((held[kept], (head[kept], tail[kept])), shape=(n, n))
    other = directed.T.tocsr()
    return (directed + other - directed.multiply(other)).tocsr()


def settle(
    places: Places,
    graph: Graph,
    *,
    epochs: int,
    alpha: float = 1.0,
    fixed: int = 0,
    seed: int = 42,
) -> Places:
    """Let the graph's edges pull and random photos push, for some epochs: (n, 3) → (n, 3) float32.

    The step falls from `alpha` to 0. The first `fixed` photos stay where they are, bit for bit.
    Deterministic.
    """
    moved = np.ascontiguousarray(places, np.float32).copy()
    edges = graph.tocsr()
    edges.sort_indices()
    if fixed:
        edges = edges[fixed:]
    if edges.nnz == 0 or epochs == 0:
        return moved
    weight = edges.data.astype(np.float32)
    head = np.repeat(np.arange(edges.shape[0], dtype=np.int32), np.diff(edges.indptr)) + fixed
    # An edge is pulled as often as it is strong: the strongest in every epoch, the weakest never.
    strongest = weight.max()
    used = weight * epochs >= strongest
    _settle(
        moved,
        head[used].astype(np.int32),
        edges.indices[used].astype(np.int32),
        strongest / weight[used],
        epochs,
        np.float32(alpha),
        fixed,
        np.uint64(seed),
    )
    return moved


@numba.njit(cache=True, fastmath=True, nogil=True)
def _settle(
    at: Places,
    head: NDArray[np.int32],
    tail: NDArray[np.int32],
    every: NDArray[np.float32],
    epochs: int,
    alpha: np.float32,
    fixed: int,
    seed: np.uint64,
) -> None:
    a, b = np.float32(CURVE_A), np.float32(CURVE_B)
    limit = np.float32(_STRONGEST_STEP)
    one, near = np.float32(1), np.float32(1e-3)
    pull = np.float32(-2) * a * b
    push = np.float32(2) * b
    n = np.uint64(len(at))
    due = every.copy()
    due_push = every / np.float32(REPELLERS)
    random = seed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
    for epoch in range(epochs):
        step = alpha * (one - np.float32(epoch) / np.float32(epochs))
        for e in range(len(head)):
            if due[e] > epoch:
                continue
            i, j = head[e], tail[e]
            x, y, z = at[i, 0], at[i, 1], at[i, 2]
            dx, dy, dz = x - at[j, 0], y - at[j, 1], z - at[j, 2]
            squared = dx * dx + dy * dy + dz * dz
            if squared > 0:
                power = squared**b
                force = pull * power / (squared * (a * power + one))
                dx = min(max(force * dx, -limit), limit) * step
                dy = min(max(force * dy, -limit), limit) * step
                dz = min(max(force * dz, -limit), limit) * step
                x, y, z = x + dx, y + dy, z + dz
                if j >= fixed:
                    at[j, 0] -= dx
                    at[j, 1] -= dy
                    at[j, 2] -= dz
            due[e] += every[e]
            each = every[e] / np.float32(REPELLERS)
            times = int((np.float32(epoch) - due_push[e]) / each)
            for _ in range(times):
                # xorshift64* (Vigna, 2016)
                random ^= random >> np.uint64(12)
                random ^= random << np.uint64(25)
                random ^= random >> np.uint64(27)
                k = np.int64(((random * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(33)) % n)
                ox, oy, oz = x - at[k, 0], y - at[k, 1], z - at[k, 2]
                squared = ox * ox + oy * oy + oz * oz
                if squared > 0 and k != i:
                    force = push / ((near + squared) * (a * squared**b + one))
                    x += min(max(force * ox, -limit), limit) * step
                    y += min(max(force * oy, -limit), limit) * step
                    z += min(max(force * oz, -limit), limit) * step
            due_push[e] += times * each
            at[i, 0], at[i, 1], at[i, 2] = x, y, z
