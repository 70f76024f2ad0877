"""3D coordinates by UMAP from the shared kNN graph, started from PCA."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from app.core.vectors import Vectors

MIN_FOR_UMAP = 8
SEED = 42


def principal_components(vectors: Vectors, dimensions: int = 3) -> NDArray[np.float32]:
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


def lay_out(
    vectors: Vectors, neighbours: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Places photos in space so that neighbours stand close: (n, 3) float32, centred on 0.

    `neighbours` (n, k) int64 and `weights` (n, k) float32 are the kNN graph: indices and cosine
    similarities. UMAP (McInnes, Healy & Melville, 2018) on that graph with a PCA start; PCA alone
    for fewer than MIN_FOR_UMAP photos, where a neighbourhood has no meaning. Deterministic.
    """
    n = len(vectors)
    if n == 0:
        return np.empty((0, 3), np.float32)
    start = principal_components(vectors)
    if n < MIN_FOR_UMAP:
        return start
    placed = _umap(vectors, neighbours, weights, start)
    return np.asarray(placed - placed.mean(axis=0), np.float32)


def _umap(
    vectors: Vectors,
    neighbours: NDArray[np.int64],
    weights: NDArray[np.float32],
    start: NDArray[np.float32],
) -> NDArray[np.float32]:
    from umap import layouts, umap_  # noqa: PLC0415 - numba takes seconds: only where it is used

    # umap-learn leaves these three to be compiled anew in every process, which takes longer than
    # the layout of a few thousand photos: numba keeps them on disk once it is asked to.
    for compiled in (
        umap_.smooth_knn_dist,
        umap_.compute_membership_strengths,
        layouts._nb_optimize_layout_euclidean_single_epoch,
    ):
        compiled.enable_caching()
    n = len(vectors)
    own = np.arange(n, dtype=np.int64)[:, None]
    indices = np.hstack([own, neighbours])
    distances = np.hstack([np.zeros((n, 1), np.float32), np.clip(1.0 - weights, 0.0, 2.0)])
    random = np.random.RandomState(SEED)
    graph, _, _ = umap_.fuzzy_simplicial_set(
        vectors,
        n_neighbors=indices.shape[1],
        random_state=random,
        metric="cosine",
        knn_indices=indices.astype(np.int32),
        knn_dists=distances.astype(np.float32),
    )
    a, b = umap_.find_ab_params(1.0, 0.1)
    # Identical rows start on the same spot and would never part.
    jitter = random.normal(scale=1e-4 * float(start.std() or 1.0), size=start.shape)
    embedding, _ = umap_.simplicial_set_embedding(
        data=vectors,
        graph=graph,
        n_components=3,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=500 if n <= 10_000 else 200,
        init=(start + jitter).astype(np.float32),
        random_state=random,
        metric="cosine",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
        parallel=False,
        verbose=False,
    )
    return np.asarray(embedding, np.float32)
