"""What the first bytes of a file say, read without decoding anything."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_STRANGERS = (
    (rb"\s*<(!doctype|html|head|body|\?xml|svg)", "a web page or an SVG drawing"),
    (rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)", "a HEIC picture, which can't be read yet"),
    (rb"\x00\x00\x00\x0cJXL |\xff\x0a", "a JPEG XL picture, which can't be read yet"),
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"....ftyp", "a video"),
    (rb"\s*[\[{]", "a JSON answer"),
)


def jpeg_scans(data: bytes) -> int:
    """How many scans a JPEG decoder would run. Start-of-scan bytes inside other segments (an
    embedded thumbnail, a profile) do not count."""
    # FF DA can't occur inside a scan's coded data, so the plain count is an upper bound, and the
    # slow walk is for the few files where it is high.
    if data.count(b"\xff\xda") <= 10:
        return data.count(b"\xff\xda")
    scans, position = 0, 2
    while (match := _NEXT_MARKER.search(data, position)) is not None:
        marker, position = match[1][0], match.end()
        if marker == 0xD9:
            break
        if marker == 0xDA:
            scans += 1
        if marker not in (0x01, 0xD8):
            length = int.from_bytes(data[position : position + 2], "big")
            position += max(length, 2)
    return scans


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
