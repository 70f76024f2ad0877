"""k-nearest neighbours: exact to 50,000 photos, approximate above; and repaired where photos came
or went."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from app.core.vectors import Vectors

NEIGHBOURS = 15
"""Neighbours a photo: UMAP's default neighbourhood (McInnes et al., 2018), enough for clustering."""
EXACT_TO = 50_000
"""Photos that are compared all with all. At 50,000 that is 1.25 · 10⁹ products of 768 numbers."""
RECALL_WANTED = 0.95
RECALL_SAMPLE = 500

_BLOCK = 1024
_HNSW_LINKS = 32
_HNSW_BUILD = 80
_HNSW_SEARCHES = (64, 128, 256, 512)

Rows = NDArray[np.int64]
Similarities = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbours:
    """For each of n photos its k most similar others, most similar first.

    `rows` (n, k) int64 indices, -1 where there is none; `weights` (n, k) float32 cosine
    similarities, -inf there. `recall`: the share of true neighbours found, measured on a sample
    against an exact search; 1.0 where the search was exact.
    """

    rows: Rows
    weights: Similarities
    recall: float = 1.0


def nearest_neighbours(vectors: Vectors, k: int = NEIGHBOURS) -> Neighbours:
    """Each row's k most similar other rows. `vectors`: (n, d) unit rows.

    Exact for n ≤ EXACT_TO, else by HNSW (Malkov & Yashunin, 2018), with as wide a search as its
    measured recall needs. Equal similarities go by index, so that the same vectors give the same
    graph. k' = min(k, n - 1) columns.
    """
    n = len(vectors)
    k = max(0, min(k, n - 1))
    rows = np.ascontiguousarray(vectors, np.float32)
    if k == 0:
        return Neighbours(np.empty((n, 0), np.int64), np.empty((n, 0), np.float32))
    return _exact(rows, k) if n <= EXACT_TO else _approximate(rows, k)


def _exact(vectors: Vectors, k: int) -> Neighbours:
    """All pairs, each compared once: a block's products with the rows after it serve both sides.

    Half the multiplications of a flat index, which compares every pair twice.
    """
    n = len(vectors)
    best = _Best(n, k)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        products = vectors[start:stop] @ vectors[start:].T
        own = np.arange(stop - start)
        products[own, own] = -np.inf
        best.take(products, first_row=start, first_column=start)
        if stop < n:
            best.take_columns(products[:, stop - start :], first_row=stop, first_column=start)
    return Neighbours(best.rows, best.weights)


class _Best:
    """The k best found so far for each row. What is worse than a row's k-th is passed over."""

    def __init__(self, n: int, k: int) -> None:
        self.rows = np.full((n, k), -1, np.int64)
        self.weights = np.full((n, k), -np.inf, np.float32)

    def take(self, products: Similarities, *, first_row: int, first_column: int) -> None:
        """Consider (m, c) similarities of rows first_row… to rows first_column…"""
        here = slice(first_row, first_row + len(products))
        rows, weights = self.rows[here], self.weights[here]
        row, column = _worth_a_look(products, weights)
        merge_best(rows, weights, row, column + first_column, products[row, column])

    def take_columns(self, products: Similarities, *, first_row: int, first_column: int) -> None:
        """The same for (c, m) similarities, whose columns are the rows first_row…"""
        here = slice(first_row, first_row + products.shape[1])
        rows, weights = self.rows[here], self.weights[here]
        if np.isfinite(weights[:, -1]).all():
            column, row = np.nonzero(products >= weights[:, -1])
        else:
            row, column = _worth_a_look(np.ascontiguousarray(products.T), weights)
        merge_best(rows, weights, row, column + first_column, products[column, row])


def _worth_a_look(products: Similarities, weights: Similarities) -> tuple[Rows, Rows]:
    """Where (m, c) similarities reach the worst of their rows' (m, k) weights. A row that hasn't got
    k of them yet looks at the k best of the similarities only."""
    bar, k = weights[:, -1], weights.shape[1]
    if products.shape[1] > k and not np.isfinite(bar).all():
        own = np.partition(products, -k, axis=1)[:, -k]
        bar = np.maximum(bar, own)
    row, column = np.nonzero(products >= bar[:, None])
    finite = np.isfinite(products[row, column])
    return row[finite], column[finite]


def merge_best(
    rows: Rows, weights: Similarities, at: Rows, neighbour: Rows, similarity: Similarities
) -> None:
    """Merge candidates into (n, k) lists of best neighbours, in place.

    Candidate i is `neighbour[i]` for row `at[i]` with `similarity[i]`; none may be in its row yet,
    or be given twice. Better first; of equals the lower index.
    """
    touched, at = np.unique(at, return_inverse=True)
    if len(touched) == 0:
        return
    k = rows.shape[1]
    row = np.concatenate([np.repeat(np.arange(len(touched)), k), at])
    column = np.concatenate([rows[touched].ravel(), neighbour])
    value = np.concatenate([weights[touched].ravel(), similarity])
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    first = np.searchsorted(row, np.arange(len(touched)))
    place = np.arange(len(row)) - first[row]
    kept = place < k
    rows[touched] = column[kept].reshape(-1, k)
    weights[touched] = value[kept].reshape(-1, k)


def _approximate(vectors: Vectors, k: int) -> Neighbours:
    index = faiss.IndexHNSWFlat(vectors.shape[1], _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _HNSW_BUILD
    index.add(vectors)
    sample = np.random.default_rng(0).choice(len(vectors), RECALL_SAMPLE, replace=False)
    truth = search(vectors, sample, k)
    found = Neighbours(np.empty((0, k), np.int64), np.empty((0, k), np.float32), 0.0)
    for width in _HNSW_SEARCHES:
        index.hnsw.efSearch = width
        recall = _recall(*index.search(vectors[sample], k + 1), sample, truth)
        if recall >= RECALL_WANTED or width == _HNSW_SEARCHES[-1]:
            similarity, neighbour = index.search(vectors, k + 1)
            found = Neighbours(
                *_without_self(neighbour, similarity, np.arange(len(vectors))), recall
            )
            break
    return found


def search(vectors: Vectors, which: Rows, k: int) -> Neighbours:
    """The k most similar other rows of some rows only, exact: (len(which), k)."""
    products = vectors[which] @ vectors.T
    products[np.arange(len(which)), which] = -np.inf
    best = _Best(len(which), k)
    best.take(products, first_row=0, first_column=0)
    return Neighbours(best.rows, best.weights)


def _recall(similarity: Similarities, neighbour: Rows, sample: Rows, truth: Neighbours) -> float:
    """The share of true neighbours found. A photo as similar as the last true one counts too."""
    _, weights = _without_self(neighbour, similarity, sample)
    return float((weights >= truth.weights[:, -1:] - 1e-6).mean())


def _without_self(
    neighbour: Rows, similarity: Similarities, own: Rows
) -> tuple[Rows, Similarities]:
    """Drop each row's own index; among exact copies it may stand anywhere, or be missing."""
    mine = neighbour == own[:, None]
    missing = ~mine.any(axis=1)
    mine[missing, -1] = True
    shape = (len(neighbour), neighbour.shape[1] - 1)
    return neighbour[~mine].reshape(shape), similarity[~mine].reshape(shape)


@dataclass(frozen=True)
class Grown:
    """Neighbours after photos came and went, and which rows differ from before; None: all may."""

    neighbours: Neighbours
    changed: NDArray[np.bool_] | None


def grow(vectors: Vectors, known: Neighbours, fresh: NDArray[np.bool_]) -> Grown:
    """Neighbours of all rows from those of before, at the cost of the rows that are new.

    `known` holds for each old row what it had, by today's indices: -1 for neighbours that are gone
    or have another vector now. `fresh` (n,) marks rows that are new or have another vector. Exact
    where `known` was: fresh rows and rows that lost a neighbour are searched for anew, and each
    fresh row is offered to all others.
    """
    n = len(vectors)
    k = max(0, min(NEIGHBOURS, n - 1))
    vectors = np.ascontiguousarray(vectors, np.float32)
    if k == 0 or known.rows.shape[1] < k:
        return Grown(nearest_neighbours(vectors), np.ones(n, np.bool_))
    rows, weights = known.rows[:, :k].copy(), known.weights[:, :k].copy()
    stale = fresh | (known.rows[:, :k] < 0).any(axis=1)
    changed = stale.copy()
    for start in range(0, n, _BLOCK):
        which = np.flatnonzero(stale[start : start + _BLOCK]) + start
        found = search(vectors, which, k)
        rows[which], weights[which] = found.rows, found.weights
    new, rest = np.flatnonzero(fresh), np.flatnonzero(~stale)
    for start in range(0, len(new), _BLOCK):
        block = new[start : start + _BLOCK]
        products = vectors[block] @ vectors[rest].T
        column, row = np.nonzero(products > weights[rest, -1])
        merge_best(rows, weights, rest[row], block[column], products[column, row])
        changed[rest[row]] = True
    return Grown(Neighbours(rows, weights, known.recall), changed)
