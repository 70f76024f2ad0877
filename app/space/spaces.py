"""The named spaces of an event: in what sense photos are neighbours in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.graph.clustering import nearness, time_scale
from app.graph.stored import StoredGraph
from app.space.layout import MIN_FOR_UMAP, Term, look_term
from app.space.people import Faces, best_pairs, mean_faces, people_term
from app.space.store import LOOK, LOOK_TIME, PEOPLE
from app.space.trust import Compare

TIME_SHARE = 0.5
"""Weight of the edges in time beside those of looks, which stay whole."""
_BESIDE = 5
_TIME_SPREAD = 0.5
_ROWS = NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """`ids` (n,) int64 ascending of its photos; `vectors` (n, d) float32, from which a first layout
    starts; `alike` is the similarity that it is measured by."""

    name: str
    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    terms: list[Term]
    alike: Compare


def look(graph: StoredGraph) -> Space:
    """By look alone."""

    def alike(rows: _ROWS, columns: _ROWS) -> NDArray[np.float32]:
        return graph.vectors[rows] @ graph.vectors[columns].T

    return Space(
        LOOK, graph.ids, graph.vectors, [look_term(graph.neighbours, graph.weights)], alike
    )


def look_time(graph: StoredGraph) -> Space | None:
    """By look, and by the photos before and after; None where fewer than half have a time, or all the
    same."""
    known = np.isfinite(graph.taken)
    if len(known) < MIN_FOR_UMAP or 2 * known.sum() < len(known):
        return None
    if float(np.ptp(graph.taken[known])) == 0:
        return None
    tau = time_scale(graph.taken)

    def alike(rows: _ROWS, columns: _ROWS) -> NDArray[np.float32]:
        cosine = graph.vectors[rows] @ graph.vectors[columns].T
        held = nearness(graph.taken[rows][:, None] - graph.taken[columns], tau)
        return np.asarray((1 + cosine) * held, np.float32)

    middle = np.where(known, graph.taken - graph.taken[known].mean(), 0.0)
    spread = _TIME_SPREAD * float(np.sqrt(graph.vectors.var(axis=0).sum()))
    column = (middle * (spread / float(graph.taken[known].std())))[:, None]
    vectors = np.hstack([graph.vectors, column]).astype(np.float32)
    terms = [look_term(graph.neighbours, graph.weights), _time_term(graph.taken)]
    return Space(LOOK_TIME, graph.ids, vectors, terms, alike)


def _time_term(taken: NDArray[np.float64]) -> Term:
    """The _BESIDE photos before and after each, by seconds."""
    n = len(taken)
    known = np.flatnonzero(np.isfinite(taken))
    order = known[np.argsort(taken[known], kind="stable")]
    neighbours = np.repeat(np.arange(n, dtype=np.int64)[:, None], 2 * _BESIDE, axis=1)
    distances = np.full((n, 2 * _BESIDE), np.inf, np.float32)
    for step in range(1, min(_BESIDE, len(order) - 1) + 1):
        before, after = order[:-step], order[step:]
        apart = (taken[after] - taken[before]).astype(np.float32)
        neighbours[after, step - 1], distances[after, step - 1] = before, apart
        neighbours[before, _BESIDE + step - 1] = after
        distances[before, _BESIDE + step - 1] = apart
    return Term(neighbours, distances, TIME_SHARE)


def people(faces: Faces) -> Space | None:
    """By the faces in them: photos without are left out. None where there are no faces."""
    ids = np.unique(faces.photos)
    if not len(ids):
        return None

    def alike(rows: _ROWS, columns: _ROWS) -> NDArray[np.float32]:
        return best_pairs(faces, rows, columns)

    return Space(PEOPLE, ids, mean_faces(faces), [people_term(faces)], alike)
