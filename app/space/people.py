"""Who is with whom: photos as neighbours by the most similar faces of both."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from app.core.vectors import ModelInfo
from app.space.layout import Term
from app.storage.copying import read_columns
from app.storage.vectors import known_model_number

NEIGHBOURS = 15
_FACES_SEARCHED = 3 * NEIGHBOURS


@dataclass(frozen=True)
class Faces:
    """An event's faces, f of them, ordered by photo: `photos` (f,) int64 photo ids, `vectors` (f, d)
    float32, compared by Euclidean distance and never normalised."""

    photos: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def of(self, ids: NDArray[np.int64]) -> Faces:
        """Those of these photos only."""
        kept = np.isin(self.photos, ids)
        return Faces(self.photos[kept], self.vectors[kept])


def read_faces(session: Session, event_id: int, model: ModelInfo) -> Faces:
    """The faces that the event has vectors of: none where nobody allowed them."""
    number = known_model_number(session, model)
    if number is None:
        return Faces(np.empty(0, np.int64), np.empty((0, model.dim), np.float32))
    # A halfvec in binary: its dimensions and a spare field, 16 bits each, then IEEE halves.
    found = read_columns(
        session,
        "SELECT f.photo_id, v.vector FROM face_vector v JOIN face f ON f.id = v.face_id"
        " WHERE v.event_id = %(event)s AND v.model = %(model)s ORDER BY f.photo_id, f.id",
        {"photo": "i8", "vector": f"V{4 + 2 * model.dim}"},
        {"event": event_id, "model": number},
    )
    halves = np.frombuffer(found["vector"].tobytes(), ">f2").reshape(-1, 2 + model.dim)
    return Faces(found["photo"], halves[:, 2:].astype(np.float32))


def people_term(faces: Faces) -> Term:
    """Neighbours of the photos that have faces, in the order of their ids: the nearest by the best
    pair of faces, at most NEIGHBOURS."""
    ids, owner = np.unique(faces.photos, return_inverse=True)
    n = len(ids)
    neighbours = np.repeat(np.arange(n, dtype=np.int64)[:, None], NEIGHBOURS, axis=1)
    distances = np.full((n, NEIGHBOURS), np.inf, np.float32)
    if n < 2:
        return Term(neighbours, distances)
    index = faiss.IndexFlatL2(faces.vectors.shape[1])
    index.add(faces.vectors)
    squared, found = index.search(faces.vectors, min(_FACES_SEARCHED, len(owner)))
    a, b = np.repeat(owner, found.shape[1]), owner[found.ravel()]
    apart = np.sqrt(np.maximum(squared.ravel(), 0))
    other = a != b
    a, b, apart = a[other], b[other], apart[other]
    order = np.lexsort((apart, b, a))
    a, b, apart = a[order], b[order], apart[order]
    best = np.ones(len(a), np.bool_)
    best[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    a, b, apart = a[best], b[best], apart[best]
    order = np.lexsort((b, apart, a))
    a, b, apart = a[order], b[order], apart[order]
    count = np.bincount(a, minlength=n)
    place = np.arange(len(a)) - np.repeat(np.cumsum(count) - count, count)
    kept = place < NEIGHBOURS
    neighbours[a[kept], place[kept]] = b[kept]
    distances[a[kept], place[kept]] = apart[kept]
    return Term(neighbours, distances)


def mean_faces(faces: Faces) -> NDArray[np.float32]:
    """The mean vector of each photo's faces, in the order of photo ids: (n, d)."""
    if not len(faces.photos):
        return np.empty((0, faces.vectors.shape[1]), np.float32)
    _, start, count = np.unique(faces.photos, return_index=True, return_counts=True)
    total = np.add.reduceat(faces.vectors, start, axis=0)
    return np.asarray(total / count[:, None], np.float32)


def best_pairs(
    faces: Faces, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """How alike photos (a,) and (b,) are by their most similar faces: minus the distance, (a, b)."""
    ids = np.unique(faces.photos)
    left, right = faces.of(ids[rows]), faces.of(ids[columns])
    squared = (
        (left.vectors**2).sum(axis=1)[:, None]
        + (right.vectors**2).sum(axis=1)
        - 2 * (left.vectors @ right.vectors.T)
    )
    first = np.unique(left.photos, return_index=True)[1]
    second = np.unique(right.photos, return_index=True)[1]
    least = np.minimum.reduceat(np.minimum.reduceat(squared, first, axis=0), second, axis=1)
    return np.asarray(-np.sqrt(np.maximum(least, 0)), np.float32)
