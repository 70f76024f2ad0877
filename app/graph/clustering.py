"""Chapters and scenes of an event: Leiden on its graph at two resolutions (docs/clusters.md)."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sknetwork.clustering import Leiden

from app.core.vectors import Vectors, normalised

Labels = NDArray[np.int64]
Times = NDArray[np.float64]
"""Seconds, NaN where a photo has no time."""
Graph: TypeAlias = Any
"""A scipy.sparse.csr_matrix, which has no types of its own."""

CHAPTER_RESOLUTION = 1.0
SCENE_RESOLUTION = 6.0
SEED = 42

TIME_SHARE = 0.8
"""How much of an edge's weight time may take away. Two photos that look alike stay joined by 0.2 of
it however long ago: cameras' clocks are wrong, and the same stage is used twice."""
SPAN_SHARE = 0.1
SHORTEST_TAU, LONGEST_GAP = 600.0, 3600.0

_SMALLEST_SCENE = 3
_SMALLEST_CHAPTER = (3, 15)


@dataclass(frozen=True)
class Clusters:
    """`chapters` and `scenes` (n,) int64: each photo's label, from 0, the largest first. All photos of
    a scene are of one chapter."""

    chapters: Labels
    scenes: Labels


def most_chapters(n: int) -> int:
    """∛n: 3 of 20 photos, 14 of 3,000, 46 of 100,000. As many as a person keeps apart."""
    return max(1, round(math.cbrt(n)))


def most_scenes(n: int) -> int:
    """1.4 √n: 77 of 3,000 photos, 443 of 100,000, so that scenes and photos a scene grow alike; of few
    photos a fifth: 4 of 20."""
    return max(1, min(round(1.4 * math.sqrt(n)), n // 5))


def cluster(
    vectors: Vectors,
    neighbours: NDArray[np.int64],
    weights: NDArray[np.float32],
    taken: Times | None = None,
) -> Clusters:
    """Chapters and scenes of n photos. Deterministic.

    `vectors` (n, d) unit rows; `neighbours` (n, k) and `weights` (n, k): the kNN graph, cosine
    similarities, -inf where there is no neighbour; `taken` (n,) seconds. Leiden (Traag et al., 2019)
    finds chapters, and in each of them scenes, on the graph without the edges between chapters; what
    is too small or too many for a person is joined to what is nearest, by Ward's criterion (1963).
    """
    n = len(vectors)
    if n == 0:
        return Clusters(np.zeros(0, np.int64), np.zeros(0, np.int64))
    taken = np.full(n, np.nan) if taken is None else taken
    tau = time_scale(taken)
    graph = shared_graph(neighbours, weights, taken, tau)
    low, high = _SMALLEST_CHAPTER
    chapters = _joined(
        leiden(graph, CHAPTER_RESOLUTION),
        vectors,
        taken,
        tau,
        smallest=min(max(low, n // 200), high),
        most=most_chapters(n),
    )
    inside = _within(graph, chapters)
    # Communities of a graph without edges between chapters lie in one chapter each, but photos
    # without any edge left could be put anywhere: the chapter is part of the label.
    fine = leiden(inside, SCENE_RESOLUTION)
    scenes = _joined(
        _numbered(fine * (int(chapters.max()) + 1) + chapters),
        vectors,
        taken,
        tau,
        smallest=_SMALLEST_SCENE,
        most=max(most_scenes(n), int(chapters.max()) + 1),
        within=chapters,
    )
    return Clusters(chapters, scenes)


def time_scale(taken: Times) -> float:
    """τ of the time kernel in seconds: a tenth of the time that photos were taken in.

    Breaks count as an hour at most, so that the nights of a festival don't stretch it; at least ten
    minutes. One τ is what a chapter lasts where an event has ten.
    """
    known = np.sort(taken[np.isfinite(taken)])
    if len(known) < 2:
        return SHORTEST_TAU
    active = float(np.minimum(np.diff(known), LONGEST_GAP).sum())
    return max(SHORTEST_TAU, SPAN_SHARE * active)


def nearness(apart: Times, tau: float) -> Times:
    """What is left of a weight between photos `apart` seconds: 1 at once, 1 − TIME_SHARE long after;
    1 where either has no time (NaN). Exponential, as Cooper et al. (2005) compare times of photos."""
    held = 1 - TIME_SHARE * (1 - np.exp(-np.abs(apart) / tau))
    return np.where(np.isfinite(apart), held, 1.0)


def shared_graph(
    neighbours: NDArray[np.int64], weights: NDArray[np.float32], taken: Times, tau: float
) -> Graph:
    """The symmetric weighted graph that Leiden cuts: (n, n).

    A weight is relative to what is near for its photo: 1 for its nearest neighbour, falling off with
    the mean distance of the others, so that one resolution fits models with narrow and with wide
    cosines. The stronger direction counts. Time weakens edges and never makes one.
    """
    n, k = neighbours.shape
    if k == 0:
        return scipy.sparse.csr_matrix((n, n), dtype=np.float64)
    there = np.isfinite(weights)
    distance = np.where(there, np.maximum(1.0 - weights.astype(np.float64), 0), 0.0)
    nearest = np.where(there, distance, np.inf).min(axis=1, keepdims=True)
    nearest[~np.isfinite(nearest)] = 0.0
    mean = distance.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    held = np.exp((nearest - distance) / np.maximum(mean - nearest, 1e-6)) * there
    if np.isfinite(taken).any():
        held *= nearness(taken[:, None] - taken[neighbours], tau)
    held[neighbours == np.arange(n)[:, None]] = 0
    directed = scipy.sparse.csr_matrix(
        (held.ravel(), neighbours.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n)
    )
    graph = directed.maximum(directed.T).tocsr()
    graph.eliminate_zeros()
    return graph


def leiden(graph: Graph, resolution: float) -> Labels:
    """Communities of a symmetric graph: (n,) labels, the largest first. A photo without edges is one
    of its own."""
    if graph.nnz == 0:
        return np.arange(graph.shape[0], dtype=np.int64)
    # Its refinement draws from the C library's rand(), which no random_state reaches.
    ctypes.CDLL(None).srand(SEED)
    found = Leiden(resolution, return_probs=False, return_aggregate=False)
    return np.asarray(found.fit_predict(graph), np.int64)


def centroids(vectors: Vectors, labels: Labels) -> Vectors:
    """The mean direction of each label's rows: (c, d) unit rows."""
    return normalised(sums(vectors, labels))


def sums(vectors: Vectors, labels: Labels) -> NDArray[np.float64]:
    """The sum of each label's rows: (c, d)."""
    n = len(labels)
    member = scipy.sparse.csr_matrix(
        (np.ones(n, np.float32), (labels, np.arange(n))), shape=(int(labels.max()) + 1, n)
    )
    return np.asarray(member @ vectors, np.float64)


def _within(graph: Graph, labels: Labels) -> Graph:
    """The graph without its edges between labels."""
    head = np.repeat(labels, np.diff(graph.indptr))
    kept = head == labels[graph.indices]
    before = np.concatenate([[0], np.cumsum(kept)])
    return scipy.sparse.csr_matrix(
        (graph.data[kept], graph.indices[kept], before[graph.indptr].astype(graph.indptr.dtype)),
        shape=graph.shape,
    )


def _joined(
    labels: Labels,
    vectors: Vectors,
    taken: Times,
    tau: float,
    *,
    smallest: int,
    most: int,
    within: Labels | None = None,
) -> Labels:
    """Clusters joined until there are at most `most`, none smaller than `smallest`.

    First the smallest to its nearest, then by Ward's criterion, which joins the small and the alike
    first. Only clusters of one label of `within` are joined.
    """
    size = np.bincount(labels)
    if len(size) <= most and size.min() >= smallest:
        return _numbered(labels)
    cost = _ward_costs(centroids(vectors, labels), size, _middles(labels, taken), tau)
    if within is not None:
        owner = np.zeros(len(size), np.int64)
        owner[labels] = within
        cost[owner[:, None] != owner] = np.inf
    return _numbered(_merged(cost, size, smallest, most)[labels])


def _merged(cost: NDArray[np.float64], size: NDArray[np.int64], smallest: int, most: int) -> Labels:
    """Into which cluster each of c goes, (c,); `cost` (c, c) is used up."""
    into = np.arange(len(size))
    count, mass = len(size), size.astype(np.float64)
    waiting = mass.copy()
    while count > 1:
        a = int(waiting.argmin())
        if waiting[a] < smallest:
            # The nearest, not the cheapest: Ward alone would join the tiny to the tiny.
            b = int((cost[a] * (1 / mass + 1 / mass[a])).argmin())
            if not np.isfinite(cost[a, b]):
                waiting[a] = np.inf  # alone in its chapter
                continue
        elif count > most:
            a, b = divmod(int(cost.argmin()), len(mass))
            if not np.isfinite(cost[a, b]):
                break
        else:
            break
        _join(cost, mass, a, b)
        waiting[a], waiting[b] = mass[a], np.inf
        into[into == b] = a
        count -= 1
    return into


def _ward_costs(
    centres: Vectors, size: NDArray[np.int64], middle: Times, tau: float
) -> NDArray[np.float64]:
    """What joining two clusters costs, (c, c): their squared distance, dimmed by time, weighted by
    their harmonic size; inf on the diagonal."""
    alike = centres.astype(np.float64) @ centres.T
    alike *= np.where(alike > 0, nearness(middle[:, None] - middle, tau), 1.0)
    mass = size[:, None] * size / (size[:, None] + size)
    cost = np.maximum(2 - 2 * alike, 0) * mass
    np.fill_diagonal(cost, np.inf)
    return cost


def _join(cost: NDArray[np.float64], mass: NDArray[np.float64], a: int, b: int) -> None:
    """Join cluster b to a in place, costs by Lance & Williams' recurrence (1967)."""
    with np.errstate(invalid="ignore"):  # inf − inf among those that are never joined
        fresh = (mass[a] + mass) * cost[a] + (mass[b] + mass) * cost[b] - mass * cost[a, b]
        fresh /= mass[a] + mass[b] + mass
    fresh[~np.isfinite(fresh)] = np.inf
    cost[a], cost[:, a] = fresh, fresh
    cost[b], cost[:, b] = np.inf, np.inf
    mass[a], mass[b] = mass[a] + mass[b], np.inf


def _middles(labels: Labels, taken: Times) -> Times:
    """Each label's median time: (c,), NaN where none of its photos has one."""
    middle = np.full(int(labels.max()) + 1, np.nan)
    known = np.flatnonzero(np.isfinite(taken))
    if len(known):
        order = known[np.lexsort((taken[known], labels[known]))]
        found, start, count = np.unique(labels[order], return_index=True, return_counts=True)
        middle[found] = taken[order[start + count // 2]]
    return middle


def _numbered(labels: Labels) -> Labels:
    """From 0, the largest first, of equals the one that has the first photo."""
    _, first, label, count = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(first), np.int64)
    rank[np.lexsort((first, -count))] = np.arange(len(first))
    return rank[label]
