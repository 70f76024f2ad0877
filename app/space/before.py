"""The last layout of a space, as the next one starts from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from app.space.forces import Places
from app.space.placing import Box
from app.space.store import latest_layout
from app.storage.copying import read_columns


@dataclass(frozen=True)
class Before:
    """`ids` (n,) int64 ascending and their `places` (n, 3) float32. `stamp`: µs, when it was read;
    the others as in tables_graph.Layout."""

    ids: NDArray[np.int64]
    places: Places
    box: Box
    model: int
    stamp: int
    version: str
    fit: int
    fitted: int
    placed: int
    trustworthiness: float | None


def layout_before(session: Session, event_id: int, name: str) -> Before | None:
    """None while none is built."""
    layout = latest_layout(session, event_id, name)
    if layout is None:
        return None
    points = read_columns(
        session,
        "SELECT photo_id, x, y, z FROM layout_point WHERE layout_id = %(layout)s ORDER BY photo_id",
        {"id": "i8", "x": "f4", "y": "f4", "z": "f4"},
        {"layout": layout.id},
    )
    corners = np.array(layout.bounds, np.float32)
    return Before(
        ids=points["id"],
        places=np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float32),
        box=(corners[:3], corners[3:]),
        model=layout.model,
        stamp=round(layout.created_at.timestamp() * 1e6),
        version=layout.version,
        fit=layout.fit,
        fitted=layout.fitted,
        placed=layout.placed,
        trustworthiness=layout.trustworthiness,
    )
