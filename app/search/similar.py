"""Search by a photo: its nearest neighbours within its event."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from app.core.vectors import ModelInfo
from app.search.hits import SearchHit, load_hits
from app.storage.tables import Photo
from app.storage.vectors import known_model_number, nearest_photos


def similar_photos(
    session: Session, image_model: ModelInfo, photo: Photo, limit: int
) -> list[SearchHit]:
    """The photos of the same event that look most like this one, best first, without itself.

    Empty while the photo has no vector of this model.
    """
    number = known_model_number(session, image_model)
    row = (
        session.connection()
        .execute(
            text("SELECT vector FROM photo_vector WHERE model = :model AND photo_id = :id"),
            {"model": number, "id": photo.id},
        )
        .first()
    )
    if number is None or row is None:
        return []
    ranked = nearest_photos(
        session,
        number,
        row[0].to_numpy(),
        event_ids=[photo.event_id],
        limit=limit,
        leave_out=photo.id,
    )
    return load_hits(session, ranked)
