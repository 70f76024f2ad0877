"""What the camera wrote, tidied. Hostile or broken metadata yields None, never an exception.

Tags: CIPA DC-008 (Exif 3.0), sections 4.6.5 to 4.6.8.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from PIL import Image

from app.core.photos import Exif

_MAKE, _MODEL, _ORIENTATION, _DATE_TIME = 0x010F, 0x0110, 0x0112, 0x0132
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_EXPOSURE, _F_NUMBER, _ISO, _FOCAL, _LENS_MAKE, _LENS = (
    0x829A, 0x829D, 0x8827, 0x920A, 0xA433, 0xA434,
)  # fmt: skip
# Each time tag with the tag of its UTC offset; the moment of the exposure first.
_TIMES = ((0x9003, 0x9011), (0x9004, 0x9012))
_OFFSET_TIME = 0x9010
_EARLIEST_YEAR = 1826  # the oldest surviving photograph; scans are dated by hand

# Whatever Pillow's parser and our own arithmetic raise on damaged tags.
_DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, LookupError,
    OSError, SyntaxError, struct.error, RecursionError,
)  # fmt: skip

Tags = Mapping[int, object]


def read_tags(image: Image.Image) -> tuple[Tags, Tags, Tags]:
    """The main, Exif and GPS directories, empty where there are none or they can't be read.

    Call it after the pixels are loaded: PNG keeps its block behind them, and Pillow turns a TIFF
    while it loads and then removes the orientation.
    """
    try:
        return _parts(image.getexif())
    except _DAMAGE:
        return {}, {}, {}


def read_block(block: bytes) -> tuple[Tags, Tags, Tags]:
    """The same directories out of an EXIF block or a TIFF."""
    exif = Image.Exif()
    try:
        exif.load(block)
        return _parts(exif)
    except _DAMAGE:
        return {}, {}, {}


def _parts(exif: Image.Exif) -> tuple[Tags, Tags, Tags]:
    main: Tags = dict(exif)
    parts: list[Tags] = []
    for pointer in (_EXIF_IFD, _GPS_IFD):
        try:
            parts.append(dict(exif.get_ifd(pointer)))
        except _DAMAGE:
            parts.append({})
    return main, parts[0], parts[1]


def orientation_of(main: Tags) -> int:
    """1 to 8 as the standard counts them; 1 where it is absent or nonsense."""
    value = main.get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def parse_exif(main: Tags, exif: Tags, gps: Tags) -> Exif:
    """Never raises; a field that makes no sense is None."""
    latitude, longitude = _position(gps)
    return Exif(
        taken_at=_taken_at(main, exif),
        camera=_camera(_text(main.get(_MAKE)), _text(main.get(_MODEL))),
        lens=_camera(_text(exif.get(_LENS_MAKE)), _text(exif.get(_LENS))),
        exposure_time=_number(exif.get(_EXPOSURE), 0, 100_000),
        f_number=_number(exif.get(_F_NUMBER), 0, 1000),
        iso=_iso(exif.get(_ISO)),
        focal_length=_number(exif.get(_FOCAL), 0, 100_000),
        latitude=latitude,
        longitude=longitude,
    )


def _text(value: object, limit: int = 120) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    value = value.partition("\x00")[0]
    kept = "".join(c for c in value if c.isprintable() and c != "\ufffd")
    return " ".join(kept.split())[:limit] or None


def _camera(make: str | None, model: str | None) -> str | None:
    """“NIKON CORPORATION” and “NIKON D850” become “NIKON D850”; “Canon” and “EOS R5”, both."""
    if not make or not model:
        return model or make
    brand = make.split()[0]
    return model if model.casefold().startswith(brand.casefold()) else f"{brand} {model}"


def _number(value: object, above: float, below: float) -> float | None:
    """A single finite number strictly between the bounds. Pillow gives rationals their own type."""
    try:
        if isinstance(value, tuple | list):
            value = value[0]
        number = float(value)  # type: ignore[arg-type]  # NaN fails both comparisons below
    except _DAMAGE:
        return None
    return number if above < number < below else None


def _iso(value: object) -> int | None:
    number = _number(value, 0, 10_000_000)
    # 65535 stands for "does not fit here".
    return None if number is None or number == 65535 else round(number)


def _taken_at(main: Tags, exif: Tags) -> datetime | None:
    for time_tag, offset_tag in _TIMES:
        moment = _moment(_text(exif.get(time_tag)))
        if moment is not None:
            offset = _text(exif.get(offset_tag)) or _text(exif.get(_OFFSET_TIME))
            return _with_offset(moment, offset)
    moment = _moment(_text(main.get(_DATE_TIME)))
    return None if moment is None else _with_offset(moment, _text(exif.get(_OFFSET_TIME)))


def _moment(text: str | None) -> datetime | None:
    match = re.match(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?", text or "")
    if match is None:
        return None
    try:
        moment = datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        return None
    return moment if moment.year >= _EARLIEST_YEAR else None


def _with_offset(moment: datetime, offset: str | None) -> datetime:
    match = re.fullmatch(r"([+-])(\d\d):?(\d\d)", offset or "")
    if offset == "Z":
        return moment.replace(tzinfo=timezone.utc)  # noqa: UP017
    if match is None:
        return moment
    span = timedelta(hours=int(match[2]), minutes=int(match[3]))
    if span > timedelta(hours=15):
        return moment
    return moment.replace(tzinfo=timezone(-span if match[1] == "-" else span))


def _position(gps: Tags) -> tuple[float | None, float | None]:
    latitude = _degrees(gps.get(2), gps.get(1), "S", 90.0)
    longitude = _degrees(gps.get(4), gps.get(3), "W", 180.0)
    if latitude is None or longitude is None:
        return None, None
    # Cameras without a fix write zeros; the true 0, 0 is open sea.
    return (None, None) if latitude == longitude == 0.0 else (latitude, longitude)


def _degrees(value: object, reference: object, negative: str, limit: float) -> float | None:
    try:
        parts: list[float] = [float(part) for part in value]  # type: ignore[attr-defined]
    except _DAMAGE:
        return None
    if not 1 <= len(parts) <= 3 or not all(math.isfinite(part) and part >= 0 for part in parts):
        return None
    degrees = sum(part / 60.0**place for place, part in enumerate(parts))
    if degrees > limit:
        return None
    south_or_west = (_text(reference) or "").upper().startswith(negative)
    return -degrees if south_or_west else degrees
