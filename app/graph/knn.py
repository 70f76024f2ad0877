"""Exact k-nearest neighbours by FAISS."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from app.core.vectors import Vectors

NEIGHBOURS = 15
"""Neighbours a photo: UMAP's default neighbourhood (McInnes et al., 2018), enough for clustering."""


def nearest_neighbours(
    vectors: Vectors, k: int = NEIGHBOURS
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each row's k most similar other rows, exact.

    `vectors`: (n, d) unit rows. Returns indices (n, k') int64 and cosine similarities (n, k')
    float32, most similar first, with k' = min(k, n − 1).
    """
    n = len(vectors)
    k = max(0, min(k, n - 1))
    if k == 0:
        return np.empty((n, 0), np.int64), np.empty((n, 0), np.float32)
    index = faiss.IndexFlatIP(vectors.shape[1])
    rows = np.ascontiguousarray(vectors, np.float32)
    index.add(rows)
    similarity, neighbour = index.search(rows, k + 1)
    return _without_self(neighbour, similarity, k)


def _without_self(
    neighbour: NDArray[np.int64], similarity: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Drop each row's own index; among exact copies it may stand anywhere, or be missing."""
    own = neighbour == np.arange(len(neighbour))[:, None]
    missing = ~own.any(axis=1)
    own[missing, -1] = True
    keep = ~own
    shape = (len(neighbour), k)
    return neighbour[keep].reshape(shape), similarity[keep].reshape(shape)
