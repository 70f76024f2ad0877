"""Folders as they are found on disks and NAS shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.core.errors import BadInput, ForbiddenAddress, PhotoRejected
from app.core.photos import BadEntry, Locator
from app.sources.files import path_of
from app.sources.folder import FolderSource
from app.sources.memory import read_photo
from app.sources.open import KINDS, kind_names, kind_of, recognise


async def found_in(path: Path | str) -> list[Locator | BadEntry]:
    return [entry async for entry in FolderSource(str(path)).discover()]


def names(found: list[Locator | BadEntry]) -> list[str]:
    return [path_of(entry.uri).name for entry in found if isinstance(entry, Locator)]


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


async def test_photos_are_found_below_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpeg", "sub/d.png", "sub/deep/e.webp", "c.tiff", "z.heic", "h.avif"):
        touch(tmp_path / name)
    for name in (".hidden.jpg", ".thumbnails/x.jpg", "@eaDir/b.JPG/x.jpg", "note.txt", "v.mp4",
                 "#recycle/x.jpg", "Thumbs.db", "jpg", "sub/.DS_Store"):  # fmt: skip
        touch(tmp_path / name)
    (tmp_path / "folder.jpg").mkdir()
    found = await found_in(tmp_path)
    assert names(found) == ["a.jpeg", "b.JPG", "c.tiff", "h.avif", "z.heic", "d.png", "e.webp"]
    assert len(found) == 7


async def test_an_empty_folder_yields_nothing(tmp_path: Path) -> None:
    assert await found_in(tmp_path) == []


async def test_names_of_any_kind_survive(tmp_path: Path) -> None:
    odd = ["a b.jpg", "ü?#%.jpg", "new\nline.jpg", "100%25.jpg", "日本.jpg", "'\".jpg"]
    for name in odd:
        touch(tmp_path / name, name.encode())
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    Path(os.fsdecode(raw)).write_bytes(b"raw")
    source = FolderSource(tmp_path.as_uri())
    contents = set()
    async for entry in source.discover():
        assert isinstance(entry, Locator)
        assert entry.uri.isascii()
        async with source.open(entry) as stream:
            contents.add(await read_photo(stream, 100))
    assert contents == {name.encode() for name in odd} | {b"raw"}


async def test_the_version_follows_the_content(tmp_path: Path) -> None:
    photo = touch(tmp_path / "a.jpg", b"1")
    (before,) = await found_in(tmp_path)
    photo.write_bytes(b"22")
    (after,) = await found_in(tmp_path)
    assert isinstance(before, Locator)
    assert isinstance(after, Locator)
    assert before.key == after.key
    assert before.version != after.version
    assert after.size == 2


async def test_links_are_followed_inside_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(root / "a.jpg", b"a")
    secret = touch(tmp_path / "secret.jpg")
    touch(tmp_path / "other/b.jpg")
    (root / "inside.jpg").symlink_to(root / "a.jpg")
    (root / "out.jpg").symlink_to(secret)
    (root / "other").symlink_to(tmp_path / "other")
    (root / "loop").symlink_to(root)
    (root / "self.jpg").symlink_to(root / "self.jpg")
    (root / "broken.jpg").symlink_to(root / "nothing.jpg")
    found = await found_in(root)
    assert names(found) == ["a.jpg", "inside.jpg"]
    reasons = {path_of(e.uri).name: e.reason for e in found if isinstance(e, BadEntry)}
    assert reasons == {
        "out.jpg": "outside-folder", "other": "outside-folder", "broken.jpg": "not-found",
        "self.jpg": "not-found",
    }  # fmt: skip
    for path in (root / "out.jpg", secret, root / "other/b.jpg", Path("/etc/passwd")):
        with pytest.raises(ForbiddenAddress):
            async with FolderSource(str(root)).open(Locator(key="k", uri=path.as_uri())):
                pass


async def test_a_pipe_does_not_hold_the_ingest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (entry,) = await found_in(tmp_path)
    assert isinstance(entry, BadEntry)
    assert entry.reason == "not-a-file"
    with pytest.raises(PhotoRejected, match="regular"):
        async with FolderSource(str(tmp_path)).open(Locator(key="k", uri=entry.uri)):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_unreadable_places_are_named(tmp_path: Path) -> None:
    closed = touch(tmp_path / "closed/a.jpg").parent
    touch(tmp_path / "b.jpg").chmod(0)
    closed.chmod(0)
    try:
        found = await found_in(tmp_path)
        assert [(type(e), getattr(e, "reason", "")) for e in found] == [
            (BadEntry, "unreadable")
        ] * 2
        with pytest.raises(BadInput, match="may not be read"):
            await found_in(closed)
    finally:
        closed.chmod(0o700)


async def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        await found_in(tmp_path / "none")
    with pytest.raises(BadInput, match="is not a folder"):
        await found_in(touch(tmp_path / "a.jpg"))
    with pytest.raises(BadInput, match="another machine"):
        FolderSource("file://server/share")
    with pytest.raises(BadInput):
        await found_in("a\x00b")


def test_recognition(tmp_path: Path) -> None:
    photos = touch(tmp_path / "list.csv").parent
    assert recognise(str(photos))[0] == "folder"
    assert recognise(photos.as_uri())[0] == "folder"
    assert recognise(str(photos / "list.csv"))[0] == "list"
    assert recognise("https://h.com/list.csv?token=1")[0] == "list"
    assert recognise("https://h.com/photos")[0] == "gallery"
    assert kind_names() == ["auto", *sorted(KINDS)]
    assert {"folder", "list", "gallery", "iiif"} <= KINDS.keys()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "No source"), ("ftp://h.com/x", "ftp://"), ("/nowhere/at/all", "no file or folder"),
        ("https://h.com/a.jpg?x=1", "one photo"), ("a\x00b", "NUL"), ("x" * 5000, "can't be looked"),
    ],
)  # fmt: skip
def test_what_is_not_recognised_is_said(uri: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        recognise(uri)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match="folder, "):
        kind_of("ftp")
    with pytest.raises(BadInput):
        kind_of("auto")
