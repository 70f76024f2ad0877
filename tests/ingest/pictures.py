"""Pictures made for the tests: good ones, and those that try to break a decoder."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image


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
    picture.save(buffer, image_format, **({"quality": 95} | options))
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


def swapped_profile() -> bytes:
    """An ICC profile (ICC.1:2001-04) whose red is sRGB's green and the other way round."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ " + b"\x00" * 4 + struct.pack(">iii", *(round(v * 65536) for v in (x, y, z)))

    text = b"swapped\x00"
    curve = b"curv" + b"\x00" * 4 + struct.pack(">IH", 1, round(2.2 * 256)) + b"\x00\x00"
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    tags = {
        b"desc": b"desc" + b"\x00" * 4 + struct.pack(">I", len(text)) + text + b"\x00" * 78,
        b"cprt": b"text" + b"\x00" * 4 + text,
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(*green), b"gXYZ": xyz(*red), b"bXYZ": xyz(*blue),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        padded = content + b"\x00" * (-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += padded
    header = bytearray(128)
    header[8:12] = b"\x02\x40\x00\x00"
    header[12:24] = b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">iii", 63190, 65536, 54061)
    header[0:4] = struct.pack(">I", offset + len(body))
    return bytes(header) + struct.pack(">I", len(tags)) + table + body


def hostile() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of files that must be refused with a reason or decoded, never more."""
    good = {
        name: encoded(scene(), name)
        for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")
    }
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
