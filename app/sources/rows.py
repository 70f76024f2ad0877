"""Lists of photo addresses as bytes → rows. Pure; the formats that people have at hand.

Text (one address a line, # comments), CSV and TSV (a header with an address column), JSON (an array
of addresses or objects, or an object that holds one) and NDJSON. A row that can't be read becomes a
BadRow, and the rest goes on.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from app.core.errors import BadInput
from app.sources.suffixes import PHOTO_SUFFIXES

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
    shape: _Shape | None = None
    async for record in _records(lines):
        if not record.strip():
            continue
        text = _decoded(record)
        if isinstance(text, BadRow):
            yield text
            continue
        if shape is None:
            if (shape := _shape(text)) is None:
                raise _no_addresses(text)
            if _header(text) is not None:
                continue
        columns = dict(zip(shape.names, shape.cells(text), strict=False))
        if _first(columns, URL_COLUMNS):
            yield _row(columns)
        else:
            yield BadRow(text[:200], "bad-entry", "The row has no address.")


def _no_addresses(header: str) -> BadInput:
    cells = _cells(header, _delimiter(header))
    shown = ", ".join(cell.strip()[:30] for cell in cells[:12])
    return BadInput(
        f"The table has no column of addresses; its columns are: {shown}.",
        cure=f"Name one of them {', '.join(URL_COLUMNS[:4])}.",
    )


MOST_LINES_A_RECORD = 20
_ADDRESS = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*://|/\S)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a table is written."""

    delimiter: str
    names: list[str]

    def cells(self, record: str) -> list[str]:
        return _cells(record, self.delimiter, len(self.names))

    def has_address(self, line: str) -> bool:
        """Whether the line looks like a row: an address in its column, and no cell alone where the
        table has several, since a line of a long title may be a bare address."""
        cells = _cells(line, self.delimiter)
        if len(cells) < min(2, len(self.names)):
            return False
        surplus = max(0, len(cells) - len(self.names))
        for at, name in enumerate(self.names):
            # Commas in a title that should have been quoted push the address to the right.
            last = at + surplus if at else at
            if name in URL_COLUMNS and any(map(_is_address, cells[at : last + 1])):
                return True
        return False


def _shape(line: str) -> _Shape | None:
    """What a table's first line tells; None where it names no column of addresses and has none."""
    delimiter = _delimiter(line)
    names = _header(line)
    if names is None:
        names = ["url" if "://" in cell else "" for cell in _cells(line, delimiter)]
    return _Shape(delimiter, names) if any(names) else None


def _is_address(cell: str) -> bool:
    """A URL, a path from the root, or a photo's file name; none of them holds a quote."""
    ending = os.path.splitext(cell.strip().partition("?")[0])[1].lower()
    return '"' not in cell and (_ADDRESS.match(cell) is not None or ending in PHOTO_SUFFIXES)


async def _records(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Joins the lines of a record whose quoted cell holds a line break.

    A quote that is never closed is a slip of the pen: its lines are then records of their own, so
    that it costs nothing but itself. A record has one address; the line that brings a second one
    shows that the quote was such a slip.
    """
    shape: _Shape | None = None
    held: list[bytes] = []
    addressed = False
    async for line in lines:
        text = line.decode("utf-8", "replace")
        if shape is None:
            shape = _shape(text)
            brings_one = shape is not None
        elif not held and b'"' not in line:
            yield line
            continue
        else:
            brings_one = shape.has_address(text)
        if held and addressed and brings_one:
            for each in held:
                yield each
            held, addressed = [], False
        delimiter = shape.delimiter if shape is not None else _delimiter(text)
        is_open = _open_quote(text, delimiter, inside=bool(held)) is not None
        held.append(line)
        addressed = addressed or brings_one
        if is_open and len(held) <= MOST_LINES_A_RECORD and sum(map(len, held)) <= HEAD_BYTES:
            continue
        for each in held if is_open else [b"\n".join(held)]:
            yield each
        held, addressed = [], False
    for each in held:
        yield each


def _open_quote(text: str, delimiter: str, *, inside: bool = False) -> int | None:
    """Where the quoted cell began that is still open at the end; None where there is none.

    RFC 4180: a quote opens at a cell's start, and two of them inside are a letter. With `inside`
    an earlier line opened one, which counts as at 0.
    """
    began, at_start, closed = 0, not inside, False
    for at, letter in enumerate(text):
        if inside:
            inside, closed = letter != '"', letter == '"'
            continue
        if letter == '"' and (at_start or closed):
            inside, began = True, at if at_start else began
        at_start, closed = letter == delimiter, False
    return began if inside else None


def _cells(text: str, delimiter: str, width: int | None = None) -> list[str]:
    """A record's cells. A quote that is never closed is left out; of the delimiters after it as
    many are letters as make the record fit the table's `width`."""
    began = _open_quote(text, delimiter)
    if began is None:
        return _parsed(text, delimiter)
    before = _parsed(text[:began], delimiter)[:-1]
    after = text[began + 1 :].split(delimiter)
    surplus = max(0, len(before) + len(after) - width) if width is not None else 0
    return [*before, delimiter.join(after[: surplus + 1]), *after[surplus + 1 :]]


def _parsed(text: str, delimiter: str) -> list[str]:
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
