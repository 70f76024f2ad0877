"""The clusters stage: chapters and scenes of an event, matched to those before, and named."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.core.errors import ClairError
from app.core.ports import TextEncoder
from app.core.vectors import ModelInfo
from app.graph.clustering import Labels, centroids, cluster
from app.graph.edges import alive_photos
from app.graph.kept_clusters import Fresh, Placed, store_level
from app.graph.naming import Suggestion, read_vocabulary, suggestions, word_vectors
from app.graph.stage import Report, Stage
from app.graph.stored import StoredGraph, stored_graph
from app.storage.blobs import BlobStore
from app.storage.copying import read_columns
from app.storage.tables import Run, RunKind
from app.storage.tables_graph import ClusterLevel
from app.storage.vectors import model_number

log = logging.getLogger(__name__)

_VERSION = "clusters-1"


@dataclass(frozen=True)
class Given:
    """`rejected` (n,): photos that the owner doesn't want on a cover."""

    graph: StoredGraph
    rejected: NDArray[np.bool_]


@dataclass(frozen=True)
class Level:
    """`labels` (n,); `typical` (n,) float32: each photo's cosine to its cluster's centroid; `words` by
    label."""

    labels: Labels
    typical: NDArray[np.float32]
    words: list[list[Suggestion]]


@dataclass(frozen=True)
class Made:
    chapters: Level
    scenes: Level


class ClustersStage(Stage[Given, Made]):
    """`text_encoder` loads the profile's; it is called once a model and vocabulary."""

    kind: ClassVar[RunKind] = RunKind.CLUSTERS
    following: ClassVar[RunKind | None] = RunKind.LAYOUT

    def __init__(
        self,
        model: ModelInfo,
        blobs: BlobStore,
        text_encoder: Callable[[], TextEncoder],
        *,
        words: Sequence[str] | None = None,
    ) -> None:
        """`words`: the vocabulary, ours by default."""
        self._model, self._blobs, self._encoder = model, blobs, text_encoder
        self._words = read_vocabulary() if words is None else list(words)

    def read(self, session: Session, run: Run) -> Given:
        graph = stored_graph(session, run.event_id, model_number(session, self._model))
        rejected = read_columns(
            session,
            "SELECT id FROM photo WHERE event_id = %(event)s AND flag < 0 ORDER BY id",
            {"id": "i8"},
            {"event": run.event_id},
        )
        return Given(graph, np.isin(graph.ids, rejected["id"]))

    def fingerprint(self, given: Given) -> str:
        # Without what the owner rejected: a cover is not worth new clusters.
        digest = given.graph.digest(_VERSION)
        digest.update(hashlib.sha256("\n".join(self._words).encode()).digest())
        return str(digest.hexdigest())

    def build(self, given: Given, report: Report) -> Made:
        graph = given.graph
        found = cluster(graph.vectors, graph.neighbours, graph.weights, graph.taken)
        report(0.6)
        said = self._vocabulary() if len(graph.ids) else None
        levels = []
        for labels in (found.chapters, found.scenes):
            count = int(labels.max(initial=-1)) + 1
            centres = centroids(graph.vectors, labels) if count else graph.vectors
            typical = np.einsum("nd,nd->n", graph.vectors, centres[labels])
            typical[given.rejected] -= 2  # behind every photo that is not
            words: list[list[Suggestion]] = [[] for _ in range(count)]
            if said is not None:
                words = suggestions(graph.vectors, labels, self._words, said)
            levels.append(Level(labels, typical, words))
        return Made(*levels)

    def _vocabulary(self) -> NDArray[np.float32] | None:
        """None without words, or where the text encoder can't be had: time names clusters then."""
        if not self._words:
            return None
        try:
            return word_vectors(self._blobs, self._model, self._words, self._encoder)
        except ClairError as error:
            log.warning("clusters are named without words: %s", error)
            return None

    def store(self, session: Session, run: Run, given: Given, made: Made) -> dict[str, Any]:
        # Two runs of one event could end at once; the second continues what the first stored.
        session.connection().execute(
            text("SELECT id FROM event WHERE id = :event FOR NO KEY UPDATE"),
            {"event": run.event_id},
        )
        alive = np.isin(given.graph.ids, alive_photos(session, run.event_id))
        ids, taken = given.graph.ids[alive], given.graph.taken[alive]
        session.connection().execute(
            text("UPDATE cluster SET parent_id = NULL WHERE event_id = :event"),
            {"event": run.event_id},
        )
        chapters = _fresh(made.chapters, alive, ids, taken)
        placed = store_level(session, run.event_id, ClusterLevel.CHAPTER, chapters, None)
        scenes = _fresh(made.scenes, alive, ids, taken)
        _, first = np.unique(scenes.labels, return_index=True)
        parents = placed.row_ids[chapters.labels[first]]
        below = store_level(session, run.event_id, ClusterLevel.SCENE, scenes, parents)
        return {"photos": len(ids), **_figures("chapters", placed), **_figures("scenes", below)}


def _figures(name: str, placed: Placed) -> dict[str, int]:
    return {name: len(placed.row_ids), f"{name}_kept": placed.kept, f"{name}_named": placed.named}


def _fresh(
    level: Level, alive: NDArray[np.bool_], ids: NDArray[np.int64], taken: NDArray[np.float64]
) -> Fresh:
    """The level over the photos that are still there, empty clusters left out."""
    left, labels = np.unique(level.labels[alive], return_inverse=True)
    words = [level.words[int(label)] for label in left]
    return Fresh(ids, np.asarray(labels, np.int64), level.typical[alive], taken, words)
