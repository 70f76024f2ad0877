"""The graph stage: find each photo's neighbours, or repair them, and store the edges."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text
from sqlmodel import Session

from app.core.vectors import ModelInfo, Vectors
from app.graph.edges import alive_photos, replace_edges
from app.graph.kept import Kept, KeptGraphs
from app.graph.knn import NEIGHBOURS, Neighbours, grow, nearest_neighbours
from app.graph.stage import Report, Stage
from app.storage.copying import read_columns
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind
from app.storage.tables_graph import EdgeKind
from app.storage.vectors import event_vectors, model_number, photo_vectors

REBUILD_FROM = 0.2
"""Share of photos that are new, or have lost a neighbour, from which a rebuild is no slower."""


@dataclass(frozen=True)
class Given:
    """`ids` (n,) int64 ascending and their `stamps` (n,) int64: when each vector was made.

    `model`: the vectors' partition. `edges_of`: the run that stored the edges that are there, 0
    where there are none.
    """

    event_id: int
    model: int
    ids: NDArray[np.int64]
    stamps: NDArray[np.int64]
    edges_of: int


@dataclass(frozen=True)
class Made:
    """`ids` (n,) of the photos whose neighbours these are; `changed` (n,): rows that differ from the
    stored edges, None where all are to be stored."""

    ids: NDArray[np.int64]
    stamps: NDArray[np.int64]
    vectors: Vectors
    neighbours: Neighbours
    changed: NDArray[np.bool_] | None


class GraphStage(Stage[Given, Made]):
    """`folder`: where vectors are kept between two builds."""

    kind: ClassVar[RunKind] = RunKind.GRAPH
    following: ClassVar[RunKind | None] = RunKind.LAYOUT

    def __init__(self, engine: Engine, model: ModelInfo, folder: Path) -> None:
        self._engine, self._model = engine, model
        self._kept = KeptGraphs(folder)
        self._keep: tuple[int, int, Kept] | None = None

    def read(self, session: Session, run: Run) -> Given:
        number = model_number(session, self._model)
        found = read_columns(
            session,
            "SELECT p.id, (extract(epoch FROM greatest(p.indexed_at, p.changed_at)) * 1e6)::int8"
            " FROM photo p WHERE p.event_id = %(event)s AND p.indexed_at IS NOT NULL AND EXISTS"
            " (SELECT 1 FROM photo_vector v WHERE v.model = %(model)s AND v.photo_id = p.id)"
            " ORDER BY p.id",
            {"id": "i8", "stamp": "i8"},
            {"event": run.event_id, "model": number},
        )
        edges_of = session.connection().execute(_EDGES_OF, {"event": run.event_id}).scalar()
        return Given(run.event_id, number, found["id"], found["stamp"], edges_of or 0)

    def fingerprint(self, given: Given) -> str:
        digest = hashlib.sha256(f"knn-2-{NEIGHBOURS}-{given.model}".encode())
        digest.update(given.ids.tobytes())
        digest.update(given.stamps.tobytes())
        return digest.hexdigest()

    def build(self, given: Given, report: Report) -> Made:
        kept = self._kept.load(given.event_id, given.model)
        made = self._grown(given, kept) if kept is not None else None
        if made is None:
            with session_scope(self._engine) as session:
                ids, vectors = event_vectors(session, given.event_id, given.model)
            stamps = _stamps_of(ids, given)
            report(0.2)
            made = Made(ids, stamps, vectors, nearest_neighbours(vectors), None)
        report(0.8)
        return made

    def _grown(self, given: Given, kept: Kept) -> Made | None:
        """The graph that was kept, repaired; None where it is no start, or too little is left."""
        place = np.searchsorted(kept.ids, given.ids)
        place[place == len(kept.ids)] = 0
        known = kept.ids[place] == given.ids if len(kept.ids) else np.zeros(len(place), np.bool_)
        known &= kept.stamps[place] == given.stamps if len(kept.ids) else False
        fresh_ids = given.ids[~known]
        if kept.run != given.edges_of or len(fresh_ids) > REBUILD_FROM * len(given.ids):
            return None
        with session_scope(self._engine) as session:
            found, vectors = photo_vectors(session, fresh_ids, given.model)
        if len(found) != len(fresh_ids):
            return None  # a photo was deleted meanwhile: the next run knows
        merged = np.empty((len(given.ids), kept.vectors.shape[1]), np.float32)
        merged[known] = kept.vectors[place[known]]
        merged[~known] = vectors
        # Old indices → today's; -1 for photos that are gone or have another vector.
        today = np.full(len(kept.ids) + 1, -1, np.int64)
        today[place[known]] = np.flatnonzero(known)
        k = kept.rows.shape[1]
        rows = np.full((len(given.ids), k), -1, np.int64)
        weights = np.full((len(given.ids), k), -np.inf, np.float32)
        rows[known] = today[kept.rows[place[known]]]
        weights[known] = kept.weights[place[known]]
        broken = ~known | (rows < 0).any(axis=1)
        if broken.sum() > REBUILD_FROM * len(given.ids):
            return None
        grown = grow(merged, Neighbours(rows, weights, kept.recall), ~known)
        return Made(given.ids, given.stamps, merged, grown.neighbours, grown.changed)

    def store(self, session: Session, run: Run, given: Given, made: Made) -> dict[str, Any]:
        # A photo may have been deleted since its vector was read: its edges would dangle.
        alive = alive_photos(session, run.event_id)
        stored = replace_edges(
            session,
            run.event_id,
            EdgeKind.KNN,
            given.model,
            made.ids,
            made.neighbours,
            alive=alive,
            changed=made.changed,
        )
        kept = Kept(
            made.ids,
            made.stamps,
            made.vectors.astype(np.float16),
            made.neighbours.rows,
            made.neighbours.weights,
            run.id,
            made.neighbours.recall,
        )
        self._keep = (run.event_id, given.model, kept)
        return {
            "photos": len(made.ids),
            "edges": int(made.neighbours.rows.size),
            "rows_written": stored,
            "recall": made.neighbours.recall,
        }

    def stored(self) -> None:
        if self._keep is not None:
            self._kept.save(*self._keep)


_EDGES_OF = text(
    "SELECT max(id) FROM run WHERE event_id = :event AND kind = 'graph' AND state = 'done'"
    " AND summary ->> 'skipped' = 'false'"
)


def _stamps_of(ids: NDArray[np.int64], given: Given) -> NDArray[np.int64]:
    """The stamps as they were read; 0 for photos that came since, so that they count as new."""
    place = np.minimum(np.searchsorted(given.ids, ids), max(0, len(given.ids) - 1))
    if not len(given.ids):
        return np.zeros(len(ids), np.int64)
    return np.where(given.ids[place] == ids, given.stamps[place], 0)
