"""Thumbnails and previews: caching, and what a browser is told when the origin fails."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.storage.blobs import BlobStore, thumb_key
from app.storage.engine import session_scope
from app.storage.tables import Event, Photo, Source

Festival = tuple[Event, list[int]]


def thumb_of(client: TestClient, photo_id: int) -> str:
    return str(client.get(f"/api/v1/photos/{photo_id}").json()["thumb"])


def test_a_versioned_thumbnail_is_kept_for_ever(owner: TestClient, festival: Festival) -> None:
    address = thumb_of(owner, festival[1][0])
    answer = owner.get(address)
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    again = owner.get(address, headers={"If-None-Match": f'W/{answer.headers["etag"]}, "x"'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]


def test_without_the_right_version_it_is_asked_for_again(
    owner: TestClient, festival: Festival
) -> None:
    address = thumb_of(owner, festival[1][0]).partition("?")[0]
    for query in ("", "?v=", "?v=00"):
        answer = owner.get(address + query)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "private, no-cache"
        known = {"If-None-Match": answer.headers["etag"]}
        assert owner.get(address + query, headers=known).status_code == 304


def test_a_missing_thumbnail_is_a_404(
    owner: TestClient, festival: Festival, blobs: BlobStore, engine: Engine
) -> None:
    with session_scope(engine) as session:
        photo = session.get_one(Photo, festival[1][0])
        blobs.delete(thumb_key(photo.thumb or ""))
    answer = owner.get(thumb_of(owner, festival[1][0]))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def folder_photo(engine: Engine, event: Event, path: Path) -> int:
    """A photo whose original is a file of a folder source."""
    with session_scope(engine) as session:
        source = Source(event_id=event.id, kind="folder", uri=str(path.parent))
        session.add(source)
        session.flush()
        photo = Photo(
            event_id=event.id, source_id=source.id, source_key=path.as_uri(), uri=path.as_uri(),
            state="indexed", indexed_at=datetime.now(UTC), thumb="00", width=10, height=10,
        )  # fmt: skip
        session.add(photo)
        session.flush()
        return photo.id


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A JPEG of 3000 × 2000 pixels that carries a camera's EXIF."""
    folder = tmp_path / "photos"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0110] = "SECRET CAMERA"
    path = folder / "a.jpg"
    Image.linear_gradient("L").convert("RGB").resize((3000, 2000)).save(path, exif=exif)
    return path


def test_a_preview_is_made_from_the_original_and_stripped(
    owner: TestClient, festival: Festival, engine: Engine, original: Path
) -> None:
    photo = folder_photo(engine, festival[0], original)
    for size in (1024, 2048):
        answer = owner.get(f"/media/preview/{photo}?size={size}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/jpeg"
        assert "content-encoding" not in answer.headers
        with Image.open(io.BytesIO(answer.content)) as preview:
            assert max(preview.size) == size
            assert not preview.getexif()
        assert b"SECRET" not in answer.content
    known = {"If-None-Match": answer.headers["etag"]}
    assert owner.get(f"/media/preview/{photo}?size=2048", headers=known).status_code == 304


def test_a_preview_whose_original_is_gone_says_so(
    owner: TestClient, festival: Festival, engine: Engine, original: Path
) -> None:
    photo = folder_photo(engine, festival[0], original)
    original.unlink()
    answer = owner.get(f"/media/preview/{photo}?size=1024")
    assert answer.status_code == 502
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["reason"]
    assert "a.jpg" in problem["detail"]


def test_only_two_sizes(owner: TestClient, festival: Festival) -> None:
    for size, status in (("1025", 422), ("big", 400), ("0", 422)):
        answer = owner.get(f"/media/preview/{festival[1][0]}?size={size}")
        assert answer.status_code == status


def test_a_preview_from_a_forbidden_address_is_refused(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    with session_scope(engine) as session:
        photo = session.get_one(Photo, festival[1][0])
        photo.uri = "http://127.0.0.1/secret.jpg"
        session.add(photo)
    answer = owner.get(f"/media/preview/{festival[1][0]}?size=1024")
    assert answer.status_code == 502
    assert answer.json()["reason"] == "forbidden-address"
