"""New photos placed among their neighbours, while all the others stay where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from app.space.forces import Places, settle, strengths
from app.space.layout import Term

ALPHA = 0.25
"""First step of the forces: a quarter of a fit's, as umap-learn's `transform` takes it."""
_EPOCHS, _EPOCHS_MANY, _MANY = 100, 30, 10_000
_NEAREST = 15
_BLOCK = 1024
Box = tuple[NDArray[np.float32], NDArray[np.float32]]


def place(
    known: Places,
    fresh: NDArray[np.bool_],
    vectors: NDArray[np.float32],
    terms: Sequence[Term],
    box: Box,
) -> Places:
    """Places for the `fresh` (n,) photos among those that have one: (n, 3) float32.

    `known` (n, 3), read only where not fresh; those rows are returned bit for bit. A photo begins at
    the mean of its neighbours' places, weighted by how strongly it holds them, and is then pulled by
    them and pushed by random photos. Where it would land outside of `box` (lowest and highest
    corner) it stands on its wall: the cloud is quantised within. Deterministic.
    """
    if not fresh.any():
        return known.copy()
    edges = _edges(terms, fresh)
    begun = _begun(known, fresh, vectors, edges)
    order = np.concatenate([np.flatnonzero(~fresh), np.flatnonzero(fresh)])
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    n, old = len(order), int((~fresh).sum())
    head, tail, held = edges
    graph = scipy.sparse.csr_matrix((held, (inverse[head], inverse[tail])), shape=(n, n))
    epochs = _EPOCHS if n <= _MANY else _EPOCHS_MANY
    settled = settle(begun[order], graph, epochs=epochs, alpha=ALPHA, fixed=old)[inverse]
    placed = known.astype(np.float32, copy=True)
    placed[fresh] = np.clip(settled[fresh], *box)
    return placed


def begin(
    known: Places, fresh: NDArray[np.bool_], vectors: NDArray[np.float32], terms: Sequence[Term]
) -> Places:
    """`known` with the `fresh` photos at their neighbours' mean: where a refit starts from."""
    return _begun(known, fresh, vectors, _edges(terms, fresh))


_Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def _edges(terms: Sequence[Term], fresh: NDArray[np.bool_]) -> _Edges:
    """Edges from the fresh photos: heads, tails and how strongly they hold."""
    which = np.flatnonzero(fresh)
    parts: list[_Edges] = []
    for term in terms:
        held = strengths(term.distances[which]) * np.float32(term.share)
        head = np.repeat(which, held.shape[1])
        tail = term.neighbours[which].ravel()
        kept = (held.ravel() > 0) & (head != tail)
        parts.append((head[kept], tail[kept], held.ravel()[kept]))
    head, tail, held = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return head, tail, held


def _begun(
    known: Places, fresh: NDArray[np.bool_], vectors: NDArray[np.float32], edges: _Edges
) -> Places:
    """Round by round from those that have a place to those whose neighbours got one; what is linked
    to no placed photo stands at the mean of the nearest by their vectors."""
    begun = np.where(fresh[:, None], 0, known).astype(np.float64)
    waiting = fresh.copy()
    head, tail, held = edges
    while waiting.any():
        use = waiting[head] & ~waiting[tail]
        weight = np.bincount(head[use], held[use], minlength=len(fresh))
        reached = weight > 0
        if not reached.any():
            break
        for axis in range(3):
            total = np.bincount(head[use], held[use] * begun[tail[use], axis], len(fresh))
            begun[reached, axis] = total[reached] / weight[reached]
        waiting &= ~reached
    if waiting.any() and not fresh.all():
        begun[waiting] = _by_vectors(begun, ~fresh, np.flatnonzero(waiting), vectors)
    # Copies of one photo begin on the same spot and would never part.
    scale = 1e-3 * float(np.ptp(begun, axis=0).max() or 1.0)
    begun[fresh] += np.random.default_rng(0).normal(scale=scale, size=(int(fresh.sum()), 3))
    return begun.astype(np.float32)


def _by_vectors(
    begun: NDArray[np.float64],
    placed: NDArray[np.bool_],
    which: NDArray[np.int64],
    vectors: NDArray[np.float32],
) -> NDArray[np.float64]:
    others = np.flatnonzero(placed)
    k = min(_NEAREST, len(others))
    half = np.einsum("nd,nd->n", vectors[others], vectors[others]) / 2
    found = np.empty((len(which), 3))
    for start in range(0, len(which), _BLOCK):
        part = slice(start, start + _BLOCK)
        near = vectors[which[part]] @ vectors[others].T - half
        best = np.argpartition(-near, k - 1, axis=1)[:, :k]
        found[part] = begun[others[best]].mean(axis=1)
    return found
