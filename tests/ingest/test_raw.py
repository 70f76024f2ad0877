"""Camera RAW: told from ordinary TIFFs, shown by its preview, turned once."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone

import pytest
from PIL import Image

from app.core.errors import NotAnImage, PhotoRejected
from app.ingest import derive, formats
from app.ingest.exif import parse_exif
from tests.ingest.pictures import encoded, raf, raw, scene, tiff
from tests.ingest.test_derive import difference, similarity, upright
from tests.ingest.test_formats import exif_of, stored


def test_a_raw_is_shown_by_its_preview() -> None:
    picture, preview = scene(1300, 900), encoded(scene(1200, 830, seed=2))
    found = derive.open_upright(raw(picture, preview, orientation=6), 400)
    assert (found.width, found.height, found.format) == (900, 1300, "DNG")
    wanted = upright(preview, 400).transpose(Image.Transpose.ROTATE_270)
    assert difference(found.image, wanted) < 1
    exif = parse_exif(*found.tags)
    assert (exif.camera, exif.lens) == (
        "Leica Camera AG Q3".replace(" Camera AG", ""),
        "SUMMILUX 28",
    )
    offset = timezone(timedelta(hours=2))
    assert exif.taken_at == datetime(2026, 5, 1, 20, 15, 30, tzinfo=offset)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_raw_is_turned_once(orientation: int) -> None:
    wanted = scene(320, 200)
    lying = stored(wanted, orientation)
    for preview in (encoded(lying), lying, encoded(lying, exif=exif_of(orientation)), None):
        found = derive.open_upright(raw(lying, preview, orientation=orientation), 1024)
        assert (found.width, found.height) == (320, 200)
        assert similarity(found.image, wanted.resize(found.image.size)) > 0.97


def test_a_preview_that_is_upright_already_stays() -> None:
    wanted = scene(200, 320)
    for exif in (Image.Exif(), exif_of(1)):
        data = raw(stored(wanted, 6), encoded(wanted, exif=exif), orientation=6)
        found = derive.open_upright(data, 1024)
        assert (found.width, found.height) == (200, 320)
        assert difference(found.image, wanted) < 4


def test_a_thumbnail_is_not_enough() -> None:
    picture = scene(2400, 1600)
    for preview in (None, encoded(scene(160, 107, seed=3)), scene(160, 107, seed=3)):
        found = upright(raw(picture, preview), 1024)
        assert found.size == (1024, 683)
        assert similarity(found, picture.resize(found.size)) > 0.97
    larger = encoded(scene(1200, 800, seed=2))
    for first, second in ((encoded(scene(160, 107)), larger), (larger, encoded(scene(160, 107)))):
        found = upright(raw(picture, first, second=second), 1024)
        assert similarity(found, upright(larger, 1024)) > 0.999


def test_a_thumbnail_is_better_than_nothing() -> None:
    data = raw(scene(2400, 1600), encoded(scene(640, 427)))
    found = derive.open_upright(data[: len(data) // 2], 1024)
    assert (found.width, found.image.size) == (2400, (640, 427))
    with pytest.raises(NotAnImage) as caught:
        derive.open_upright(raw(scene(2400, 1600))[:2_000_000], 1024)
    assert caught.value.reason == "truncated"


def test_a_development_is_bounded() -> None:
    with pytest.raises(PhotoRejected) as caught:
        derive.open_upright(raw(scene(640, 400)), 1024, max_pixels=200_000)
    assert caught.value.reason == "too-large"


@pytest.mark.parametrize(
    ("make", "start", "kind"),
    [
        ("NIKON CORPORATION", b"II*\x00", "NEF"), ("NIKON CORPORATION", b"MM\x00*", "NEF"),
        ("SONY", b"II*\x00", "ARW"), ("PENTAX", b"MM\x00*", "PEF"),
        ("RICOH IMAGING COMPANY, LTD.", b"II*\x00", "PEF"), ("SAMSUNG", b"II*\x00", "SRW"),
        ("Panasonic", b"IIU\x00", "RW2"), ("OLYMPUS CORPORATION", b"IIRO", "ORF"),
        ("OM Digital Solutions", b"IIRS", "ORF"), ("A new one", b"II*\x00", "RAW"),
    ],
)  # fmt: skip
def test_raw_files_of_many_makers(make: str, start: bytes, kind: str) -> None:
    preview = encoded(scene(320, 200, seed=4))
    data = raw(scene(320, 200), preview, make=make, model="X 1", dng=False, start=start)
    found = derive.open_upright(data, 1024)
    assert (found.format, found.width, found.height) == (kind, 320, 200)
    assert difference(found.image, upright(preview)) < 1
    assert parse_exif(*found.tags).lens == "SUMMILUX 28"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_fujifilm_keeps_all_in_the_preview(orientation: int) -> None:
    exif = exif_of(orientation)
    exif[0x010F], exif[0x0110] = "FUJIFILM", "X-T30"
    wanted = scene(320, 200)
    lying = stored(wanted, orientation)
    found = derive.open_upright(raf(lying, encoded(lying, exif=exif)), 1024)
    assert (found.format, found.width, found.height) == ("RAF", 320, 200)
    assert difference(found.image, wanted) < 4
    assert parse_exif(*found.tags).camera == "FUJIFILM X-T30"


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def test_canon_writes_its_tags_into_boxes() -> None:
    main = tiff({0x010F: "Canon", 0x0110: "Canon EOS R5", 0x0112: (6,)})
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    inside = box(b"CMT1", main) + box(b"CMT2", tiff({0xA434: "RF24-70mm"}))
    data = box(b"ftyp", b"crx ", b"\x00" * 4) + box(b"moov", box(b"uuid", canon, inside))
    assert formats.raw_kind(data) == "CR3"
    assert [b"Canon" in block for block in formats.canon_tags(data)] == [True, False, False]
    assert formats.canon_tags(data)[1].count(b"RF24-70mm") == 1
    with pytest.raises(PhotoRejected) as caught:
        upright(data)
    assert caught.value.reason == "unsupported-format"
    assert "DNG" in caught.value.cure


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "CR2"), (b"II\x1a\x00\x1a\x00HEAPCCDR", "CRW"),
        (b"\x00MRM", "MRW"), (b"FOVb", "X3F"), (b"FUJIFILMCCD-RAW 0201", "RAF"), (b"MMOR", "ORF"),
        (b"\xff\xd8\xff\xe1", None), (b"", None), (b"II*\x00", None),
    ],
)  # fmt: skip
def test_raw_files_that_are_known_by_their_first_bytes(start: bytes, kind: str | None) -> None:
    assert formats.raw_kind(start + b"\x00" * 40) == kind


def test_an_ordinary_tiff_of_a_camera_is_no_raw() -> None:
    """Scanners, editors and some cameras write TIFFs with the maker's name in."""
    exif = exif_of(6)
    for make in ("NIKON CORPORATION", "SONY", "Canon", "PENTAX"):
        exif[0x010F] = make
        found = derive.open_upright(encoded(stored(scene(160, 100), 6), "TIFF", exif=exif), 1024)
        assert (found.format, found.width, found.height) == ("TIFF", 160, 100)
        assert difference(found.image, scene(160, 100)) == 0
