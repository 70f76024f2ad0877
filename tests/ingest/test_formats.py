"""Every format that cameras and phones make, and what tells one from another."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.core.errors import PhotoRejected
from app.ingest import derive, formats, scaling
from app.ingest.exif import parse_exif
from app.sources.suffixes import HEIC_SUFFIXES, PHOTO_SUFFIXES, RAW_SUFFIXES
from tests.ingest.pictures import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    Blob,
    Point,
    encoded,
    heic,
    only_exif,
    profile,
    raw,
    scene,
    tiff,
)
from tests.ingest.test_derive import STORED, difference, upright

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CLAIR_TEST_DATA", ROOT.parent / "shared" / "data"))
RED, BLUE = (200, 0, 0), (0, 0, 200)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def stored(picture: Image.Image, orientation: int) -> Image.Image:
    """As a camera would store it under that orientation."""
    turn = STORED[orientation]
    return picture if turn is None else picture.transpose(turn)


def middle(picture: Image.Image) -> tuple[int, ...]:
    return tuple(np.asarray(picture)[picture.height // 2, picture.width // 2].tolist())


# HEIC


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("in_container", [True, False])
def test_a_heic_is_turned_once(orientation: int, in_container: bool) -> None:
    wanted = scene(160, 100)
    data = heic(stored(wanted, orientation), exif=exif_of(orientation).tobytes())
    found = derive.open_upright(data if in_container else only_exif(data), 1024)
    assert (found.width, found.height, found.format) == (160, 100, "HEIC")
    assert difference(found.image, wanted) < 4


def test_a_turn_in_the_container_outweighs_the_exif() -> None:
    data = heic(stored(scene(160, 100), 6), exif=exif_of(6).tobytes())
    lying = data.replace(
        b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06", b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x03"
    )
    assert lying != data
    assert difference(upright(lying), scene(160, 100)) < 4


def test_ten_bits_grids_grey_and_alpha() -> None:
    picture = scene(320, 200)
    assert difference(upright(heic(picture, depth=10)), picture) < 4
    grid = heic(picture, tile_size=64)
    assert b"grid" in grid
    assert difference(upright(grid), picture) < 4
    grey = picture.convert("L")
    for depth in (8, 10):
        assert difference(upright(heic(grey, depth=depth)), grey.convert("RGB")) < 4
    clear = picture.convert("RGBA")
    clear.putalpha(0)
    assert middle(upright(heic(clear))) == (255, 255, 255)


def test_the_primary_image_of_several_is_shown() -> None:
    import pillow_heif

    file = pillow_heif.HeifFile()
    for colour in (RED, BLUE, RED):
        file.add_from_pillow(Image.new("RGB", (64, 64), colour))
    buffer = io.BytesIO()
    file.save(buffer, primary_index=1)
    assert middle(upright(buffer.getvalue()))[2] > 180


def test_a_large_heic_is_scaled_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(scene(640, 481))
    whole = upright(data, 80)
    monkeypatch.setattr(scaling, "_BAND_PIXELS", 30_000)
    assert difference(upright(data, 80), whole) < 1


def test_a_heic_keeps_its_exif_and_its_size_is_checked_before_decoding() -> None:
    exif = exif_of(1)
    exif[0x010F], exif[0x0110] = "Apple", "iPhone 15 Pro"
    data = heic(scene(), exif=exif.tobytes())
    assert parse_exif(*derive.open_upright(data, 64).tags).camera == "Apple iPhone 15 Pro"
    start = data.index(b"mdat") + 4
    broken = data[:start] + b"\x00" * (len(data) - start)  # nothing left to decode
    with pytest.raises(PhotoRejected) as caught:
        derive.open_upright(broken, 64, max_pixels=63_999)
    assert caught.value.reason == "too-large"


def test_a_heif_of_another_codec_is_refused_with_a_cure() -> None:
    av1 = encoded(scene(), "AVIF").replace(b"avif", b"mif1")
    with pytest.raises(PhotoRejected) as caught:
        upright(av1)
    assert caught.value.reason == "unsupported-format"
    assert "JPEG" in caught.value.cure


# Colour


def srgb_of(
    code: tuple[int, ...], primaries: tuple[Point, Point, Point], gamma: float
) -> list[float]:
    """What an RGB code of a profile should become, by way of XYZ under D50."""
    xyz = np.array(primaries).T @ (np.array(code) / 255) ** gamma
    light = np.clip(np.linalg.inv(np.array(SRGB).T) @ xyz, 0, 1)
    return list(
        255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    )


@pytest.mark.parametrize("primaries", [DISPLAY_P3, ADOBE_RGB])
@pytest.mark.parametrize("code", [(180, 90, 60), (60, 120, 70), (128, 128, 128)])
def test_wide_colours_become_srgb(
    code: tuple[int, int, int], primaries: tuple[Point, Point, Point]
) -> None:
    made = profile(*primaries)
    flat = Image.new("RGB", (64, 64), code)
    wanted = srgb_of(code, primaries, 2.2)
    for data in (
        encoded(flat, "PNG", icc_profile=made),
        encoded(flat, "JPEG", icc_profile=made, subsampling=0),
        encoded(flat, "AVIF", icc_profile=made, subsampling="4:4:4"),
        heic(flat, icc_profile=made, chroma=444),
    ):
        assert middle(upright(data)) == pytest.approx(wanted, abs=4)
    if code != (128, 128, 128):
        assert max(abs(a - b) for a, b in zip(code, wanted, strict=True)) > 8


def in_colours(
    image_format: str, code: tuple[int, int, int], primaries: int, transfer: int
) -> bytes:
    """A flat picture that states colours by number (H.273) and has no profile."""
    flat = Image.new("RGB", (64, 64), code)
    if image_format == "HEIC":
        return heic(
            flat, chroma=444, color_primaries=primaries, transfer_characteristics=transfer,
            matrix_coefficients=6, full_range_flag=1,
        )  # fmt: skip
    data = encoded(flat, "AVIF", subsampling="4:4:4")
    place = data.index(b"nclx") + 4
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]


@pytest.mark.parametrize("image_format", ["HEIC", "AVIF"])
def test_colours_that_are_stated_by_number(image_format: str) -> None:
    assert formats.coded_colour(in_colours(image_format, RED, 12, 13)) == (12, 13)
    found = middle(upright(in_colours(image_format, (180, 90, 60), 12, 13)))
    assert found == pytest.approx((194, 85, 53), abs=5)
    same = middle(upright(in_colours(image_format, (180, 90, 60), 1, 13)))
    assert same == pytest.approx((180, 90, 60), abs=4)


@pytest.mark.parametrize("image_format", ["HEIC", "AVIF"])
def test_hdr_becomes_a_picture_for_screens(image_format: str) -> None:
    """Diffuse white (203 cd/m²) is PQ's 58 % and HLG's 75 % (BT.2408-7, table 1)."""
    for transfer, black, grey, white, peak in ((16, 0, 97, 148, 192), (18, 0, 97, 191, 255)):
        shown = [
            middle(upright(in_colours(image_format, (code, code, code), 9, transfer)))
            for code in (black, grey, white, peak)
        ]
        assert max(shown[0]) < 12
        assert 60 < min(shown[1]) < 160
        assert 210 < min(shown[2]) <= max(shown[2]) < 245
        assert min(shown[3]) > 248
    red = middle(upright(in_colours(image_format, (148, 60, 60), 9, 16)))
    assert red[0] > 3 * max(red[1:])


# What Pillow opens


def deep_tiff(picture: Image.Image, *, start: bytes = b"II*\x00", tiled: bool = False) -> bytes:
    """16 bits a channel, in one strip or one tile."""
    order = "<u2" if start[:1] == b"I" else ">u2"
    pixels = np.asarray(picture).astype(order) * 257
    if tiled:
        rim = [(0, -side % 16) for side in pixels.shape[:2]] + [(0, 0)] * (pixels.ndim - 2)
        pixels = np.pad(pixels, rim)
    content = Blob(pixels.astype(order).tobytes())
    channels = 1 if pixels.ndim == 2 else 3
    tags: dict[int, object] = {
        0x0100: picture.width, 0x0101: picture.height, 0x0102: (16,) * channels, 0x0103: (1,),
        0x0106: (1 if channels == 1 else 2,), 0x0115: (channels,),
    }  # fmt: skip
    if tiled:
        tags |= {0x0142: pixels.shape[1], 0x0143: pixels.shape[0], 0x0144: content}
        tags |= {0x0145: len(content)}
    else:
        tags |= {0x0111: content, 0x0116: picture.height, 0x0117: len(content)}
    return tiff(tags, start=start)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("start", [b"II*\x00", b"MM\x00*"])
@pytest.mark.parametrize("tiled", [False, True])
def test_tiffs_of_16_bits(mode: str, start: bytes, tiled: bool) -> None:
    picture = scene(150, 100).convert(mode)
    assert (
        difference(upright(deep_tiff(picture, start=start, tiled=tiled)), picture.convert("RGB"))
        < 1
    )


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr", "RGBA"])
def test_compressed_tiffs(mode: str, compression: str | None) -> None:
    picture = scene(160, 100)
    data = encoded(picture.convert(mode), "TIFF", compression=compression)
    wanted = picture.convert("L").convert("RGB") if mode == "L" else picture
    assert difference(upright(data), wanted) < 4


def test_pngs_of_16_bits() -> None:
    picture = scene(160, 100)
    grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    found = upright(encoded(Image.fromarray(grey), "PNG"))
    assert difference(found, picture.convert("L").convert("RGB")) < 1


def test_cmyk_jpegs_straight_and_inverted() -> None:
    """Adobe's programs store the ink inverted and say so in a segment of their own."""
    ink = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    adobe = encoded(ink)
    assert b"Adobe" in adobe
    assert middle(upright(adobe)) == pytest.approx((255, 0, 0), abs=4)
    start = adobe.index(b"\xff\xee")
    plain = adobe[:start] + adobe[start + 2 + int.from_bytes(adobe[start + 2 : start + 4], "big") :]
    assert middle(upright(plain)) == pytest.approx((0, 0, 0), abs=4)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF", "MPO"])
def test_the_first_picture_of_several(image_format: str) -> None:
    first, second = Image.new("RGB", (64, 48), RED), Image.new("RGB", (64, 48), BLUE)
    data = encoded(first, image_format, save_all=True, append_images=[second] * 2)
    found = derive.open_upright(data, 1024)
    assert middle(found.image)[0] > 180
    assert found.format == ("JPEG" if image_format == "MPO" else image_format)


def test_a_gain_map_behind_a_jpeg_is_left_alone() -> None:
    data = encoded(scene(160, 100)) + encoded(Image.new("L", (40, 25)))
    assert difference(upright(data), scene(160, 100)) < 4


# All of them


@given(
    st.binary(max_size=300),
    st.sampled_from(["", "II*\x00\x08\x00\x00\x00", "MM\x00*\x00\x00\x00\x08"]),
)
def test_recognising_never_raises(data: bytes, start: str) -> None:
    recognise(start.encode("latin-1") + data)


SAMPLES = [
    heic(scene(32, 24)),
    raw(scene(32, 24), encoded(scene(16, 12))),
    encoded(scene(32, 24), "AVIF"),
]


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=8),
)
def test_recognising_damaged_files_never_raises(
    data: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(data[:1500])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    recognise(bytes(damaged))


def recognise(data: bytes) -> None:
    kind = formats.raw_kind(data)
    assert kind is None or kind.isupper() or kind.isalnum()
    assert formats.is_heif(data) in (True, False)
    colour = formats.coded_colour(data)
    assert colour is None or all(0 <= each < 65536 for each in colour)
    assert formats.has_turn(data) in (True, False)
    assert len(formats.canon_tags(data)) == 3


def test_the_endings_of_photos() -> None:
    assert {".heic", ".heif", ".hif"} <= HEIC_SUFFIXES
    assert {
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".dng",
        ".raf",
        ".orf",
        ".rw2",
        ".pef",
        ".srw",
    } <= RAW_SUFFIXES
    assert HEIC_SUFFIXES | RAW_SUFFIXES | {".jpg", ".avif", ".mpo"} <= PHOTO_SUFFIXES
    assert not HEIC_SUFFIXES & RAW_SUFFIXES
    assert all(each == each.lower() and each[0] == "." for each in PHOTO_SUFFIXES)


def test_only_the_child_loads_the_picture_libraries() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import app.main, app.ingest.pipeline;"
        "print(sorted({'rawpy', 'pi_heif', '_pi_heif'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"


@pytest.mark.skipif(not (DATA / "formats").is_dir(), reason="no CLAIR_TEST_DATA/formats")
def test_photos_of_real_phones() -> None:
    found = [
        derive.open_upright(path.read_bytes(), 1024)
        for path in sorted((DATA / "formats").rglob("*.heic"))
    ]
    assert [each.format for each in found] == ["HEIC"] * len(found)
    assert sorted((each.width, each.height) for each in found) == [(3024, 4032)] * 2 + [
        (4032, 3024)
    ]
    assert {parse_exif(*each.tags).camera for each in found} == {
        "Apple iPhone 7",
        "Apple iPhone 15 Pro",
    }
