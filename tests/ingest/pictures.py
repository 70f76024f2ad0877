"""Pictures made for the tests: good ones, and those that try to break a decoder."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pillow_heif
from PIL import Image

Tags = dict[int, object]
Point = tuple[float, float, float]


def scene(width: int = 320, height: int = 200, seed: int = 1) -> Image.Image:
    """Smooth areas, edges and some noise, and four corners that differ."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 / width, y * 255 / height, (x + y) % 97 * 2.0], axis=-1)
    pixels += rng.normal(0, 4, pixels.shape)
    low = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8).astype(np.uint8))
    blend = np.asarray(low.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    picture = Image.fromarray(np.clip((pixels + blend) / 2, 0, 255).astype(np.uint8))
    picture.paste((250, 20, 20), (0, 0, width // 4, height // 4))
    picture.paste((20, 20, 250), (width - width // 4, 0, width, height // 4))
    return picture


def encoded(picture: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    if image_format != "TIFF":
        options = {"quality": 95} | options
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, *, colour: int = 6, depth: int = 8, data: bool = True) -> bytes:
    """A one-colour PNG, built chunk by chunk so that the maker needs no memory for it."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    deflate, body = zlib.compressobj(1), b""
    if data:
        row = b"\x00" * (1 + (width * channels * depth + 7) // 8)
        body = b"".join(deflate.compress(row) for _ in range(height))
    body += deflate.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def many_scans(scans: int, side: int = 512) -> bytes:
    """A progressive JPEG whose last scan is repeated: each one is a pass over the whole picture."""
    data = encoded(scene(side, side), progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    return data[:last] + scan * scans + b"\xff\xd9"


def profile(
    red: Point, green: Point, blue: Point, *, gamma: float = 2.2, name: str = "made"
) -> bytes:
    """An ICC profile (ICC.1:2001-04) from the primaries' XYZ under D50."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ " + b"\x00" * 4 + struct.pack(">iii", *(round(v * 65536) for v in (x, y, z)))

    text = name.encode() + b"\x00"
    curve = b"curv" + b"\x00" * 4 + struct.pack(">IH", 1, round(gamma * 256)) + b"\x00\x00"
    tags = {
        b"desc": b"desc" + b"\x00" * 4 + struct.pack(">I", len(text)) + text + b"\x00" * 78,
        b"cprt": b"text" + b"\x00" * 4 + text,
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(*red), b"gXYZ": xyz(*green), b"bXYZ": xyz(*blue),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        padded = content + b"\x00" * (-len(content) % 4)
        table += tag + struct.pack(">II", offset + len(body), len(content))
        body += padded
    header = bytearray(128)
    header[8:12] = b"\x02\x40\x00\x00"
    header[12:24] = b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">iii", 63190, 65536, 54061)
    header[0:4] = struct.pack(">I", offset + len(body))
    return bytes(header) + struct.pack(">I", len(tags)) + table + body


SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))


def swapped_profile() -> bytes:
    """A profile whose red is sRGB's green and the other way round."""
    red, green, blue = SRGB
    return profile(green, red, blue, name="swapped")


def heic(picture: Image.Image, *, depth: int = 8, **options: object) -> bytes:
    """An HEVC picture, of 10 bits where `depth` says so. An orientation in `exif` (bytes) is written
    into the container too."""
    buffer = io.BytesIO()
    if depth == 8:
        file = pillow_heif.from_pillow(picture)
    else:
        deep = np.asarray(picture).astype(np.uint16) * 257
        mode = "I;16" if picture.mode == "L" else f"{picture.mode};16"
        file = pillow_heif.from_bytes(mode, picture.size, deep.tobytes())
    file.save(buffer, **({"quality": 90} | options))
    return buffer.getvalue()


def only_exif(data: bytes) -> bytes:
    """A HEIF file without the turns of its container."""
    return data.replace(b"irot", b"free").replace(b"imir", b"free")


def raf(picture: Image.Image, preview: bytes) -> bytes:
    """A Fujifilm RAW file: what is told of the photo is in the preview's EXIF only."""
    preview = preview[:2] + preview[20:]  # as the camera does it, without a JFIF segment
    width, height = picture.size
    sizes = struct.pack(">IHHHHHHHH", 2, 0x100, 4, height, width, 0x121, 4, height, width)
    values = sensor(picture)
    places = [160, 160 + len(preview), 160 + len(preview) + len(sizes)]
    head = bytearray(160)
    head[0:20], head[28:33] = b"FUJIFILMCCD-RAW 0201", b"X-T30"
    struct.pack_into(">II", head, 84, places[0], len(preview))
    struct.pack_into(">II", head, 92, places[1], len(sizes))
    struct.pack_into(">II", head, 100, places[2], len(values))
    return bytes(head) + preview + sizes + values


class Blob(bytes):
    """Bytes that lie elsewhere in a TIFF; the entry holds their place."""


def tiff(main: Tags, *below: Tags, start: bytes = b"II*\x00", exif: Tags | None = None) -> bytes:
    """A TIFF of one directory, those below it (SubIFDs) and an Exif directory, tag by tag.

    int → LONG, tuple of int → SHORT, str → ASCII, bytes → BYTE, Fraction → SRATIONAL (also a list of
    them), Blob → a LONG that points to it. Classic TIFF takes any order of tags from us.
    """
    order = "<" if start[:1] == b"I" else ">"
    body = bytearray(start + struct.pack(order + "I", 8))

    def size(tags: Tags) -> int:
        return 2 + 12 * len(tags) + 4

    directories = [main, *below, *([exif] if exif else [])]
    if below:
        main = main | {0x014A: [0] * len(below)}
    if exif:
        main = main | {0x8769: 0}
    directories[0] = main
    places = [8]
    for tags in directories:
        places.append(places[-1] + size(tags))
    if below:
        main[0x014A] = places[1 : len(below) + 1]
    if exif:
        main[0x8769] = places[len(below) + 1]
    rest = bytearray()
    for tags in directories:
        body += struct.pack(order + "H", len(tags))
        for tag, value in sorted(tags.items()):
            kind, count, content = _tiff_value(value, order)
            if isinstance(value, Blob) or len(content) > 4:
                place = struct.pack(order + "I", places[-1] + len(rest))
                rest += content + b"\x00" * (-len(content) % 4)
                content = place
            body += struct.pack(order + "HHI", tag, kind, count) + content.ljust(4, b"\x00")
        body += b"\x00" * 4
    return bytes(body + rest)


def _tiff_value(value: object, order: str) -> tuple[int, int, bytes]:
    """(type, count, content) of one entry."""
    match value:
        case Blob():
            return 4, 1, bytes(value)
        case bytes():
            return 1, len(value), value
        case str():
            text = value.encode() + b"\x00"
            return 2, len(text), text
        case int():
            return 4, 1, struct.pack(order + "I", value)
        case Fraction():
            return _tiff_value([value], order)
        case tuple():
            return 3, len(value), struct.pack(f"{order}{len(value)}H", *value)
        case [Fraction(), *_]:
            pairs = [part for each in value for part in (each.numerator, each.denominator)]
            return 10, len(value), struct.pack(f"{order}{len(pairs)}i", *pairs)
        case list():
            return 4, len(value), struct.pack(f"{order}{len(value)}I", *value)
    raise TypeError(value)


# XYZ to linear sRGB, as a camera whose colours are sRGB's would state it.
_COLOUR_MATRIX = [
    Fraction(round(10_000 * each), 10_000)
    for each in (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)
]


def sensor(picture: Image.Image) -> Blob:
    """What a sensor behind red, green, green and blue filters (RGGB) would see: 16 bits, linear."""
    light = (np.asarray(picture, float) / 255) ** 2.2
    mosaic = np.empty(light.shape[:2])
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = light[y::2, x::2, channel]
    return Blob((mosaic * 60_000).astype("<u2").tobytes())


def raw(
    picture: Image.Image,
    preview: Image.Image | bytes | None = None,
    *,
    orientation: int = 1,
    make: str = "Leica Camera AG",
    model: str = "Q3",
    dng: bool = True,
    second: bytes | None = None,
    start: bytes = b"II*\x00",
) -> bytes:
    """A camera RAW file: a preview (a JPEG, a picture that is stored as bitmap, or none) in the main
    directory, the sensor's values in the first one below and perhaps a second JPEG in the next.
    Without `dng` it lacks all that is DNG's own."""
    width, height = picture.size
    values = sensor(picture)
    main: Tags = {
        0x010F: make, 0x0110: model, 0x0112: (orientation,), 0x0132: "2026:05:01 20:15:30",
    }  # fmt: skip
    if dng:
        main |= {
            0xC612: b"\x01\x04\x00\x00", 0xC614: f"{make} {model}", 0xC621: _COLOUR_MATRIX,
            0xC628: [Fraction(1)] * 3,
        }  # fmt: skip
    if preview is not None:
        main |= _preview(preview)
    below: Tags = {
        0x00FE: 0, 0x0100: width, 0x0101: height, 0x0102: (16,), 0x0103: (1,), 0x0106: (32803,),
        0x0111: values, 0x0115: (1,), 0x0116: height, 0x0117: len(values),
        0x828D: (2, 2), 0x828E: b"\x00\x01\x01\x02", 0xC61A: 0, 0xC61D: 60_000,
    }  # fmt: skip
    exif: Tags = {0x9003: "2026:05:01 20:15:30", 0x9011: "+02:00", 0xA434: "SUMMILUX 28"}
    more = [_preview(second)] if second else []
    return tiff(main, below, *more, exif=exif, start=start)


def _preview(preview: Image.Image | bytes) -> Tags:
    picture = Image.open(io.BytesIO(preview)) if isinstance(preview, bytes) else preview
    jpeg = isinstance(preview, bytes)
    content = Blob(preview if isinstance(preview, bytes) else preview.tobytes())
    return {
        0x00FE: 1, 0x0100: picture.width, 0x0101: picture.height, 0x0102: (8, 8, 8),
        0x0103: (7 if jpeg else 1,), 0x0106: (6 if jpeg else 2,), 0x0111: content, 0x0115: (3,),
        0x0116: picture.height, 0x0117: len(content),
    }  # fmt: skip


def of_every_kind() -> dict[str, bytes]:
    """Small good files of the formats whose decoders are the most complicated."""
    picture, preview = scene(), encoded(scene())
    return {
        "HEIC": heic(picture), "HEIC grid": heic(picture, tile_size=64),
        "HEIC with alpha": heic(picture.convert("RGBA")), "HEIC of 10 bits": heic(picture, depth=10),
        "grey HEIC": heic(picture.convert("L")), "AVIF": encoded(picture, "AVIF"),
        "DNG": raw(picture, preview), "DNG without preview": raw(picture),
        "DNG with a bitmap": raw(picture, picture), "RAF": raf(picture, preview),
        "NEF": raw(picture, preview, make="NIKON CORPORATION", dng=False),
        "RW2": raw(picture, preview, make="Panasonic", dng=False, start=b"IIU\x00"),
        "TIFF": encoded(picture, "TIFF"),
        "LZW TIFF": encoded(picture, "TIFF", compression="tiff_lzw"),
    }  # fmt: skip


def mutated(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Copies with single bytes, whole numbers or stretches changed, mostly near the start, where the
    structure of a file is."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        broken = bytearray(data)
        head = min(len(data), int(rng.choice([200, 600, 2000, len(data)])))
        first, last = sorted(int(place) for place in rng.integers(0, len(data), 2))
        match int(rng.integers(0, 5)):
            case 0 | 1:
                for place in rng.integers(0, head, int(rng.integers(1, 12))):
                    broken[place] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(0, 256)]))
            case 2:
                place = int(rng.integers(0, head - 4))
                number = int(rng.choice([0, 1, 65_535, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
                order = "little" if rng.integers(0, 2) else "big"
                broken[place : place + 4] = number.to_bytes(4, order)
            case 3:
                del broken[last:]
            case _:
                broken[first:last] = data[first : first + 500] if rng.integers(0, 2) else b""
        yield bytes(broken)


def hostile() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of files that must be refused with a reason or decoded, never more."""
    good = {
        name: encoded(scene(), name)
        for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")
    }
    small, preview = scene(160, 100), encoded(scene(160, 100))
    good |= {"HEIC": heic(scene()), "DNG": raw(small, preview), "DNG without preview": raw(small)}
    rng = np.random.default_rng(7)
    for name, data in good.items():
        for cut in (0, 1, 8, 20, len(data) // 3, len(data) // 2, len(data) - 40, len(data) - 1):
            yield f"{name} cut at {cut}", data[:cut]
        for n in range(6):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 2 + 10 * n):
                broken[place] = rng.integers(0, 256)
            yield f"{name} with flipped bytes {n}", bytes(broken)
        yield f"{name} with noise behind its header", data[:40] + rng.bytes(3000)
    yield "random bytes", rng.bytes(10_000)
    yield "text", b"hello " * 100
    yield "web page", b"<!DOCTYPE html><html></html>"
    yield (
        "drawing",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    )
    yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    yield "PDF", b"%PDF-1.4"
    yield "HEIC", b"\x00\x00\x00\x18ftypheic" + b"\x00" * 50
    yield "PNG of 10 gigapixels", png(100_000, 100_000, data=False)
    yield "PNG without data", png(5000, 5000, data=False)
    yield "PNG of 2³¹ columns", png(2**31 - 1, 1, data=False)
    yield "2,000 scans", many_scans(2000, 64)
    yield "profile of noise", encoded(scene(), icc_profile=rng.bytes(5000))
    yield "profile cut", encoded(scene(), icc_profile=swapped_profile()[:200])
    yield (
        "EXIF of noise",
        encoded(scene(), exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + rng.bytes(500)),
    )
    yield (
        "BMP of huge size",
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
    )
    yield (
        "GIF of 65535²",
        b"GIF89a\xff\xff\xff\xff\x80\x00\x00"
        + b"\x00" * 6
        + b",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x01\x00\x00;",
    )
    yield (
        "TIFF that points at itself",
        b"II*\x00\x08\x00\x00\x00"
        + b"\x01\x00\x00\x01\x03\x00\x01\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00\x00",
    )
