"""The layout stage: read the stored graph, place the photos, store coordinates and point cloud."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text
from sqlmodel import Session

from app.core.vectors import ModelInfo
from app.graph.build import KNN
from app.ingest.leases import lease_kept
from app.ingest.runs import claim_run, end_run
from app.space.cloud import PointCloud, bounds, encode_cloud
from app.space.groups import colour_groups
from app.space.layout import lay_out
from app.space.store import LOOK
from app.storage.blobs import BlobStore, cloud_key
from app.storage.copying import copy_rows
from app.storage.engine import session_scope
from app.storage.tables import Layout, Run, RunState
from app.storage.vectors import event_vectors, model_number

log = logging.getLogger(__name__)

KEPT_LAYOUTS = 2
"""Layouts kept an event: the newest, and the one that open pages may still be loading."""


def build_layout(engine: Engine, blobs: BlobStore, run_id: int, model: ModelInfo) -> int | None:
    """Carry out a layout run; returns the event's id, None where there was nothing to do."""
    with session_scope(engine) as session:
        run = claim_run(session, run_id)
        if run is None:
            return None
        number = model_number(session, model)
        ids, vectors = event_vectors(session, run.event_id, number)
        edges = _edges(session, run.event_id, number)
    neighbours, weights, kept = _matrix(ids, edges)
    ids, vectors = ids[kept], vectors[kept]
    with lease_kept(engine, run):
        positions = lay_out(vectors, neighbours, weights)
        cloud = PointCloud(ids.astype(np.uint32), positions, colour_groups(vectors))
    data = encode_cloud(cloud)
    version = hashlib.sha256(data).hexdigest()[:32]
    blobs.put(cloud_key(version), data)
    with session_scope(engine) as session:
        if not end_run(session, run, RunState.DONE, summary={"photos": len(ids)}):
            session.rollback()
            log.warning("layout run %s: lease lost, result dropped", run_id)
            return None
        _store(session, run, number, cloud, version)
        stale = _drop_old(session, run.event_id, version)
    for old in stale:
        blobs.delete(cloud_key(old))
    return run.event_id


def _edges(session: Session, event_id: int, model: int) -> NDArray[np.void]:
    rows = session.connection().execute(
        text(
            "SELECT src, dst, weight FROM edge WHERE event_id = :event AND kind = :kind"
            " AND model = :model ORDER BY src, weight DESC, dst"
        ),
        {"event": event_id, "kind": KNN, "model": model},
    )
    kind = np.dtype([("src", np.int64), ("dst", np.int64), ("weight", np.float32)])
    return np.array([tuple(row) for row in rows], dtype=kind)


def _matrix(
    ids: NDArray[np.int64], edges: NDArray[np.void]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """The stored edges as (n, k) indices and weights over those photos that have all k of theirs.

    A photo indexed after the graph was built has no edges yet: it comes with the next layout.
    """
    edges = edges[np.isin(edges["src"], ids) & np.isin(edges["dst"], ids)]
    if len(edges) == 0:
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
    edges = edges[np.isin(edges["src"], chosen)]
    inside = np.isin(edges["dst"], chosen)
    target = np.searchsorted(chosen, edges["dst"])
    # A neighbour that is not kept itself is replaced by the photo itself, at no similarity lost.
    own = np.searchsorted(chosen, edges["src"])
    target = np.where(inside, np.minimum(target, len(chosen) - 1), own)
    weights = np.where(inside, edges["weight"], 1.0).astype(np.float32)
    return target.reshape(-1, k).astype(np.int64), weights.reshape(-1, k), kept


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
    alive = {
        row[0]
        for row in session.connection().execute(
            text("SELECT id FROM photo WHERE event_id = :event FOR KEY SHARE"),
            {"event": run.event_id},
        )
    }
    copy_rows(
        session,
        "layout_point",
        ("layout_id", "photo_id", "x", "y", "z"),
        ("int8", "int8", "float4", "float4", "float4"),
        (
            (layout.id, int(photo_id), *map(float, position))
            for photo_id, position in zip(cloud.ids, cloud.positions, strict=True)
            if int(photo_id) in alive
        ),
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
