"""The layout stage: read the stored graph, place the photos, store coordinates and point cloud."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.core.vectors import ModelInfo, Vectors
from app.graph.edges import alive_photos
from app.graph.stage import Report, Stage
from app.space.cloud import PointCloud, bounds, encode_cloud
from app.space.groups import colour_groups
from app.space.layout import lay_out
from app.space.store import LOOK
from app.storage.blobs import BlobStore, cloud_key
from app.storage.copying import copy_columns, read_columns
from app.storage.tables import Run, RunKind
from app.storage.tables_graph import EdgeKind, Layout
from app.storage.vectors import event_vectors, model_number

KEPT_LAYOUTS = 2
"""Layouts kept an event: the newest, and the one that open pages may still be loading."""


@dataclass(frozen=True)
class Given:
    """`ids` (n,) int64 ascending, `vectors` (n, d) float32 unit rows; `neighbours` (n, k) int64 and
    `weights` (n, k) float32: the stored graph over these photos. `model`: their partition."""

    model: int
    ids: NDArray[np.int64]
    vectors: Vectors
    neighbours: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Made:
    cloud: PointCloud
    version: str


class LayoutStage(Stage[Given, Made]):
    kind: ClassVar[RunKind] = RunKind.LAYOUT
    following: ClassVar[RunKind | None] = None

    def __init__(self, model: ModelInfo, blobs: BlobStore) -> None:
        self._model, self._blobs = model, blobs
        self._replaced: list[str] = []

    def read(self, session: Session, run: Run) -> Given:
        number = model_number(session, self._model)
        ids, vectors = event_vectors(session, run.event_id, number)
        edges = read_columns(
            session,
            "SELECT src, dst, weight FROM edge WHERE event_id = %(event)s AND kind = %(kind)s"
            " AND model = %(model)s ORDER BY src, weight DESC, dst",
            {"src": "i8", "dst": "i8", "weight": "f4"},
            {"event": run.event_id, "kind": EdgeKind.KNN.value, "model": number},
        )
        neighbours, weights, kept = _matrix(ids, edges)
        return Given(number, ids[kept], vectors[kept], neighbours, weights)

    def fingerprint(self, given: Given) -> str:
        digest = hashlib.sha256(f"{LOOK}-1-{given.model}".encode())
        for part in (given.ids, given.vectors, given.neighbours, given.weights):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def build(self, given: Given, report: Report) -> Made:
        positions = lay_out(given.vectors, given.neighbours, given.weights)
        cloud = PointCloud(given.ids.astype(np.uint32), positions, colour_groups(given.vectors))
        data = encode_cloud(cloud)
        version = hashlib.sha256(data).hexdigest()[:32]
        self._blobs.put(cloud_key(version), data)
        return Made(cloud, version)

    def store(self, session: Session, run: Run, given: Given, made: Made) -> dict[str, Any]:
        _store(session, run, given.model, made.cloud, made.version)
        self._replaced = _drop_old(session, run.event_id, made.version)
        return {"photos": len(given.ids)}

    def stored(self) -> None:
        for version in self._replaced:
            self._blobs.delete(cloud_key(version))


def _matrix(
    ids: NDArray[np.int64], edges: dict[str, NDArray[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """The stored edges as (n, k) indices and weights over those photos that have all k of theirs.

    A photo indexed after the graph was built has no edges yet: it comes with the next layout.
    """
    edges = _chosen(edges, np.isin(edges["src"], ids) & np.isin(edges["dst"], ids))
    if len(edges["src"]) == 0:
        n = len(ids)
        alone = np.ones(n, np.bool_) if n == 1 else np.zeros(n, np.bool_)
        return (
            np.empty((int(alone.sum()), 0), np.int64),
            np.empty((int(alone.sum()), 0), np.float32),
            alone,
        )
    degree = np.bincount(np.searchsorted(ids, edges["src"]), minlength=len(ids))
    k = int(np.max(degree))
    kept = degree == k
    chosen = ids[kept]
    edges = _chosen(edges, np.isin(edges["src"], chosen))
    inside = np.isin(edges["dst"], chosen)
    target = np.searchsorted(chosen, edges["dst"])
    # A neighbour that is not kept itself is replaced by the photo itself, at no similarity lost.
    own = np.searchsorted(chosen, edges["src"])
    target = np.where(inside, np.minimum(target, len(chosen) - 1), own)
    weights = np.where(inside, edges["weight"], 1.0).astype(np.float32)
    return target.reshape(-1, k).astype(np.int64), weights.reshape(-1, k), kept


def _chosen(edges: dict[str, NDArray[Any]], rows: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    return {name: column[rows] for name, column in edges.items()}


def _store(session: Session, run: Run, model: int, cloud: PointCloud, version: str) -> None:
    low, high = bounds(cloud.positions)
    layout = Layout(
        event_id=run.event_id,
        name=LOOK,
        version=version,
        model=model,
        count=len(cloud.ids),
        bounds=[float(value) for value in (*low, *high)],
    )
    session.add(layout)
    session.flush()
    kept = np.isin(cloud.ids, alive_photos(session, run.event_id))
    placed = np.asarray(cloud.positions[kept], np.float32)
    copy_columns(
        session,
        "layout_point",
        {
            "layout_id": layout.id,
            "photo_id": cloud.ids[kept].astype(np.int64),
            "x": placed[:, 0],
            "y": placed[:, 1],
            "z": placed[:, 2],
        },
    )


def _drop_old(session: Session, event_id: int, version: str) -> list[str]:
    """Delete all but the newest layouts; returns versions whose blob nothing names any more."""
    rows = session.connection().execute(
        text(
            "DELETE FROM layout WHERE event_id = :event AND name = :name AND id NOT IN ("
            " SELECT id FROM layout WHERE event_id = :event AND name = :name"
            " ORDER BY id DESC LIMIT :kept) RETURNING version"
        ),
        {"event": event_id, "name": LOOK, "kept": KEPT_LAYOUTS},
    )
    dropped = {row[0] for row in rows} - {version}
    named = session.connection().execute(
        text("SELECT DISTINCT version FROM layout WHERE version = ANY(:versions)"),
        {"versions": list(dropped)},
    )
    return sorted(dropped - {row[0] for row in named})
