"""Write finished photos: rows, thumbnails, vectors and faces, fenced by their leases."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlmodel import Session

from app.core.faces import DetectedFace
from app.ingest.decode import Decoded
from app.ingest.face_quality import face_sharpness, frontal
from app.ingest.ledger import Claim
from app.storage.copying import copy_rows
from app.storage.vectors import store_face_vectors, store_photo_vectors


@dataclass(frozen=True, slots=True)
class FinishedPhoto:
    """All that is kept of one photo. `faces` is None where they were not looked for."""

    claim: Claim
    decoded: Decoded
    size: int
    version: str | None
    vector: NDArray[np.float32]
    faces: list[DetectedFace] | None

    @property
    def thumb(self) -> str:
        """Content hash of the thumbnail: its name, and its address's version."""
        return hashlib.sha256(self.decoded.thumb).hexdigest()[:32]


_UPDATE = text("""
UPDATE photo SET state = 'indexed', lease_until = NULL, reason = NULL, message = NULL,
    indexed_at = now(), fetched_at = coalesce(fetched_at, now()), version = :version,
    changed_at = CASE WHEN sha256 <> :sha256 THEN now() ELSE changed_at END,
    gone_at = NULL, health = NULL, health_message = NULL, health_at = now(),
    size = :size, sha256 = :sha256, phash = :phash, structure = :structure, format = :format,
    width = coalesce(listed_width, :width), height = coalesce(listed_height, :height),
    taken_at = coalesce(CAST(:taken_at AS timestamp), listed_at),
    taken_offset = :taken_offset, camera = :camera, lens = :lens, exposure_time = :exposure_time,
    f_number = :f_number, iso = :iso, focal_length = :focal_length, latitude = :latitude,
    longitude = :longitude, sharpness = :sharpness, exposure = :exposure, clipped = :clipped,
    thumb = :thumb, faces_at = CASE WHEN :looked_for_faces THEN now() ELSE faces_at END
WHERE id = :id
""")
# What was found out by looking at the old picture (changed_at is this transaction's now()).
_FORGET_PAIRS = text("""
WITH changed AS (SELECT id, event_id FROM photo WHERE id = ANY(:ids) AND changed_at = now()),
    first AS (DELETE FROM photo_pair AS pair USING changed
        WHERE pair.event_id = changed.event_id AND pair.a = changed.id)
DELETE FROM photo_pair AS pair USING changed WHERE pair.b = changed.id
""")


def store_finished(
    session: Session, photos: Sequence[FinishedPhoto], *, image_model: int, face_model: int | None
) -> list[int]:
    """Write photos in one transaction and return the ids that were written.

    A photo whose lease was lost meanwhile is skipped: its new holder writes it. Faces are written
    only where the event still allows them.
    """
    held = _held(session, [photo.claim for photo in photos])
    photos = [photo for photo in photos if photo.claim.photo_id in held]
    if not photos:
        return []
    allowed = _faces_allowed(session, {photo.claim.event_id for photo in photos})
    session.connection().execute(
        _UPDATE, [_row(photo, photo.claim.event_id in allowed) for photo in photos]
    )
    session.connection().execute(_FORGET_PAIRS, {"ids": [photo.claim.photo_id for photo in photos]})
    store_photo_vectors(
        session,
        image_model,
        [(photo.claim.photo_id, photo.claim.event_id, photo.vector) for photo in photos],
    )
    with_faces = [
        photo for photo in photos if photo.faces is not None and photo.claim.event_id in allowed
    ]
    if face_model is not None and with_faces:
        _store_faces(session, with_faces, face_model)
    return [photo.claim.photo_id for photo in photos]


def _held(session: Session, claims: Sequence[Claim]) -> set[int]:
    rows = session.connection().execute(
        text(
            "SELECT photo.id FROM photo JOIN"
            " unnest(CAST(:ids AS bigint[]), CAST(:leases AS int[])) AS held(id, lease)"
            " ON photo.id = held.id AND photo.lease = held.lease"
            " WHERE state = 'working' ORDER BY photo.id FOR UPDATE OF photo"
        ),
        {
            "ids": [claim.photo_id for claim in claims],
            "leases": [claim.lease for claim in claims],
        },
    )
    return {row[0] for row in rows}


def _faces_allowed(session: Session, event_ids: set[int]) -> set[int]:
    # FOR SHARE: a withdrawal of consent waits for this transaction, then deletes what it wrote.
    rows = session.connection().execute(
        text("SELECT id FROM event WHERE id = ANY(:ids) AND faces_on ORDER BY id FOR SHARE"),
        {"ids": sorted(event_ids)},
    )
    return {row[0] for row in rows}


def _row(photo: FinishedPhoto, faces_allowed: bool) -> dict[str, object]:
    decoded, exif = photo.decoded, photo.decoded.exif
    offset = exif.taken_at.utcoffset() if exif.taken_at else None
    phash = decoded.phash - 2**64 if decoded.phash >= 2**63 else decoded.phash
    return {
        "id": photo.claim.photo_id,
        "version": photo.version,
        "size": photo.size,
        "sha256": bytes.fromhex(decoded.sha256),
        "phash": phash,
        "structure": decoded.structure,
        "format": decoded.format,
        "width": decoded.width,
        "height": decoded.height,
        "taken_at": exif.taken_at.replace(tzinfo=None) if exif.taken_at else None,
        "taken_offset": round(offset.total_seconds() / 60) if offset is not None else None,
        "camera": exif.camera,
        "lens": exif.lens,
        "exposure_time": exif.exposure_time,
        "f_number": exif.f_number,
        "iso": exif.iso,
        "focal_length": exif.focal_length,
        "latitude": exif.latitude,
        "longitude": exif.longitude,
        "sharpness": decoded.quality.sharpness,
        "exposure": decoded.quality.exposure,
        "clipped": decoded.quality.clipped,
        "thumb": photo.thumb,
        "looked_for_faces": photo.faces is not None and faces_allowed,
    }


def _store_faces(session: Session, photos: Sequence[FinishedPhoto], model: int) -> None:
    connection = session.connection()
    connection.execute(
        text("DELETE FROM face WHERE photo_id = ANY(:ids)"),
        {"ids": [photo.claim.photo_id for photo in photos]},
    )
    faces = [(photo, face) for photo in photos for face in photo.faces or ()]
    if not faces:
        return
    # COPY can't return the ids that it makes, so they are drawn first.
    ids = [
        row[0]
        for row in connection.execute(
            text(
                "SELECT nextval(pg_get_serial_sequence('face', 'id')) FROM generate_series(1, :n)"
            ),
            {"n": len(faces)},
        )
    ]
    copy_rows(
        session,
        "face",
        (
            "id",
            "photo_id",
            "event_id",
            "box_left",
            "box_top",
            "box_right",
            "box_bottom",
            "score",
            "landmarks",
            "sharpness",
            "frontal",
        ),
        (
            "int8",
            "int8",
            "int8",
            "float4",
            "float4",
            "float4",
            "float4",
            "float4",
            "float4[]",
            "float4",
            "float4",
        ),
        (
            (
                face_id,
                photo.claim.photo_id,
                photo.claim.event_id,
                *map(float, face.box),
                float(face.score),
                [float(value) for value in face.landmarks.ravel()],
                face_sharpness(photo.decoded.pixels, face),
                frontal(face.landmarks, *photo.decoded.pixels.shape[1::-1]),
            )
            for face_id, (photo, face) in zip(ids, faces, strict=True)
        ),
    )
    store_face_vectors(
        session,
        model,
        (
            (face_id, photo.claim.event_id, face.vector)
            for face_id, (photo, face) in zip(ids, faces, strict=True)
        ),
    )
