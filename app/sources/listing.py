"""A list of photo addresses: a file, or a URL, in any format of rows.py."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.core.errors import BadInput, ForbiddenAddress, PhotoRejected
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.sources import rows
from app.sources.addresses import AddressPolicy
from app.sources.files import open_within, path_of, version_of
from app.sources.http import Fetcher
from app.sources.rows import BadRow, ListFormat, Row

_LIST_HEADERS = {"Accept-Encoding": "gzip, deflate"}


class ListSource:
    """Photos named by a list.

    Addresses are web addresses, relative ones counting from the list's own. A list that is a local
    file may also name files in its folder or below. `duplicates` counts the entries that repeat an
    earlier one, and `version` is the list's ETag (or size and time); both are set by `discover`.
    """

    kind = "list"
    revalidates = True
    scales = False

    def __init__(self, uri: str, fetcher: Fetcher, policy: AddressPolicy | None = None) -> None:
        self.uri = uri
        self.duplicates = 0
        self.version: str | None = None
        self._fetcher = fetcher
        self._policy = policy or fetcher.policy
        self._path: Path | None = None if is_web(uri) else path_of(uri).absolute()

    async def discover(self) -> AsyncIterator[Locator | BadEntry]:
        """Raises BadInput where it is no list or missing, SourceUnavailable where it fails now."""
        self.duplicates = 0
        seen: set[bytes] = set()
        async for row in self._rows():
            entry = await self._entry(row)
            digest = hashlib.blake2b(entry.key.encode("utf-8", "replace"), digest_size=16).digest()
            if digest in seen:
                self.duplicates += 1
                continue
            seen.add(digest)
            yield entry

    def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AbstractAsyncContextManager[PhotoStream]:
        if is_web(locator.uri):
            return self._fetcher.open(locator.uri, unless=unless)
        if self._path is None:
            raise ForbiddenAddress("A list on the web can't name files of this machine.")
        return open_within(self._path.parent, path_of(locator.uri))

    async def _rows(self) -> AsyncIterator[Row | BadRow]:
        chunks = rows.utf8_chunks(self._chunks())
        head = b""
        async for chunk in chunks:
            head += chunk
            if len(head) >= rows.HEAD_BYTES:
                break
        everything = _chain(head, chunks)
        list_format = rows.recognise_format(head[: rows.HEAD_BYTES], self._name())
        if list_format is ListFormat.JSON:
            for row in rows.rows_of_json(await _gathered(everything)):
                yield row
            return
        parse = {
            ListFormat.TEXT: rows.rows_of_text,
            ListFormat.TABLE: rows.rows_of_table,
            ListFormat.NDJSON: rows.rows_of_ndjson,
        }[list_format]
        async for row in parse(rows.lines_of(everything)):
            yield row

    def _name(self) -> str:
        """What the format may be told from: the file's name, without a query."""
        return (
            unquote(urlsplit(self.uri).path).lower()
            if is_web(self.uri)
            else str(self._path).lower()
        )

    async def _chunks(self) -> AsyncIterator[bytes]:
        if self._path is not None:
            async for chunk in self._file_chunks(self._path):
                yield chunk
            return
        # Read at once: the fetcher's deadline must not run while the rows are being stored.
        held: list[bytes] = []
        try:
            async with self._fetcher.open(self.uri, headers=_LIST_HEADERS) as stream:
                self.version = stream.version
                async for chunk in _limited(stream.chunks()):
                    held.append(chunk)
        except PhotoRejected as error:
            raise BadInput(f"The list can't be read: {error.message}", cure=error.cure) from error
        for chunk in held:
            yield chunk

    async def _file_chunks(self, path: Path) -> AsyncIterator[bytes]:
        try:
            self.version = version_of(await asyncio.to_thread(path.stat))
            if await asyncio.to_thread(path.is_dir):
                raise BadInput(f"{path} is a folder, not a list.", cure="Use the kind “folder”.")
            async with open_within(path.resolve().parent, path) as stream:
                async for chunk in stream.chunks():
                    yield chunk
        except FileNotFoundError as error:
            raise BadInput(f"There is no file {path}.") from error
        except (PhotoRejected, OSError, ValueError) as error:
            raise BadInput(f"The list {path} can't be read: {error}") from error

    async def _entry(self, row: Row | BadRow) -> Locator | BadEntry:
        if isinstance(row, BadRow):
            return _bad(row.raw, row.reason, row.message)
        try:
            if self._path is not None and not _has_scheme(row.address):
                return await asyncio.to_thread(self._file, self._path, row)
            base = None if self._path is not None else self.uri
            address = str(self._policy.check_url(row.address, base))
        except PhotoRejected as error:
            return _bad(row.address, error.reason, str(error))
        return _locator(row, address)

    def _file(self, listed_in: Path, row: Row) -> Locator | BadEntry:
        path = listed_in.parent / row.address
        try:
            real = path.resolve()
            if not real.is_relative_to(listed_in.parent.resolve()):
                return _bad(
                    row.address, "outside-folder", "The file lies outside the list's folder."
                )
            if not real.is_file():
                return _bad(
                    row.address, "bad-address", "Neither a web address nor a file beside the list."
                )
            found = real.stat()
        except (OSError, ValueError, RuntimeError) as error:
            return _bad(row.address, "bad-address", f"The file can't be used: {error}.")
        return _locator(row, real.as_uri(), version=version_of(found), size=found.st_size)


def is_web(uri: str) -> bool:
    return uri[:8].lower().startswith(("http://", "https://"))


def _has_scheme(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def _locator(row: Row, uri: str, *, version: str | None = None, size: int | None = None) -> Locator:
    return Locator(
        key=uri,
        uri=uri,
        title=row.title,
        taken_at=row.taken_at,
        photographer=row.photographer,
        version=version,
        size=size,
    )


def _bad(raw: str, reason: str, message: str) -> BadEntry:
    # NUL can't be stored in PostgreSQL text; the key counts the content so that it is stable when
    # lines move.
    shown = raw.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:500]
    digest = hashlib.blake2b(raw.encode("utf-8", "replace"), digest_size=12).hexdigest()
    return BadEntry(key=f"bad-entry:{digest}", uri=shown, reason=reason, message=message)


async def _chain(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for chunk in rest:
        yield chunk


async def _limited(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > rows.MAX_LIST_BYTES:
            raise BadInput(f"The list is larger than {rows.MAX_LIST_BYTES // 1_000_000} MB.")
        yield chunk


async def _gathered(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in _limited(chunks)])
