"""Colour groups of the first space: spherical k-means on the vectors."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from app.core.vectors import Vectors

MAX_GROUPS = 12
"""As many as a colour-blind-safe palette keeps apart."""


def colour_groups(vectors: Vectors) -> NDArray[np.uint16]:
    """A group number for each row of (n, d) unit vectors: (n,) uint16, the largest group is 0.

    Spherical k-means (Dhillon & Modha, 2001) with k = √(n/2), at most MAX_GROUPS. Deterministic.
    """
    n = len(vectors)
    k = min(MAX_GROUPS, max(1, round(np.sqrt(n / 2))))
    if k == 1:
        return np.zeros(n, np.uint16)
    rows = np.ascontiguousarray(vectors, np.float32)
    kmeans = faiss.Kmeans(
        rows.shape[1], k, niter=20, nredo=5, seed=1234, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(rows)
    _, assigned = kmeans.index.search(rows, 1)
    groups = assigned[:, 0]
    rank = np.argsort(np.argsort(-np.bincount(groups, minlength=k), kind="stable"), kind="stable")
    return np.asarray(rank[groups], np.uint16)
