"""The layout stage: each named space of an event grows, or is fitted anew, and becomes a cloud."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.core.vectors import ModelInfo
from app.graph.edges import alive_photos
from app.graph.stage import Report, Stage
from app.graph.stored import StoredGraph, stored_graph
from app.space import spaces
from app.space.before import Before, layout_before
from app.space.cloud import NO_GROUP, PointCloud, encode_cloud
from app.space.growing import Grown, grow
from app.space.people import Faces, read_faces
from app.space.store import SPACES
from app.storage.blobs import BlobStore, cloud_key
from app.storage.copying import copy_columns, read_columns
from app.storage.tables import Run, RunKind
from app.storage.tables_graph import ClusterLevel, Layout
from app.storage.vectors import model_number

KEPT_LAYOUTS = 2
"""Layouts kept of a space: the newest, and the one that open pages may still be loading."""
_VERSION = "spaces-1"


@dataclass(frozen=True)
class Given:
    """`stamps` (n,) int64 µs: since when each photo of the graph looks as it does; `groups` (n,)
    uint16: its chapter's number. `before` by space: its last layout. `read_at`: the database's clock.
    """

    graph: StoredGraph
    stamps: NDArray[np.int64]
    groups: NDArray[np.uint16]
    faces: Faces
    before: dict[str, Before]
    read_at: datetime


@dataclass(frozen=True)
class Made:
    """A space's cloud and how it came to be."""

    name: str
    cloud: PointCloud
    grown: Grown
    version: str


class LayoutStage(Stage[Given, list[Made]]):
    """`face_model`: whose faces make the space of people. `refit`: fit all spaces anew."""

    kind: ClassVar[RunKind] = RunKind.LAYOUT
    following: ClassVar[RunKind | None] = None

    def __init__(
        self,
        model: ModelInfo,
        blobs: BlobStore,
        face_model: ModelInfo | None = None,
        *,
        refit: bool = False,
    ) -> None:
        self._model, self._face_model, self._blobs = model, face_model, blobs
        self._refit = refit
        self._replaced: list[str] = []

    def read(self, session: Session, run: Run) -> Given:
        event = run.event_id
        graph = stored_graph(session, event, model_number(session, self._model))
        faces = Faces(np.empty(0, np.int64), np.empty((0, 1), np.float32))
        if self._face_model is not None:
            faces = read_faces(session, event, self._face_model).of(graph.ids)
        now = session.connection().execute(text("SELECT now()")).scalar_one()
        before = {name: layout_before(session, event, name) for name in SPACES}
        return Given(
            graph,
            _stamps(session, event, graph.ids),
            _groups(session, event, graph.ids),
            faces,
            {name: layout for name, layout in before.items() if layout is not None},
            now,
        )

    def fingerprint(self, given: Given) -> str:
        digest = given.graph.digest(_VERSION)
        for part in (given.stamps, given.groups, given.faces.photos, given.faces.vectors):
            digest.update(np.ascontiguousarray(part).tobytes())
        if self._refit:
            digest.update(b"refit")
        return str(digest.hexdigest())

    def build(self, given: Given, report: Report) -> list[Made]:
        graph = given.graph
        wanted = [spaces.look(graph), spaces.look_time(graph), spaces.people(given.faces)]
        built = []
        for number, space in enumerate(wanted):
            if space is not None:
                place = np.searchsorted(graph.ids, space.ids)
                before = given.before.get(space.name)
                grown = grow(space, given.stamps[place], graph.model, before, refit=self._refit)
                built.append(self._cloud(space, given.groups[place], grown))
            report((number + 1) / len(wanted))
        return built

    def _cloud(self, space: spaces.Space, groups: NDArray[np.uint16], grown: Grown) -> Made:
        cloud = PointCloud(space.ids.astype(np.uint32), grown.places, groups)
        data = encode_cloud(cloud, grown.box)
        version = hashlib.sha256(data).hexdigest()[:32]
        self._blobs.put(cloud_key(version), data)
        return Made(space.name, cloud, grown, version)

    def store(self, session: Session, run: Run, given: Given, made: list[Made]) -> dict[str, Any]:
        alive = alive_photos(session, run.event_id)
        for one in made:
            before = given.before.get(one.name)
            if before is None or before.version != one.version:
                _store(session, run.event_id, given, one, alive)
        kept = [one.name for one in made]
        self._replaced = _drop_old(session, run.event_id, kept, {one.version for one in made})
        return {
            "photos": len(given.graph.ids),
            "spaces": {one.name: one.grown.figures() for one in made},
        }

    def stored(self) -> None:
        for version in self._replaced:
            self._blobs.delete(cloud_key(version))


def _stamps(session: Session, event_id: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    found = read_columns(
        session,
        "SELECT id, (extract(epoch FROM greatest(indexed_at, changed_at)) * 1e6)::int8 FROM photo"
        " WHERE event_id = %(event)s AND indexed_at IS NOT NULL ORDER BY id",
        {"id": "i8", "stamp": "i8"},
        {"event": event_id},
    )
    return found["stamp"][np.searchsorted(found["id"], ids)]


def _groups(session: Session, event_id: int, ids: NDArray[np.int64]) -> NDArray[np.uint16]:
    """The number of each photo's chapter, NO_GROUP where it is in none."""
    found = read_columns(
        session,
        "SELECT m.photo_id, c.number FROM cluster_member m JOIN cluster c ON c.id = m.cluster_id"
        " WHERE c.event_id = %(event)s AND c.level = %(level)s ORDER BY m.photo_id",
        {"id": "i8", "number": "i4"},
        {"event": event_id, "level": ClusterLevel.CHAPTER.value},
    )
    groups = np.full(len(ids), NO_GROUP, np.uint16)
    _, here, there = np.intersect1d(ids, found["id"], assume_unique=True, return_indices=True)
    groups[here] = np.minimum(found["number"][there], NO_GROUP - 1)
    return groups


def _store(
    session: Session, event_id: int, given: Given, made: Made, alive: NDArray[np.int64]
) -> None:
    low, high = made.grown.box
    layout = Layout(
        event_id=event_id,
        name=made.name,
        version=made.version,
        model=given.graph.model,
        count=len(made.cloud.ids),
        bounds=[float(value) for value in (*low, *high)],
        fit=made.grown.fit,
        fitted=made.grown.fitted,
        placed=made.grown.placed,
        trustworthiness=made.grown.trustworthiness,
        # When it was read, not stored: a photo that changed meanwhile is newer than its place.
        created_at=given.read_at,
    )
    session.add(layout)
    session.flush()
    kept = np.isin(made.cloud.ids, alive)
    places = made.cloud.positions[kept]
    copy_columns(
        session,
        "layout_point",
        {
            "layout_id": layout.id,
            "photo_id": made.cloud.ids[kept].astype(np.int64),
            "x": places[:, 0],
            "y": places[:, 1],
            "z": places[:, 2],
        },
    )


def _drop_old(session: Session, event_id: int, names: list[str], versions: set[str]) -> list[str]:
    """Delete all but the newest layouts of each space, and all of spaces that are no more: without
    faces there are no people. Returns versions whose blob nothing names any more."""
    rows = session.connection().execute(
        text(
            "DELETE FROM layout WHERE event_id = :event AND (name <> ALL(:names) OR id NOT IN ("
            " SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY name ORDER BY id DESC)"
            " AS age FROM layout WHERE event_id = :event) AS l WHERE age <= :kept))"
            " RETURNING version"
        ),
        {"event": event_id, "names": names, "kept": KEPT_LAYOUTS},
    )
    dropped = {row[0] for row in rows} - versions
    named = session.connection().execute(
        text("SELECT DISTINCT version FROM layout WHERE version = ANY(:versions)"),
        {"versions": list(dropped)},
    )
    return sorted(dropped - {row[0] for row in named})
