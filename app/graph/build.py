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
from app.graph.across import (
    NEIGHBOURS_ACROSS,
    linked_events,
    neighbours_across,
    stamps_of,
)
from app.graph.edges import Edges, alive_photos, replace_edges
from app.graph.kept import Kept, KeptGraphs
from app.graph.knn import NEIGHBOURS, Grown, Neighbours, grow, nearest_neighbours
from app.graph.stage import Report, Stage
from app.ingest.runs import start_stage
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
    where there are none. `linked`: other events and what their photos are known by.
    """

    event_id: int
    model: int
    ids: NDArray[np.int64]
    stamps: NDArray[np.int64]
    edges_of: int
    linked: dict[int, str]


@dataclass(frozen=True)
class Made:
    """`ids` (n,) of the photos whose neighbours these are; `changed` (n,): rows that differ from the
    stored edges, None where all are to be stored."""

    ids: NDArray[np.int64]
    stamps: NDArray[np.int64]
    vectors: Vectors
    neighbours: Neighbours
    changed: NDArray[np.bool_] | None
    across: tuple[NDArray[np.int64], Neighbours]


_Found = tuple[NDArray[np.int64], NDArray[np.int64], Vectors, Grown]


class GraphStage(Stage[Given, Made]):
    """`folder`: where vectors are kept between two builds."""

    kind: ClassVar[RunKind] = RunKind.GRAPH
    following: ClassVar[RunKind | None] = RunKind.GROUPS

    def __init__(self, engine: Engine, model: ModelInfo, folder: Path) -> None:
        self._engine, self._model = engine, model
        self._kept = KeptGraphs(folder)
        self._keep: tuple[int, int, Kept] | None = None

    def read(self, session: Session, run: Run) -> Given:
        number = model_number(session, self._model)
        ids, stamps = stamps_of(session, run.event_id, number)
        edges_of = session.connection().execute(_EDGES_OF, {"event": run.event_id}).scalar()
        linked = {
            other: _digest(*stamps_of(session, other, number))
            for other in linked_events(session, run.event_id)
        }
        return Given(run.event_id, number, ids, stamps, edges_of or 0, linked)

    def fingerprint(self, given: Given) -> str:
        shape = f"knn-3-{NEIGHBOURS}-{NEIGHBOURS_ACROSS}-{given.model}-{given.linked}"
        return _digest(given.ids, given.stamps, shape=shape)

    def build(self, given: Given, report: Report) -> Made:
        kept = self._kept.load(given.event_id, given.model)
        found = self._grown(given, kept) if kept is not None else None
        if found is None:
            with session_scope(self._engine) as session:
                ids, vectors = event_vectors(session, given.event_id, given.model)
            report(0.2)
            grown = Grown(nearest_neighbours(vectors), None)
            found = ids, _stamps_of(ids, given), vectors, grown
        ids, stamps, vectors, grown = found
        report(0.7)
        with session_scope(self._engine) as session:
            across = neighbours_across(session, vectors, list(given.linked), given.model)
        return Made(ids, stamps, vectors, grown.neighbours, grown.changed, across)

    def _grown(self, given: Given, kept: Kept) -> _Found | None:
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
        return given.ids, given.stamps, merged, grown

    def store(self, session: Session, run: Run, given: Given, made: Made) -> dict[str, Any]:
        # A photo may have been deleted since its vector was read: its edges would dangle.
        alive = alive_photos(session, run.event_id, *given.linked)
        targets, across = made.across
        links = Edges(EdgeKind.ACROSS, given.model, made.ids, targets, across)
        replace_edges(session, run.event_id, links, alive=alive)
        for other in given.linked:  # whose photos may have other neighbours here now
            start_stage(session, other, RunKind.GRAPH)
        own = Edges(EdgeKind.KNN, given.model, made.ids, made.ids, made.neighbours)
        stored = replace_edges(session, run.event_id, own, alive=alive, changed=made.changed)
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
            "across": int((across.rows >= 0).sum()),
            "rows_written": stored,
            "recall": made.neighbours.recall,
        }

    def stored(self) -> None:
        if self._keep is not None:
            self._kept.save(*self._keep)


def _digest(*arrays: NDArray[np.int64], shape: str = "") -> str:
    digest = hashlib.sha256(shape.encode())
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


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
