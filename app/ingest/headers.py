"""What the first bytes of a file say, read without decoding anything."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_SCAN, _END = 0xDA, 0xD9
_SEQUENTIAL, _PROGRESSIVE = {0xC0, 0xC1, 0xC3, 0xC9, 0xCB}, {0xC2, 0xC6, 0xCA, 0xCE}
_STRANGERS = (
    (rb"\s*<(!doctype|html|head|body|\?xml|svg)", "a web page or an SVG drawing"),
    (
        rb"....ftyp(avci|avcs|j2ki|jpeg|vvic|evbi)",
        "a HEIF picture of a kind that can't be read yet",
    ),
    (rb"\x00\x00\x00\x0cJXL |\xff\x0a", "a JPEG XL picture, which can't be read yet"),
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"....ftyp", "a video"),
    (rb"\s*[\[{]", "a JSON answer"),
)


def jpeg_scans(data: bytes) -> int:
    """How many scans a JPEG decoder would run, or more where they are at most ten. Start-of-scan bytes
    inside other segments (an embedded thumbnail, a profile) do not count."""
    if _is_one_scan(data):
        return 1
    # FF DA can't occur inside a scan's coded data, so the plain count is an upper bound, and the
    # slow walk is for the few files where it is high.
    most = data.count(b"\xff\xda")
    if most <= 10:
        return most
    return sum(marker == _SCAN for marker, _ in _markers(data))


def _is_one_scan(data: bytes) -> bool:
    """Whether the first scan holds all components of a JPEG that isn't progressive: a decoder then
    takes no other (ITU-T T.81, B.2.3). Nearly all photos are so, and counting would cost a tenth of
    their scaled decode."""
    components = 0
    for marker, position in _markers(data):
        if marker in _PROGRESSIVE or position + 8 > len(data):
            return False
        if marker in _SEQUENTIAL:
            components = data[position + 7]
        elif marker == _SCAN:
            return 0 < components == data[position + 2]
    return False


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, position of its length) of each segment, in order."""
    position = 2
    while (match := _NEXT_MARKER.search(data, position)) is not None:
        marker, position = match[1][0], match.end()
        if marker == _END:
            return
        yield marker, position
        if marker not in (0x01, 0xD8):
            length = int.from_bytes(data[position : position + 2], "big")
            position += max(length, 2)


def webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) from a WebP's header (RFC 9649, 2.5 to 2.7); None for anything else. Pillow
    can only tell after libwebp has set aside memory for the whole picture."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[12:16] == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def what_is_it(data: bytes, formats: Sequence[str]) -> str:
    """One sentence for people about bytes that are no picture of one of `formats`."""
    for pattern, name in _STRANGERS:
        if re.match(pattern, data[:64], re.S | re.I):
            return f"The address answers with {name}, not with a photo."
    return f"It is not a picture of a supported format ({', '.join(formats)})."
