"""Which decoder a file belongs to, told by its content alone: names and endings lie.

Most camera RAW files are TIFFs, and many phones' files are boxes in boxes. Only a few fields of
either are read, and nothing is decoded; whatever is damaged is read as far as it makes sense.
References: TIFF 6.0, section 2; DNG 1.7; ISO/IEC 14496-12 (boxes), 23008-12 (items, properties).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_MAKE, _COMPRESSION, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = (
    0x010F, 0x0103, 0x0106, 0x014A, 0xC612,
)  # fmt: skip
_WANTED = {_MAKE, _COMPRESSION, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION}
_SENSOR = {32803, 34892}  # colour filter array, linear raw
# Sony, Samsung, Nikon, Kodak, Pentax: no other TIFF is compressed so.
_SENSOR_COMPRESSION = {32767, 32770, 34713, 65000, 65535}
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 13: 4}
_MOST_DIRECTORIES, _MOST_VALUES, _MOST_BOXES = 32, 256, 4096

_RAW_STARTS = (
    (rb"FUJIFILMCCD-RAW", "RAF"),
    (rb"II(RO|RS)|MMOR", "ORF"),
    (rb"IIU\x00", "RW2"),
    (rb"(II\*\x00|MM\x00\*).{4}CR\x02", "CR2"),
    (rb"....ftypcrx ", "CR3"),
    (rb"II\x1a\x00..HEAPCCDR", "CRW"),
    (rb"\x00MRM", "MRW"),
    (rb"FOVb", "X3F"),
)
_RAW_MAKES = (
    ("nikon", "NEF"), ("sony", "ARW"), ("pentax", "PEF"), ("ricoh", "PEF"), ("samsung", "SRW"),
    ("hasselblad", "3FR"), ("phase one", "IIQ"), ("leaf", "MOS"), ("canon", "TIF"),
    ("seiko epson", "ERF"), ("mamiya", "MEF"), ("kodak", "DCR"), ("eastman kodak", "DCR"),
)  # fmt: skip
_HEVC_BRANDS = {
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
}  # fmt: skip
_STRUCTURAL_BRANDS = {b"mif1", b"msf1", b"mif2"}
_AV1_BRANDS = {b"avif", b"avis"}
_CANON = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")

Values = tuple[int, ...] | bytes


def raw_kind(data: bytes) -> str | None:
    """The usual ending of this kind of camera RAW file in upper case, None where it is none.

    A TIFF is RAW where it says that it is a DNG or holds what a sensor saw, not by its maker: scanners
    and editors write the camera's name into ordinary TIFFs too.
    """
    for start, kind in _RAW_STARTS:
        if re.match(start, data[:32], re.S):
            return kind
    make, sensor = "", False
    for tags in _directories(data):
        if _DNG_VERSION in tags:
            return "DNG"
        text = tags.get(_MAKE, b"")
        if not make and isinstance(text, bytes):
            make = text.decode("latin-1").strip("\x00 ").lower()
        sensor = sensor or _one(tags, _PHOTOMETRIC) in _SENSOR
        sensor = sensor or _one(tags, _COMPRESSION) in _SENSOR_COMPRESSION
    if not sensor:
        return None
    return next((kind for name, kind in _RAW_MAKES if make.startswith(name)), "RAW")


def _one(tags: dict[int, Values], tag: int) -> int | None:
    values = tags.get(tag)
    return values[0] if values else None


def _directories(data: bytes) -> Iterator[dict[int, Values]]:
    """The wanted tags of a TIFF's directories and of those below them, each at most once."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return
    waiting, seen = [*struct.unpack_from(order + "I", data, 4)], set[int]()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        offset = waiting.pop(0)
        if not 8 <= offset < len(data) - 2 or offset in seen:
            continue
        seen.add(offset)
        (count,) = struct.unpack_from(order + "H", data, offset)
        end = offset + 2 + 12 * count
        tags = _tags(data[offset + 2 : end], data, order)
        yield tags
        below = tags.get(_SUB_DIRECTORIES, ())
        waiting += [place for place in below if place]
        if end + 4 <= len(data):
            waiting += struct.unpack_from(order + "I", data, end)


def _tags(entries: bytes, data: bytes, order: str) -> dict[int, Values]:
    tags: dict[int, Values] = {}
    whole = len(entries) // 12 * 12
    for tag, kind, count, place in struct.iter_unpack(order + "HHI4s", entries[:whole]):
        size = _TYPE_SIZES.get(kind, 0) * count
        if tag not in _WANTED or not 0 < size <= _MOST_VALUES:
            continue
        (offset,) = struct.unpack(order + "I", place)
        content = place[:size] if size <= 4 else data[offset : offset + size]
        if len(content) == size:
            form = {3: "H", 4: "I", 13: "I"}.get(kind)
            tags[tag] = struct.unpack(f"{order}{count}{form}", content) if form else content
    return tags


def is_heif(data: bytes) -> bool:
    """Whether it is a HEIF file that libheif should open: HEIC and its relatives, but not AVIF."""
    brands = _brands(data)
    if not brands or brands[0] in _AV1_BRANDS:
        return False
    if brands[0] in _HEVC_BRANDS:
        return True
    return brands[0] in _STRUCTURAL_BRANDS and not _AV1_BRANDS & set(brands)


def _brands(data: bytes) -> list[bytes]:
    """The major brand and the compatible ones."""
    for name, start, end in boxes(data, 0, len(data)):
        if name != b"ftyp":
            break
        body = data[start : min(end, start + 1024)]
        return [body[:4], *(body[place : place + 4] for place in range(8, len(body) - 3, 4))]
    return []


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start and end of the content) of the boxes that lie side by side in a range."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, name = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        elif size == 0:
            size = end - start
        if start + size < body or start + size > end:
            return
        yield name, body, start + size
        start += size


def _inside(data: bytes, name: bytes, start: int, end: int) -> tuple[int, int]:
    """Content of the first box of that name, an empty range where there is none."""
    return next(((a, b) for found, a, b in boxes(data, start, end) if found == name), (0, 0))


def coded_colour(data: bytes) -> tuple[int, int] | None:
    """(colour primaries, transfer characteristics) of an AVIF's or HEIF's primary image as ITU-T
    H.273 numbers them; None where the file doesn't say."""
    for name, content in _main_properties(data):
        if name == b"colr" and content[:4] == b"nclx" and len(content) >= 8:
            primaries, transfer = struct.unpack_from(">HH", content, 4)
            return primaries, transfer
    return None


def has_turn(data: bytes) -> bool:
    """Whether an AVIF's or HEIF's container says how its primary image is to be turned."""
    return any(name in (b"irot", b"imir") for name, _ in _main_properties(data))


def _main_properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and first 64 bytes of each property of the primary image; none where that is damaged."""
    try:
        meta, end = _inside(data, b"meta", 0, len(data))
        meta += 4  # version and flags
        main, _ = _inside(data, b"pitm", meta, end)
        (item,) = struct.unpack_from(">I" if data[main] else ">H", data, main + 4)
        properties = _inside(data, b"iprp", meta, end)
        known = [
            (name, data[first : min(last, first + 64)])
            for name, first, last in boxes(data, *_inside(data, b"ipco", *properties))
        ]
        numbers = _properties_of(item, data, *_inside(data, b"ipma", *properties))
    except (struct.error, IndexError):
        return []
    return [known[number - 1] for number in numbers if 0 < number <= len(known)]


def _properties_of(item: int, data: bytes, start: int, end: int) -> list[int]:
    """Numbers of the item's properties, counted from 1. Raises struct.error or IndexError."""
    wide_items, wide_numbers = data[start] > 0, data[start + 3] & 1
    (entries,) = struct.unpack_from(">I", data, start + 4)
    place = start + 8
    for _ in range(min(entries, end - place)):
        (found,) = struct.unpack_from(">I" if wide_items else ">H", data, place)
        place += 4 if wide_items else 2
        count, size = data[place], 2 if wide_numbers else 1
        if found == item:
            numbers = struct.unpack_from(f">{count}{'H' if wide_numbers else 'B'}", data, place + 1)
            return [number & (0x7FFF if wide_numbers else 0x7F) for number in numbers]
        place += 1 + count * size
    return []


def canon_tags(data: bytes) -> list[bytes]:
    """The main, Exif and GPS directories of a CR3 file, each as a TIFF; empty where one is missing."""
    moov = _inside(data, b"moov", 0, len(data))
    for name, start, end in boxes(data, *moov):
        if name == b"uuid" and data[start : start + 16] == _CANON:
            spans = [_inside(data, each, start + 16, end) for each in (b"CMT1", b"CMT2", b"CMT4")]
            return [data[first:last] for first, last in spans]
    return [b"", b"", b""]
