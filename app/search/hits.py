"""What a search gives."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, select

from app.storage.tables import Photo


@dataclass(frozen=True, slots=True)
class SearchHit:
    """`score` is the cosine similarity; `rank` starts at 1."""

    rank: int
    score: float
    photo: Photo


def load_hits(session: Session, ranked: list[tuple[int, float]]) -> list[SearchHit]:
    """Join (photo id, score) pairs, best first, with their rows."""
    ids = [photo_id for photo_id, _ in ranked]
    rows = session.exec(select(Photo).where(Photo.id.in_(ids)))  # type: ignore[attr-defined]
    photos = {photo.id: photo for photo in rows}
    present = [(photos[photo_id], score) for photo_id, score in ranked if photo_id in photos]
    return [SearchHit(rank, score, photo) for rank, (photo, score) in enumerate(present, 1)]
