"""3D coordinates by UMAP from neighbours that are known already, started from PCA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from app.space.forces import Graph, Places, Rows, fuzzy_graph, settle

MIN_FOR_UMAP = 8
"""Fewer photos have no neighbourhoods: PCA alone places them."""
EPOCHS, EPOCHS_FEW, FEW = 200, 500, 1000
"""500 to FEW photos, where they cost less than a second. umap-learn takes 500 to 10,000 photos; from
a PCA start they gain 0.001 to 0.002 of trustworthiness (docs/clusters.md)."""
START_SPAN = 10.0
"""Length of the longest axis that forces start from, as in umap-learn."""


@dataclass(frozen=True)
class Term:
    """One sense in which photos are neighbours: `neighbours` (n, k) int64 indices and `distances`
    (n, k) float32, inf where there is none; `share`: the weight of its edges, 0 to 1."""

    neighbours: Rows
    distances: NDArray[np.float32]
    share: float = 1.0


def principal_components(vectors: NDArray[np.float32], dimensions: int = 3) -> NDArray[np.float32]:
    """Coordinates on the first principal axes: (n, d) → (n, dimensions); missing axes are zero."""
    centred = vectors - vectors.mean(axis=0, keepdims=True)
    d = vectors.shape[1]
    wanted = (max(0, d - dimensions), d - 1)
    _, axes = scipy.linalg.eigh(centred.T @ centred, subset_by_index=wanted)
    top = axes[:, ::-1]
    # An eigenvector's sign is arbitrary: the largest entry is made positive, so that runs agree.
    signs = np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])
    placed = np.zeros((len(vectors), dimensions), np.float32)
    placed[:, : top.shape[1]] = centred @ (top * signs)
    return placed


def joined_graph(terms: Sequence[Term]) -> Graph:
    """The fuzzy union of the terms' graphs, (n, n)."""
    graph: Graph | None = None
    for term in terms:
        one = fuzzy_graph(term.neighbours, term.distances) * term.share
        graph = one if graph is None else (graph + one - graph.multiply(one)).tocsr()
    assert graph is not None  # noqa: S101 - a space has at least one term
    return graph


def lay_out(
    vectors: NDArray[np.float32], terms: Sequence[Term], start: Places | None = None
) -> Places:
    """Places n photos so that neighbours stand close: (n, 3) float32. Deterministic.

    UMAP (McInnes, Healy & Melville, 2018) on the terms' graph, from `start` (n, 3) where there is
    one, else from the principal components of `vectors` (n, d), which alone place fewer than
    MIN_FOR_UMAP photos.
    """
    n = len(vectors)
    if n == 0:
        return np.empty((0, 3), np.float32)
    if n < MIN_FOR_UMAP:
        return principal_components(vectors)
    if start is None:
        start = principal_components(vectors)
        longest = float(np.ptp(start, axis=0).max())
        start = start * (START_SPAN / longest if longest > 0 else 1.0)
        # Identical photos start on the same spot and would never part.
        random = np.random.default_rng(0)
        jitter = random.normal(scale=1e-4 * START_SPAN, size=start.shape)
        start = start + jitter.astype(np.float32)
    return settle(start, joined_graph(terms), epochs=EPOCHS_FEW if n <= FEW else EPOCHS)


def look_term(neighbours: Rows, weights: NDArray[np.float32]) -> Term:
    return Term(neighbours, np.clip(1.0 - weights, 0.0, None).astype(np.float32))
