"""Lists of photo addresses as bytes → rows. Pure; the formats that people have at hand.

Text (one address a line, # comments), CSV and TSV (a header with an address column), JSON (an array
of addresses or objects, or an object that holds one) and NDJSON. A row that can't be read becomes a
BadRow, and the rest goes on.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from app.core.errors import BadInput

MAX_LIST_BYTES = 64_000_000
MAX_LINE_BYTES = 1_000_000
HEAD_BYTES = 65_536
WHAT_A_LIST_IS = "A list is text (one address a line), CSV, JSON or NDJSON."

URL_COLUMNS = (
    "url", "uri", "link", "image", "image_url", "imageurl", "photo_url", "href", "src", "photo",
    "file", "path", "address",
)  # fmt: skip
TITLE_COLUMNS = ("title", "name", "caption")
TIME_COLUMNS = ("taken_at", "time", "datetime", "date", "timestamp", "taken")
PHOTOGRAPHER_COLUMNS = ("photographer", "author", "credit", "artist", "by")
_ARRAYS = ("photos", "items", "images", "urls", "results", "data")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\x00", b"MM\x00*", b"\x00\x00\x00")


class ListFormat(StrEnum):
    TEXT = "text"
    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class Row:
    address: str
    title: str | None = None
    taken_at: datetime | None = None
    photographer: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """`raw` is the entry as it can be shown."""

    raw: str
    reason: str
    message: str


def recognise_format(head: bytes, name: str = "") -> ListFormat:
    """The format from the first bytes (a BOM removed, UTF-8) and the file's name or media type.

    Raises BadInput for a web page, a picture or other binary data.
    """
    start = head.lstrip()
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        raise BadInput("That is a picture, not a list of photo addresses.", cure=WHAT_A_LIST_IS)
    if start.startswith(b"<"):
        raise BadInput("That is a web page, not a list of photo addresses.", cure=WHAT_A_LIST_IS)
    if b"\x00" in head:
        raise BadInput("That is not a list of photo addresses.", cure=WHAT_A_LIST_IS)
    if name.endswith(("ndjson", "jsonl")):
        return ListFormat.NDJSON
    first, _, rest = start.partition(b"\n")
    if start.startswith(b"["):
        return ListFormat.JSON
    if start.startswith((b"{", b'"')):
        complete = _loads(first) is not None
        if complete and (rest.strip() or start.startswith(b'"')):
            return ListFormat.NDJSON
        if start.startswith(b"{"):
            return ListFormat.JSON
    if name.endswith("json"):
        return ListFormat.JSON
    if name.endswith(("csv", "tsv")) or _header(first.decode("utf-8", "replace")) is not None:
        return ListFormat.TABLE
    return ListFormat.TEXT


def _loads(raw: bytes | str) -> object | None:
    try:
        found: object = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found


async def utf8_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes without a BOM; UTF-16 with a BOM (Excel's “Unicode text”) becomes UTF-8."""
    decoder: codecs.IncrementalDecoder | None = None
    start: bytes | None = b""
    async for chunk in chunks:
        piece = chunk
        if start is not None:
            start += chunk
            if len(start) < len(codecs.BOM_UTF8):
                continue
            piece, start = start, None
            if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                decoder = codecs.getincrementaldecoder("utf-16")("replace")
            piece = piece.removeprefix(codecs.BOM_UTF8)
        yield decoder.decode(piece).encode("utf-8", "replace") if decoder else piece
    if start:
        yield start


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines without their ends (LF, CRLF). Raises BadInput where a line is longer than 1 MB."""
    left = b""
    async for chunk in chunks:
        *whole, left = (left + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        if len(left) > MAX_LINE_BYTES:
            raise BadInput("A line of the list is longer than 1 MB.", cure=WHAT_A_LIST_IS)
    if left:
        yield left.removesuffix(b"\r")


def _decoded(line: bytes) -> str | BadRow:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return BadRow(
            line.decode("latin-1"), "bad-encoding", "The line is not UTF-8; save the list as UTF-8."
        )


async def rows_of_text(lines: AsyncIterator[bytes]) -> AsyncIterator[Row | BadRow]:
    async for line in lines:
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        text = _decoded(line)
        yield Row(text.strip()) if isinstance(text, str) else text


async def rows_of_ndjson(lines: AsyncIterator[bytes]) -> AsyncIterator[Row | BadRow]:
    async for line in lines:
        if not line.strip():
            continue
        text = _decoded(line)
        if isinstance(text, BadRow):
            yield text
            continue
        found = _loads(text)
        yield (
            BadRow(text[:200], "bad-entry", "The line is not JSON.")
            if found is None
            else _row_of_json(found)
        )


def rows_of_json(raw: bytes) -> Iterator[Row | BadRow]:
    """Raises BadInput where it is not JSON, or holds no array of entries."""
    try:
        found = json.loads(raw)
    except UnicodeDecodeError as error:
        raise BadInput("The JSON list is not UTF-8.", cure="Save it as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise BadInput(
            f"The list is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput("The list is not JSON that can be read.") from error
    if isinstance(found, dict):
        arrays = [found[key] for key in _ARRAYS if isinstance(found.get(key), list)]
        found = arrays[0] if arrays else [found] if _first(_folded(found), URL_COLUMNS) else None
    if not isinstance(found, list):
        raise BadInput(
            "The JSON holds no list of photos.", cure='Expected [..] or {"photos": [..]}.'
        )
    for entry in found:
        yield _row_of_json(entry)


def _folded(entry: dict[str, object]) -> dict[str, str]:
    """Column → text, with names in one spelling; nested values are left out."""
    return {
        _column(name): str(value).strip()
        for name, value in entry.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }


def _row_of_json(entry: object) -> Row | BadRow:
    if isinstance(entry, str):
        return Row(entry.strip())
    if isinstance(entry, dict):
        columns = _folded(entry)
        if _first(columns, URL_COLUMNS):
            return _row(columns)
    shown = json.dumps(entry, ensure_ascii=False)[:200]
    return BadRow(shown, "bad-entry", "The entry has no address; expected a text or an “url”.")


async def rows_of_table(lines: AsyncIterator[bytes]) -> AsyncIterator[Row | BadRow]:
    """CSV or TSV. Without a header row, the first row has to hold an address itself.

    Raises BadInput where no column holds addresses.
    """
    names: list[str] | None = None
    delimiter = ","
    async for record in _records(lines):
        if not record.strip():
            continue
        text = _decoded(record)
        if isinstance(text, BadRow):
            yield text
            continue
        if names is None:
            delimiter = _delimiter(text)
            cells = _cells(text, delimiter)
            names = [_column(cell) for cell in cells]
            if any(name in URL_COLUMNS for name in names):
                continue
            names = _names_without_header(cells)
        columns = dict(zip(names, _cells(text, delimiter), strict=False))
        if _first(columns, URL_COLUMNS):
            yield _row(columns)
        else:
            yield BadRow(text[:200], "bad-entry", "The row has no address.")


def _names_without_header(cells: list[str]) -> list[str]:
    if not any("://" in cell for cell in cells):
        shown = ", ".join(cell.strip()[:30] for cell in cells[:12])
        raise BadInput(
            f"The table has no column of addresses; its columns are: {shown}.",
            cure=f"Name one of them {', '.join(URL_COLUMNS[:4])}.",
        )
    return ["url" if "://" in cell else "" for cell in cells]


MOST_LINES_A_RECORD = 20
_QUOTE = ord('"')
_CELL_ENDS = b",;\t|\n"


async def _records(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Joins the lines of a record whose quoted cell holds a line break.

    A quote that is never closed is a slip of the pen: its lines are then records of their own, so
    that it costs nothing but itself.
    """
    held: list[bytes] = []
    async for line in lines:
        held.append(line)
        record = b"\n".join(held)
        if not _inside_quotes(record):
            yield record
            held = []
        elif len(held) > MOST_LINES_A_RECORD or len(record) > HEAD_BYTES:
            for each in held:
                yield each
            held = []
    for each in held:
        yield each


def _inside_quotes(record: bytes) -> bool:
    """Whether a quoted cell is still open at the end (RFC 4180: a quote opens at a cell's start)."""
    inside, at_start = False, True
    previous = 0
    for byte in record:
        if inside:
            inside = byte != _QUOTE
        elif byte == _QUOTE and (at_start or previous == _QUOTE):
            inside = True
        at_start = not inside and byte in _CELL_ENDS
        previous = byte
    return inside


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return text.split(delimiter)


def _delimiter(header: str) -> str:
    return max(",;\t|", key=header.count)


def _header(line: str) -> list[str] | None:
    names = [_column(cell) for cell in _cells(line, _delimiter(line))]
    return names if any(name in URL_COLUMNS for name in names) else None


def _column(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _first(columns: dict[str, str], names: Iterable[str]) -> str | None:
    return next((columns[name].strip() for name in names if columns.get(name, "").strip()), None)


def _row(columns: dict[str, str]) -> Row:
    return Row(
        address=_first(columns, URL_COLUMNS) or "",
        title=_first(columns, TITLE_COLUMNS),
        taken_at=parse_time(_first(columns, TIME_COLUMNS)),
        photographer=_first(columns, PHOTOGRAPHER_COLUMNS),
    )


def parse_time(text: str | None) -> datetime | None:
    """ISO 8601, EXIF's YYYY:MM:DD HH:MM:SS, or seconds since 1970; None for anything else."""
    if not text:
        return None
    try:
        if text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit():
            # Eight digits are a date (20260714), not a second of 1970.
            if len(text) != 8:
                return datetime.fromtimestamp(float(text), UTC)
        elif text[4:5] == ":" and text[7:8] == ":":
            text = f"{text[:4]}-{text[5:7]}-{text[8:]}"
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
