"""The graph of an event as it is stored, for the stages after it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from app.core.vectors import Vectors
from app.storage.copying import read_columns
from app.storage.tables_graph import EdgeKind
from app.storage.vectors import event_vectors


@dataclass(frozen=True)
class StoredGraph:
    """An event's photos that are in its graph, n of them.

    `ids` (n,) int64 ascending; `vectors` (n, d) float32 unit rows; `neighbours` (n, k) int64 indices,
    the most similar first, a photo's own where there is none, and `weights` (n, k) float32 cosine
    similarities, -inf there. `taken` (n,) float64: the camera's wall clock in seconds since 1970,
    NaN where it is not known.
    """

    model: int
    ids: NDArray[np.int64]
    vectors: Vectors
    neighbours: NDArray[np.int64]
    weights: NDArray[np.float32]
    taken: NDArray[np.float64]

    def digest(self, about: str) -> Any:
        """A SHA-256 of all of it, begun with the name and version of what is made from it."""
        digest = hashlib.sha256(f"{about}-{self.model}".encode())
        for part in (self.ids, self.vectors, self.neighbours, self.weights, self.taken):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest


def stored_graph(session: Session, event_id: int, model: int) -> StoredGraph:
    """Read it. A photo that was indexed after the graph was built has no edges yet, and is left out;
    the only photo of an event needs none."""
    ids, vectors = event_vectors(session, event_id, model)
    edges = read_columns(
        session,
        "SELECT src, dst, weight FROM edge WHERE event_id = %(event)s AND kind = %(kind)s"
        " AND model = %(model)s ORDER BY src, weight DESC, dst",
        {"src": "i8", "dst": "i8", "weight": "f4"},
        {"event": event_id, "kind": EdgeKind.KNN.value, "model": model},
    )
    times = read_columns(
        session,
        "SELECT id, coalesce(extract(epoch FROM taken_at)::float8, 'NaN'::float8) FROM photo"
        " WHERE event_id = %(event)s ORDER BY id",
        {"id": "i8", "taken": "f8"},
        {"event": event_id},
    )
    taken = times["taken"][np.searchsorted(times["id"], ids)] if len(ids) else times["taken"][:0]
    inside = np.isin(edges["src"], ids) & np.isin(edges["dst"], ids)
    src, dst, weight = (edges[name][inside] for name in ("src", "dst", "weight"))
    kept = np.isin(ids, src) | (len(ids) == 1)
    neighbours, weights = _rows(ids[kept], src, dst, weight)
    return StoredGraph(model, ids[kept], vectors[kept], neighbours, weights, taken[kept])


def _rows(
    ids: NDArray[np.int64],
    src: NDArray[np.int64],
    dst: NDArray[np.int64],
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Edges ordered by src as (n, k) rows, those to photos that are left out dropped."""
    inside = np.isin(dst, ids)
    at, to, weight = (
        np.searchsorted(ids, src[inside]),
        np.searchsorted(ids, dst[inside]),
        weight[inside],
    )
    degree = np.bincount(at, minlength=len(ids))
    k = int(degree.max()) if len(at) else 0
    neighbours = np.repeat(np.arange(len(ids), dtype=np.int64)[:, None], k, axis=1)
    weights = np.full((len(ids), k), -np.inf, np.float32)
    place = np.arange(len(at)) - np.repeat(np.cumsum(degree) - degree, degree)
    neighbours[at, place], weights[at, place] = to, weight
    return neighbours, weights
