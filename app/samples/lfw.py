"""Labeled Faces in the Wild through scikit-learn: 13,233 real photos, where there is internet."""

from __future__ import annotations

import hashlib
from pathlib import Path

from app.core.errors import SourceUnavailable

EVENTS = 4


def fetch_lfw(cache: Path) -> Path:
    """The folder of the photos, one folder a person; downloads about 200 MB the first time.

    Raises SourceUnavailable without internet.
    """
    from sklearn.datasets import fetch_lfw_people  # noqa: PLC0415 - slow, and only for this sample

    cache.mkdir(parents=True, exist_ok=True)
    try:
        fetch_lfw_people(data_home=str(cache), min_faces_per_person=200, resize=0.1)
    except OSError as error:
        raise SourceUnavailable(
            "unreachable",
            f"Labeled Faces in the Wild can't be downloaded: {error}.",
            cure="It needs internet. `make demo` without --sample needs none.",
        ) from error
    return cache / "lfw_home" / "lfw_funneled"


def lfw_photos(folder: Path) -> list[tuple[int, Path]]:
    """(event number, file) of every photo, spread so that people appear in several events."""
    photos = sorted(folder.glob("*/*.jpg"))
    return [(hashlib.sha256(photo.name.encode()).digest()[0] % EVENTS, photo) for photo in photos]
