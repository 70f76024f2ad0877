"""The graph stage: read an event's vectors, find neighbours, store the edges."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text
from sqlmodel import Session, select

from app.core.vectors import ModelInfo, Vectors
from app.graph.knn import NEIGHBOURS, nearest_neighbours
from app.ingest.leases import lease_kept
from app.ingest.runs import claim_run, end_run, follow_up
from app.storage.copying import copy_rows
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind, RunState
from app.storage.vectors import event_vectors, model_number

log = logging.getLogger(__name__)

KNN = "knn"


def build_graph(engine: Engine, run_id: int, model: ModelInfo) -> int | None:
    """Carry out a graph run; returns the id of the layout run to send, None where there is none.

    Does nothing where the run is done or held elsewhere. Skips the work, but not the layout, where
    an earlier graph was built from exactly the same vectors.
    """
    with session_scope(engine) as session:
        run = claim_run(session, run_id)
        if run is None:
            return None
        number = model_number(session, model)
        ids, vectors = event_vectors(session, run.event_id, number)
        fingerprint = _fingerprint(number, ids, vectors)
        known = _already_built(session, run, fingerprint)
    if not known:
        with lease_kept(engine, run):
            neighbours, weights = nearest_neighbours(vectors, NEIGHBOURS)
    with session_scope(engine) as session:
        if not known:
            _replace_edges(session, run.event_id, number, ids, neighbours, weights)
        edges = len(ids) * max(0, min(NEIGHBOURS, len(ids) - 1))
        summary = {"input": fingerprint, "photos": len(ids), "edges": edges, "skipped": known}
        if not end_run(session, run, RunState.DONE, summary=summary):
            session.rollback()
            log.warning("graph run %s: lease lost, result dropped", run_id)
            return None
        return follow_up(session, run, RunKind.LAYOUT).id


def _fingerprint(model: int, ids: NDArray[np.int64], vectors: Vectors) -> str:
    digest = hashlib.sha256(f"{KNN}-{NEIGHBOURS}-{model}".encode())
    digest.update(ids.tobytes())
    digest.update(np.ascontiguousarray(vectors).tobytes())
    return digest.hexdigest()


def _already_built(session: Session, run: Run, fingerprint: str) -> bool:
    last = session.exec(
        select(Run)
        .where(Run.event_id == run.event_id, Run.kind == RunKind.GRAPH, Run.state == RunState.DONE)
        .order_by(Run.id.desc())  # type: ignore[attr-defined]
        .limit(1)
    ).first()
    return last is not None and (last.summary or {}).get("input") == fingerprint


def _replace_edges(
    session: Session,
    event_id: int,
    model: int,
    ids: NDArray[np.int64],
    neighbours: NDArray[np.int64],
    weights: NDArray[np.float32],
) -> None:
    connection = session.connection()
    connection.execute(
        text("DELETE FROM edge WHERE event_id = :event AND kind = :kind"),
        {"event": event_id, "kind": KNN},
    )
    # A photo may have been deleted since its vector was read: its edges would dangle.
    alive = {
        row[0]
        for row in connection.execute(
            text("SELECT id FROM photo WHERE event_id = :event FOR KEY SHARE"), {"event": event_id}
        )
    }
    copy_rows(
        session,
        "edge",
        ("event_id", "kind", "src", "dst", "model", "weight"),
        ("int8", "text", "int8", "int8", "int2", "float4"),
        (
            (event_id, KNN, int(src), int(ids[dst]), model, float(weight))
            for src, row, row_weights in zip(ids, neighbours, weights, strict=True)
            for dst, weight in zip(row, row_weights, strict=True)
            if int(src) in alive and int(ids[dst]) in alive
        ),
    )
