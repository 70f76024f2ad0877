"""Vectors in PostgreSQL: models as partitions, binary COPY in, numpy out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from sqlalchemy import text
from sqlmodel import Session, select

from app.core.vectors import ModelInfo, VectorKind, Vectors
from app.storage.copying import copy_rows, read_columns
from app.storage.tables import Model

_PARENT = {VectorKind.IMAGE: "photo_vector", VectorKind.FACE: "face_vector"}


def model_number(session: Session, info: ModelInfo) -> int:
    """The partition number of a model; registers it, with its partition, on first use."""
    found = session.exec(select(Model).where(Model.name == info.id)).first()
    if found is not None:
        return found.number
    # Two workers may meet a new model at once: the lock lets one of them make the partition.
    session.connection().execute(text("SELECT pg_advisory_xact_lock(hashtext('model'))"))
    found = session.exec(select(Model).where(Model.name == info.id)).first()
    if found is None:
        found = Model(name=info.id, kind=info.kind, dim=info.dim)
        session.add(found)
        session.flush()
        parent = _PARENT[info.kind]
        session.connection().execute(
            text(
                f"CREATE TABLE {parent}_{found.number} PARTITION OF {parent}"
                f" FOR VALUES IN ({found.number})"
            )
        )
    return found.number


def known_model_number(session: Session, info: ModelInfo) -> int | None:
    """The partition number of a model, None while nothing was indexed with it."""
    found = session.exec(select(Model).where(Model.name == info.id)).first()
    return found.number if found else None


def store_photo_vectors(
    session: Session, model: int, rows: Iterable[tuple[int, int, NDArray[np.float32]]]
) -> None:
    """Write (photo id, event id, vector) rows; a photo's older vector of this model is replaced."""
    rows = list(rows)
    if not rows:
        return
    session.connection().execute(
        text("DELETE FROM photo_vector WHERE model = :model AND photo_id = ANY(:ids)"),
        {"model": model, "ids": [row[0] for row in rows]},
    )
    copy_rows(
        session,
        "photo_vector",
        ("model", "photo_id", "event_id", "vector"),
        ("int2", "int8", "int8", "halfvec"),
        ((model, photo, event, HalfVector(vector)) for photo, event, vector in rows),
    )


def store_face_vectors(
    session: Session, model: int, rows: Iterable[tuple[int, int, NDArray[np.float32]]]
) -> None:
    """Write (face id, event id, vector) rows of newly made faces."""
    copy_rows(
        session,
        "face_vector",
        ("model", "face_id", "event_id", "vector"),
        ("int2", "int8", "int8", "halfvec"),
        ((model, face, event, HalfVector(vector)) for face, event, vector in rows),
    )


def event_vectors(session: Session, event_id: int, model: int) -> tuple[NDArray[np.int64], Vectors]:
    """All image vectors of an event's indexed photos: ids (n,) ascending, vectors (n, d) float32."""
    return _read_vectors(session, model, "v.event_id = %(event)s", {"event": event_id})


def photo_vectors(
    session: Session, photo_ids: NDArray[np.int64], model: int
) -> tuple[NDArray[np.int64], Vectors]:
    """Those of these photos that are indexed, in the same form; others are left out."""
    ids = {"ids": photo_ids.tolist()}
    return _read_vectors(session, model, "v.photo_id = ANY(%(ids)s)", ids)


def _read_vectors(
    session: Session, model: int, where: str, parameters: Mapping[str, Any]
) -> tuple[NDArray[np.int64], Vectors]:
    dim = session.exec(select(Model.dim).where(Model.number == model)).one()
    # A halfvec in binary: its dimensions and a spare field, 16 bits each, then IEEE halves.
    found = read_columns(
        session,
        "SELECT v.photo_id, v.vector FROM photo_vector v"  # noqa: S608 - one of two words of ours
        " JOIN photo p ON p.id = v.photo_id"
        f" WHERE {where} AND v.model = %(model)s AND p.indexed_at IS NOT NULL ORDER BY v.photo_id",
        {"id": "i8", "vector": f"V{4 + 2 * dim}"},
        {**parameters, "model": model},
    )
    halves = np.frombuffer(found["vector"].tobytes(), ">f2").reshape(-1, 2 + dim)
    return found["id"], halves[:, 2:].astype(np.float32)


def nearest_photos(
    session: Session,
    model: int,
    query: NDArray[np.float32],
    *,
    event_ids: Sequence[int],
    limit: int,
    leave_out: int | None = None,
) -> list[tuple[int, float]]:
    """The `limit` photos nearest to a unit vector, as (photo id, cosine similarity), best first.

    Exact: an event's vectors are read through their index and compared one by one, which takes
    about 5 ms for 3,000 photos.
    """
    rows = session.connection().execute(
        text(
            "SELECT v.photo_id, -(v.vector <#> CAST(:query AS halfvec)) AS score"
            " FROM photo_vector v JOIN photo p ON p.id = v.photo_id"
            " WHERE v.model = :model AND v.event_id = ANY(:events) AND p.indexed_at IS NOT NULL"
            " AND v.photo_id IS DISTINCT FROM :leave_out"
            " ORDER BY v.vector <#> CAST(:query AS halfvec), v.photo_id LIMIT :limit"
        ),
        {
            "query": HalfVector(query).to_text(),
            "model": model,
            "events": list(event_ids),
            "leave_out": leave_out,
            "limit": limit,
        },
    )
    return [(row[0], float(row[1])) for row in rows]
