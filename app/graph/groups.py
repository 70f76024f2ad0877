"""The groups stage: look closely at pairs that are new, group the photos, choose the best frames."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text
from sqlmodel import Session

from app.core.vectors import ModelInfo, Vectors
from app.graph.best import Measures
from app.graph.edges import alive_photos
from app.graph.frames import small_picture
from app.graph.grouping import MIDDLE, Grouper, Pairs, Photos, thresholds
from app.graph.kept_groups import Group, described, store_groups
from app.graph.pairs import Facts, Index, Look, Verified, key_of, look_closely
from app.graph.stage import Report, Stage
from app.graph.structure import BYTES, SIDE
from app.storage.blobs import BlobStore, thumb_key
from app.storage.copying import copy_columns, read_columns
from app.storage.engine import session_scope
from app.storage.tables import Run, RunKind
from app.storage.tables_graph import EdgeKind, Grouping
from app.storage.vectors import event_vectors, model_number

_VERSION = "groups-1"
_STRANGERS = 2000
_MOST_STRANGE = 0.6
"""Similarity of strangers is taken for no higher: an event may be one single scene."""

_PHOTOS = """
SELECT p.id, coalesce(p.sha256, sha256(int8send(p.id))) AS sha,
    coalesce(p.phash, 0) AS phash, coalesce(p.width, 1)::int8 AS width,
    coalesce(p.height, 1)::int8 AS height,
    CASE WHEN p.camera IS NULL AND p.taken_at::time = '00:00' THEN 'NaN'
        ELSE coalesce(extract(epoch FROM p.taken_at)::float8, 'NaN') END AS taken,
    (p.camera IS NOT NULL AND p.taken_at IS NOT NULL) AS by_camera,
    dense_rank() OVER (ORDER BY coalesce(p.camera, ''), coalesce(p.photographer, ''),
        CASE WHEN p.camera IS NULL AND p.photographer IS NULL THEN p.source_id END) AS shooter,
    coalesce(p.size, 'NaN'::float8) AS bytes, coalesce(p.sharpness, 'NaN')::float8 AS sharpness,
    coalesce(p.exposure, 'NaN')::float8 AS exposure, coalesce(p.clipped, 'NaN')::float8 AS clipped,
    coalesce(f.area, 0)::float8 AS face_area, coalesce(f.sharp, 'NaN')::float8 AS face_sharpness,
    coalesce(f.frontal, 'NaN')::float8 AS face_frontal,
    coalesce((extract(epoch FROM p.best_at) * 1e6)::int8, 0) AS chosen, p.flag < 0 AS rejected
FROM photo p LEFT JOIN (
    SELECT photo_id, sum(area) AS area, sum(area * sharpness) / nullif(sum(area), 0) AS sharp,
        sum(area * frontal) / nullif(sum(area), 0) AS frontal
    FROM (SELECT photo_id, sharpness, frontal,
        (box_right - box_left) * (box_bottom - box_top) AS area
        FROM face WHERE event_id = %(event)s) AS one GROUP BY photo_id) AS f ON f.photo_id = p.id
WHERE p.event_id = %(event)s AND p.indexed_at IS NOT NULL AND EXISTS
    (SELECT 1 FROM photo_vector v WHERE v.model = %(model)s AND v.photo_id = p.id)
ORDER BY p.id
"""
_PHOTO_TYPES = {
    "id": "i8",
    "sha": "V32",
    "phash": "i8",
    "width": "i8",
    "height": "i8",
    "taken": "f8",
    "by_camera": "?",
    "shooter": "i8",
    "bytes": "f8",
    "sharpness": "f8",
    "exposure": "f8",
    "clipped": "f8",
    "face_area": "f8",
    "face_sharpness": "f8",
    "face_frontal": "f8",
    "chosen": "i8",
    "rejected": "?",
}
_PAIR_TYPES = {
    "similarity": "f4",
    "structure": "f4",
    "mirrored": "?",
    "hash_distance": "i2",
    "same_frame": "?",
}


@dataclass(frozen=True)
class Given:
    """`photos`: the columns of _PHOTOS, each (n,). `edges`: the graph's sources, targets and weights,
    by index. `known`: pairs that were looked at before."""

    event_id: int
    model: int
    sensitivity: int
    photos: dict[str, NDArray[Any]]
    edges: tuple[Index, Index, NDArray[np.float32]]
    known: Verified


@dataclass(frozen=True)
class Made:
    """`looked`: the pairs that were looked at now. `pictures`: structure pictures that were missing,
    by index."""

    looked: Verified
    pictures: dict[int, bytes]
    groups: list[Group]
    counts: dict[str, dict[str, list[int]]]


class GroupsStage(Stage[Given, Made]):
    """`blobs` holds the thumbnails."""

    kind: ClassVar[RunKind] = RunKind.GROUPS
    following: ClassVar[RunKind | None] = RunKind.CLUSTERS

    def __init__(self, engine: Engine, model: ModelInfo, blobs: BlobStore) -> None:
        self._engine, self._model, self._blobs = engine, model, blobs

    def read(self, session: Session, run: Run) -> Given:
        number = model_number(session, self._model)
        names = {"event": run.event_id, "model": number, "kind": EdgeKind.KNN.value}
        photos = read_columns(session, _PHOTOS, _PHOTO_TYPES, names)
        ids = photos["id"]
        edges = read_columns(
            session,
            "SELECT src, dst, weight FROM edge WHERE event_id = %(event)s AND kind = %(kind)s"
            " AND model = %(model)s ORDER BY src, dst",
            {"src": "i8", "dst": "i8", "weight": "f4"},
            names,
        )
        pairs = read_columns(
            session,
            f"SELECT a, b, {', '.join(_PAIR_TYPES)} FROM photo_pair"  # noqa: S608 - our own names
            " WHERE event_id = %(event)s ORDER BY a, b",
            {"a": "i8", "b": "i8", **_PAIR_TYPES},
            names,
        )
        grouping = session.get(Grouping, run.event_id)
        edges = _indexed(edges, "src", "dst", ids)
        return Given(
            run.event_id,
            number,
            grouping.sensitivity if grouping else MIDDLE,
            photos,
            (edges["src"], edges["dst"], edges["weight"]),
            Verified(**_indexed(pairs, "a", "b", ids)),
        )

    def fingerprint(self, given: Given) -> str:
        # Pairs are left out: they say what the pictures say, whenever they were looked at.
        digest = hashlib.sha256(f"{_VERSION}-{given.model}-{given.sensitivity}".encode())
        for column in (*given.photos.values(), *given.edges):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def build(self, given: Given, report: Report) -> Made:
        eyes = _Eyes(self._engine, self._blobs, given)
        facts = facts_of(given.photos)
        widest = thresholds(100).gap
        look = Look(eyes.pictures, eyes.thumb, eyes.similarity)
        looked = look_closely(
            facts, given.edges, given.known, look, widest, lambda share: report(0.9 * share)
        )
        pairs = given.known.and_those(looked)
        grouper = Grouper(
            Photos(facts.content, facts.taken, facts.shooter), grouping_pairs(pairs, eyes.vectors)
        )
        turned = set(key_of(pairs.a[pairs.mirrored], pairs.b[pairs.mirrored]).tolist())
        groups = described(
            grouper.groups(given.sensitivity),
            measures_of(given.photos),
            facts.content,
            lambda one, other: min(one, other) << 32 | max(one, other) in turned,
            eyes.similarity,
        )
        return Made(looked, eyes.made, groups, grouper.counts())

    def store(self, session: Session, run: Run, given: Given, made: Made) -> dict[str, Any]:
        connection = session.connection()
        # The row's lock lets one run at a time store an event's groups.
        connection.execute(
            text(
                "INSERT INTO grouping (event_id, counts, built_at)"
                " VALUES (:event, CAST(:counts AS jsonb), now()) ON CONFLICT (event_id)"
                " DO UPDATE SET counts = excluded.counts, built_at = excluded.built_at"
            ),
            {"event": run.event_id, "counts": json.dumps(made.counts)},
        )
        alive = alive_photos(session, run.event_id)
        looked = _store_pairs(session, given, made)
        _store_pictures(session, given, made.pictures)
        store_groups(session, run.event_id, given.photos["id"], made.groups, alive)
        found = {
            kind: sum(1 for group in made.groups if group.kind == kind)
            for kind in ("exact", "burst", "lookalike")
        }
        return {"photos": len(given.photos["id"]), "pairs_looked_at": looked, **found}


def facts_of(photos: dict[str, NDArray[Any]]) -> Facts:
    """What pairs are judged by, from the columns of _PHOTOS."""
    _, content = np.unique(photos["sha"], return_inverse=True)
    return Facts(
        content.astype(np.int64),
        photos["phash"].astype(np.int64).view(np.uint64),
        photos["width"],
        photos["height"],
        photos["taken"],
        photos["by_camera"].astype(np.bool_),
        photos["shooter"],
    )


def measures_of(photos: dict[str, NDArray[Any]]) -> Measures:
    """What frames are ranked by, from the columns of _PHOTOS."""
    named = {each.name for each in fields(Measures)} - {"pixels"}
    pixels = photos["width"].astype(np.float64) * photos["height"]
    return Measures(pixels=pixels, **{name: photos[name] for name in named})


def grouping_pairs(pairs: Verified, vectors: Vectors) -> Pairs:
    """Pairs as the grouping wants them: cosine similarities as 0 for strangers of this event, which
    differ from model to model, to 1 for copies."""
    strange = min(_strangers(vectors), _MOST_STRANGE)
    closeness = np.clip((pairs.similarity - strange) / (1 - strange), 0, 1).astype(np.float32)
    return Pairs(pairs.a, pairs.b, pairs.structure, closeness, pairs.same_frame)


def _strangers(vectors: Vectors) -> float:
    """The median similarity of photos drawn at random."""
    if len(vectors) < 2:
        return 0.0
    drawn = np.random.default_rng(0).integers(0, len(vectors), (2, _STRANGERS))
    one, other = drawn[:, drawn[0] != drawn[1]]
    return float(np.median((vectors[one] * vectors[other]).sum(axis=1)))


def _indexed(
    columns: dict[str, NDArray[Any]], one: str, other: str, ids: Index
) -> dict[str, NDArray[Any]]:
    """Rows whose two photos are both among `ids`, by their indices."""
    inside = np.isin(columns[one], ids) & np.isin(columns[other], ids)
    found = {name: column[inside] for name, column in columns.items()}
    return found | {name: np.searchsorted(ids, found[name]) for name in (one, other)}


class _Eyes:
    """What is looked at, read when it is needed. `made`: structure pictures that were missing."""

    def __init__(self, engine: Engine, blobs: BlobStore, given: Given) -> None:
        self._engine, self._blobs = engine, blobs
        self._ids = given.photos["id"]
        self._names: dict[int, str] | None = None
        self.made: dict[int, bytes] = {}
        with session_scope(engine) as session:
            ids, vectors = event_vectors(session, given.event_id, given.model)
        place = np.minimum(np.searchsorted(ids, self._ids), max(0, len(ids) - 1))
        # A photo that was deleted meanwhile is like nothing; its groups are stored without it.
        there = (ids[place] == self._ids)[:, None] if len(ids) else np.zeros((len(place), 1))
        self.vectors: Vectors = np.where(there, vectors[place] if len(ids) else 0, 0)

    def similarity(self, one: Index, other: Index) -> NDArray[np.float32]:
        parts = [
            (
                self.vectors[one[start : start + 4096]] * self.vectors[other[start : start + 4096]]
            ).sum(axis=1)
            for start in range(0, len(one), 4096)
        ]
        return np.concatenate([np.empty(0, np.float32), *parts]).astype(np.float32)

    def pictures(self, rows: Index) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        with session_scope(self._engine) as session:
            found = read_columns(
                session,
                "SELECT id, structure FROM photo WHERE id = ANY(%(ids)s)"
                " AND octet_length(structure) = %(bytes)s ORDER BY id",
                {"id": "i8", "structure": f"V{BYTES}"},
                {"ids": self._ids[rows].tolist(), "bytes": BYTES},
            )
        pictures = np.zeros((len(rows), SIDE, SIDE), np.uint8)
        there = np.isin(self._ids[rows], found["id"])
        stored = np.frombuffer(found["structure"].tobytes(), np.uint8)
        pictures[there] = stored.reshape(-1, SIDE, SIDE)
        for place in np.flatnonzero(~there).tolist():
            row = int(rows[place])
            picture = self.made.get(row) or self._from_thumb(row)
            if picture is not None:
                self.made[row], there[place] = picture, True
                pictures[place] = np.frombuffer(picture, np.uint8).reshape(SIDE, SIDE)
        return pictures, there

    def _from_thumb(self, row: int) -> bytes | None:
        data = self.thumb(row)
        return small_picture(data, SIDE) if data is not None else None

    def thumb(self, row: int) -> bytes | None:
        if self._names is None:
            with session_scope(self._engine) as session:
                found = session.connection().execute(
                    text("SELECT id, thumb FROM photo WHERE id = ANY(:ids) AND thumb IS NOT NULL"),
                    {"ids": self._ids.tolist()},
                )
                self._names = {each[0]: each[1] for each in found}
        name = self._names.get(int(self._ids[row]))
        try:
            return self._blobs.get(thumb_key(name)) if name is not None else None
        except KeyError:
            return None


def _store_pairs(session: Session, given: Given, made: Made) -> int:
    """Add the pairs whose photos are still the pictures that were looked at. Returns how many."""
    ids, looked = given.photos["id"], made.looked
    pictured = np.fromiter(made.pictures, np.int64, len(made.pictures))
    used = np.unique(np.concatenate([looked.a, looked.b, pictured]))
    # FOR SHARE: a photo that changes from now on forgets these pairs too.
    now = session.connection().execute(
        text(
            "SELECT id, coalesce(sha256, sha256(int8send(id))) FROM photo WHERE id = ANY(:ids)"
            " ORDER BY id FOR SHARE"
        ),
        {"ids": ids[used].tolist()},
    )
    current = {row[0]: bytes(row[1]) for row in now}
    same = np.zeros(len(ids), np.bool_)
    for row in used.tolist():
        same[row] = current.get(int(ids[row])) == given.photos["sha"][row].tobytes()
    stored = read_columns(
        session,
        "SELECT a, b FROM photo_pair WHERE event_id = %(event)s",
        {"a": "i8", "b": "i8"},
        {"event": given.event_id},
    )
    stored = _indexed(stored, "a", "b", ids)
    new = ~np.isin(key_of(looked.a, looked.b), key_of(stored["a"], stored["b"]))
    kept = new & same[looked.a] & same[looked.b]
    columns = {each.name: getattr(looked, each.name)[kept] for each in fields(looked)}
    columns |= {"a": ids[columns["a"]], "b": ids[columns["b"]]}
    copy_columns(session, "photo_pair", {"event_id": given.event_id, **columns})
    return int(kept.sum())


def _store_pictures(session: Session, given: Given, pictures: dict[int, bytes]) -> None:
    rows = [
        {
            "id": int(given.photos["id"][row]),
            "sha": given.photos["sha"][row].tobytes(),
            "picture": picture,
        }
        for row, picture in sorted(pictures.items())
    ]
    if rows:
        session.connection().execute(
            text(
                "UPDATE photo SET structure = :picture WHERE id = :id AND structure IS NULL"
                " AND coalesce(sha256, sha256(int8send(id))) = :sha"
            ),
            rows,
        )
