"""What is derived from a picture, checked against pictures whose answer is known."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from app.core.errors import NotAnImage
from app.core.photos import Exif
from app.ingest import derive, headers, scaling
from app.ingest.exif import orientation_of, parse_exif
from tests.ingest.pictures import encoded, many_scans, scene, swapped_profile

# How a camera would store an upright scene under each orientation.
STORED = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def upright(data: bytes, max_px: int = 1024) -> Image.Image:
    return derive.open_upright(data, max_px).image


def similarity(one: Image.Image, other: Image.Image) -> float:
    """Pearson correlation of the pixels."""
    assert one.size == other.size
    return float(
        np.corrcoef(np.asarray(one, float).ravel(), np.asarray(other, float).ravel())[0, 1]
    )


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation: int, image_format: str) -> None:
    wanted = scene(160, 100)
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = wanted if turn is None else wanted.transpose(turn)
    data = encoded(stored, image_format, exif=exif)
    found = derive.open_upright(data, 1024)
    assert (found.width, found.height) == (160, 100)
    assert difference(found.image, wanted) < 4
    assert upright(data, 80).size == (80, 50)


@pytest.mark.parametrize("value", [0, 9, -1, "6", None, 6.0, (6,), b"\x06"])
def test_an_orientation_that_makes_no_sense_is_upright(value: object) -> None:
    assert orientation_of({0x0112: value}) == 1


@pytest.mark.parametrize("factor", [2, 3, 5, 7])
def test_the_scaled_decode_equals_the_full_decode(factor: int) -> None:
    data = encoded(scene(400 * factor, 300 * factor), quality=92)
    full = Image.open(io.BytesIO(data)).convert("RGB")
    wanted = full.resize((400, 300), Image.Resampling.LANCZOS)
    assert similarity(upright(data, 400), wanted) > 0.999


def test_a_real_photo_scaled_equals_the_full_decode() -> None:
    data = pytest.importorskip("skimage.data")
    photo = Image.fromarray(data.astronaut()).resize((2560, 2560), Image.Resampling.BICUBIC)
    found = upright(encoded(photo, quality=90), 512)
    assert similarity(found, photo.resize((512, 512), Image.Resampling.LANCZOS)) > 0.999


def test_bands_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(scene(2000, 1501), "PNG")
    whole = upright(data, 200)
    monkeypatch.setattr(scaling, "_BAND_PIXELS", 100_000)
    assert difference(upright(data, 200), whole) < 1.0


def test_colour_profiles_become_srgb() -> None:
    red = Image.new("RGB", (40, 30), (230, 20, 20))
    for image_format in ("JPEG", "PNG", "WEBP", "TIFF"):
        found = upright(encoded(red, image_format, icc_profile=swapped_profile()))
        r, g, b = np.asarray(found)[15, 20]
        assert g > 200, image_format
        assert max(r, b) < 60, image_format
    assert difference(upright(encoded(red, "PNG", icc_profile=b"nonsense")), red) == 0


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 255), (90, 90, 90)),
        ("RGBA", (10, 200, 30, 255), (10, 200, 30)),
        ("RGBA", (10, 200, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("I;16", 32896, (128, 128, 128)),
    ],
)
def test_modes_of_png(mode: str, colour: object, expected: tuple[int, int, int]) -> None:
    picture = Image.new(mode, (60, 40), colour)  # type: ignore[arg-type]
    for max_px in (1024, 20):
        found = np.asarray(upright(encoded(picture, "PNG"), max_px))
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_palettes_with_transparency() -> None:
    picture = Image.new("P", (60, 40), 1)
    picture.putpalette([0, 0, 0, 200, 10, 10])
    for image_format in ("PNG", "GIF"):
        opaque = np.asarray(upright(encoded(picture, image_format)))
        assert tuple(opaque[20, 30]) == (200, 10, 10)
        clear = np.asarray(upright(encoded(picture, image_format, transparency=1)))
        assert tuple(clear[20, 30]) == (255, 255, 255)


def test_cmyk_and_floating_point() -> None:
    cmyk = encoded(Image.new("CMYK", (60, 40), (0, 255, 255, 0)))
    r, g, b = np.asarray(upright(cmyk))[20, 30]
    assert r > 200
    assert max(g, b) < 60
    half = encoded(Image.fromarray(np.full((40, 60), 0.5, np.float32)), "TIFF")
    assert np.asarray(upright(half))[20, 30, 0] in (127, 128)
    flat = encoded(Image.fromarray(np.full((4, 6), -3.0, np.float32)), "TIFF")
    assert upright(flat).size == (6, 4)
    broken = np.full((4, 6), np.nan, np.float32)
    assert upright(encoded(Image.fromarray(broken), "TIFF")).size == (6, 4)


def test_only_the_first_frame_is_decoded() -> None:
    first, second = Image.new("RGB", (20, 20), (200, 0, 0)), Image.new("RGB", (20, 20), (0, 0, 200))
    for image_format in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(first, image_format, save_all=True, append_images=[second] * 3)
        assert np.asarray(upright(data))[10, 10, 0] > 180


def test_a_strip_of_one_pixel() -> None:
    found = derive.open_upright(encoded(Image.new("RGB", (3000, 1)), "PNG"), 100)
    assert found.image.size == (100, 1)
    luma = derive.luma_of(found.image)
    assert derive.quality_of(luma).sharpness == 0
    assert derive.perceptual_hash(luma) >= 0
    assert derive.thumbnail(found.image, 36)


@given(st.integers(1, 50_000), st.integers(1, 50_000), st.integers(1, 4096))
def test_fitting_never_enlarges(width: int, height: int, limit: int) -> None:
    w, h = derive.fit((width, height), limit)
    assert 1 <= w <= min(width, max(limit, 1))
    assert 1 <= h <= min(height, max(limit, 1))
    assert max(w, h) == min(max(width, height), limit)


def test_scans_are_counted_as_a_decoder_would() -> None:
    plain = encoded(scene())
    assert headers.jpeg_scans(plain) == 1
    assert headers.jpeg_scans(many_scans(57, 64)) > 57
    # A thumbnail with many scans inside a segment is not decoded, and so doesn't count.
    segment = many_scans(40, 16)
    hidden = plain[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + plain[2:]
    assert hidden.count(b"\xff\xda") > 40
    assert headers.jpeg_scans(hidden) == 1
    # After a scan of all components no decoder takes another, unless the picture is progressive.
    scan = plain[plain.rindex(b"\xff\xda") : -2]
    again = plain[:-2] + scan * 500 + b"\xff\xd9"
    assert headers.jpeg_scans(again) == 1
    with pytest.raises(NotAnImage):
        upright(again)
    single = again.replace(b"\xff\xda\x00\x0c\x03", b"\xff\xda\x00\x0c\x01")
    assert headers.jpeg_scans(single) == 501


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\x00\x00"}])
def test_the_size_of_a_webp_is_read_from_its_header(options: dict[str, object]) -> None:
    assert headers.webp_size(encoded(scene(301, 97), "WEBP", **options)) == (301, 97)
    assert headers.webp_size(encoded(scene(), "PNG")) is None


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def test_the_perceptual_hash_survives_copies_and_tells_pictures_apart() -> None:
    def hashed(picture: Image.Image, **options: object) -> int:
        return derive.perceptual_hash(derive.luma_of(upright(encoded(picture, **options))))

    picture = scene(800, 600)
    original = hashed(picture)
    assert distance(original, hashed(picture, quality=30)) <= 4
    assert distance(original, hashed(picture.resize((333, 250)))) <= 4
    assert distance(original, hashed(picture.filter(ImageFilter.GaussianBlur(2)))) <= 6
    assert distance(original, hashed(scene(800, 600, seed=9))) > 12
    assert distance(original, hashed(picture.transpose(Image.Transpose.ROTATE_180))) > 12


def test_the_structure_picture_is_squeezed_whatever_the_shape() -> None:
    for size in ((640, 200), (200, 640), (31, 7)):
        picture = Image.new("RGB", size, "black")
        picture.paste("white", (0, 0, size[0] // 2, size[1]))
        stored = derive.structure_of(derive.luma_of(picture))
        rows = np.frombuffer(stored, np.uint8).reshape(48, 48)
        assert np.all(rows[:, :22] == 255)
        assert np.all(rows[:, 26:] == 0)


def test_the_hash_is_the_sign_of_the_low_frequencies() -> None:
    x = np.arange(32)
    wave = 128 + 100 * np.cos(np.pi * (2 * x + 1) * 3 / 64)
    both = 128 + np.outer(wave - 128, wave - 128) / 100
    found = derive.perceptual_hash(Image.fromarray(np.rint(both).astype(np.uint8)))
    assert (
        found >> (63 - (2 * 8 + 2)) & 1
    )  # frequency 3 in both directions stands in row 2, column 2


def test_quality() -> None:
    sharp = scene(800, 600)
    blurred = sharp.filter(ImageFilter.GaussianBlur(3))
    measured = [derive.quality_of(derive.luma_of(each)) for each in (sharp, blurred)]
    assert measured[0].sharpness > 3 * measured[1].sharpness
    black, white = (
        derive.quality_of(derive.luma_of(Image.new("RGB", (64, 48), (v, v, v)))) for v in (0, 255)
    )
    assert (black.exposure, black.clipped, black.sharpness) == (0, 1, 0)
    assert (white.exposure, white.clipped) == (1, 1)
    grey = derive.quality_of(derive.luma_of(Image.new("RGB", (64, 48), (127, 127, 127))))
    assert grey.exposure == pytest.approx(0.498, abs=0.001)
    assert grey.clipped == 0


def test_exif_is_read_from_a_file() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "NIKON CORPORATION\x00", "NIKON  D850 "
    exif.get_ifd(0x8769).update(
        {0x9003: "2026:05:01 20:15:30", 0x9011: "+02:00", 0x829A: 0.008, 0x829D: 2.8, 0x8827: 640,
         0x920A: 85.0, 0xA434: "NIKKOR 85mm f/1.8"}
    )  # fmt: skip
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 51.0, 54.0), 3: "W", 4: (151.0, 12.0, 36.0)})
    for image_format in ("JPEG", "PNG", "WEBP"):
        found = parse_exif(*derive.open_upright(encoded(scene(), image_format, exif=exif), 64).tags)
        assert found.taken_at == datetime(2026, 5, 1, 18, 15, 30, tzinfo=UTC)
        assert (found.camera, found.lens) == ("NIKON D850", "NIKKOR 85mm f/1.8")
        assert (found.f_number, found.iso, found.focal_length) == (2.8, 640, 85)
        assert found.exposure_time == pytest.approx(1 / 125)
        assert found.latitude == pytest.approx(-33.865)
        assert found.longitude == pytest.approx(-151.21)


@pytest.mark.parametrize(
    ("main", "exif", "expected"),
    [
        ({}, {}, None),
        ({0x0132: "2020:01:02 03:04:05"}, {}, datetime(2020, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        ({}, {0x9004: "2020-01-02T03:04"}, datetime(2020, 1, 2, 3, 4)),  # noqa: DTZ001
        ({0x0132: "2021:01:01 00:00:00"}, {0x9003: "2020:01:02 03:04:05", 0x9010: "-0330"},
         datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
        ({}, {0x9003: "0000:00:00 00:00:00"}, None),
        ({}, {0x9003: "2020:13:40 03:04:05"}, None),
        ({}, {0x9003: b"2020:01:02 03:04:05\x00", 0x9011: "+99:99"}, datetime(2020, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        ({}, {0x9003: "yesterday", 0x9004: 7}, None),
    ],
)  # fmt: skip
def test_capture_times(
    main: dict[int, object], exif: dict[int, object], expected: datetime | None
) -> None:
    assert parse_exif(main, exif, {}).taken_at == expected


@pytest.mark.parametrize(
    "gps",
    [{}, {2: (0, 0, 0), 4: (0, 0, 0)}, {2: (91.0,), 4: (1.0,)}, {2: (1.0,)}, {2: "x", 4: "y"},
     {2: (float("nan"),), 4: (1.0,)}, {2: (-1.0,), 4: (1.0,)}, {2: (), 4: ()}, {2: 5, 4: 5}],
)  # fmt: skip
def test_positions_that_make_no_sense(gps: dict[int, object]) -> None:
    found = parse_exif({}, {}, gps)
    assert (found.latitude, found.longitude) == (None, None)


_VALUES = st.one_of(
    st.none(), st.text(max_size=30), st.binary(max_size=30), st.integers(), st.floats(),
    st.lists(st.integers() | st.floats() | st.text(max_size=3), max_size=4).map(tuple),
)  # fmt: skip
_TAGS = st.dictionaries(
    st.sampled_from([1, 2, 3, 4, 0x010F, 0x0110, 0x0112, 0x0132, 0x829A, 0x829D, 0x8827, 0x9003,
                     0x9004, 0x9010, 0x9011, 0x920A, 0xA433, 0xA434]),
    _VALUES,
)  # fmt: skip


@given(_TAGS, _TAGS, _TAGS)
def test_hostile_exif_never_raises(
    main: dict[int, object], exif: dict[int, object], gps: dict[int, object]
) -> None:
    found = parse_exif(main, exif, gps)
    assert isinstance(found, Exif)
    assert found.latitude is None or -90 <= found.latitude <= 90
    assert 1 <= orientation_of(main) <= 8


@given(st.binary(max_size=400))
def test_hostile_exif_blocks_never_spoil_a_photo(block: bytes) -> None:
    data = encoded(scene(32, 24), exif=b"Exif\x00\x00" + block)
    found = derive.open_upright(data, 64)
    assert parse_exif(*found.tags) is not None
