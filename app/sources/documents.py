"""A web address → what it leads to: a page, a sitemap, an IIIF document, a list, a picture."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from app.core.errors import PhotoRejected
from app.sources.http import Fetcher, HttpStream
from app.sources.robots import AGENT, LONGEST_PAGE_PAUSE, Robots, refused

MAX_PAGE_BYTES = 8_000_000
MAX_SITEMAP_BYTES = 52_428_800
"""sitemaps.org: 50 MB uncompressed."""
HEAD_BYTES = 16_384
"""What the kind of a document is told from."""

_HEADERS = {"Accept-Encoding": "gzip, deflate", "Accept": "text/html, */*;q=0.8"}
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\x00", b"MM\x00*")
_GZIP = b"\x1f\x8b"
_NAMED_DIRECTIVES = frozenset(
    ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
)


class Form(StrEnum):
    PAGE = "page"
    SITEMAP = "sitemap"
    IIIF = "iiif"
    LIST = "list"
    PICTURE = "picture"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Document:
    """`body` is complete for pages and sitemaps, and empty for all else. `url` is where redirects
    ended. `next_url` and `directives` are of the headers Link and X-Robots-Tag."""

    url: str
    form: Form
    content_type: str
    body: bytes = b""
    charset: str | None = None
    next_url: str | None = None
    directives: frozenset[str] = frozenset()


class Reader:
    """Reads documents as their hosts' robots.txt allows."""

    def __init__(self, fetcher: Fetcher, robots: Robots) -> None:
        self.robots = robots
        self._fetcher = fetcher

    async def read(self, url: str) -> Document:
        """Raises PhotoRejected (also where robots.txt refuses) and SourceUnavailable."""
        await self.robots.admit(url, LONGEST_PAGE_PAUSE)
        async with self._fetcher.open(url, headers=_HEADERS) as stream:
            document = await _document(stream)
        if document.url != url and not await self.robots.allows(document.url):
            raise refused(document.url)
        return document


async def _document(stream: HttpStream) -> Document:
    headers = stream.headers
    chunks = stream.chunks()
    head = await _head(stream.content_type, chunks)
    form = _form(stream.content_type, head)
    body = b""
    if form is Form.PAGE:
        body = await _rest(stream, head, chunks, MAX_PAGE_BYTES)
    elif form is Form.SITEMAP or head.startswith(_GZIP):
        body = await _rest(stream, head, chunks, MAX_SITEMAP_BYTES)
        if body.startswith(_GZIP):
            body = await asyncio.to_thread(_unpacked, stream.url, body)
            form = _form("", body[:HEAD_BYTES])
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", headers.get("Content-Type", ""))
    return Document(
        stream.url,
        form,
        stream.content_type,
        body if form in (Form.PAGE, Form.SITEMAP) else b"",
        charset[1] if charset else None,
        _next(", ".join(headers.getall("Link", ()))),
        _directives(headers.getall("X-Robots-Tag", ())),
    )


async def _head(content_type: str, chunks: AsyncIterator[bytes]) -> bytes:
    head = b""
    if content_type.startswith("image/"):
        return head
    async for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    return head


async def _rest(stream: HttpStream, head: bytes, chunks: AsyncIterator[bytes], limit: int) -> bytes:
    parts, total = [head], len(head)
    async for chunk in chunks:
        parts.append(chunk)
        total += len(chunk)
        if total > limit:
            raise _over(stream.url, limit)
    if total > limit:
        raise _over(stream.url, limit)
    return b"".join(parts)


def _over(url: str, limit: int) -> PhotoRejected:
    return PhotoRejected("too-large", f"{url} is larger than {limit / 1e6:.0f} MB.")


def _unpacked(url: str, body: bytes) -> bytes:
    """A file compressed by gzip, which is not the response's encoding (sitemap.xml.gz)."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        plain = unpacking.decompress(body, MAX_SITEMAP_BYTES + 1)
    except zlib.error as error:
        raise PhotoRejected("damaged", f"{url} is damaged: {error}.") from error
    if len(plain) > MAX_SITEMAP_BYTES:
        raise _over(url, MAX_SITEMAP_BYTES)
    return plain


def _form(content_type: str, head: bytes) -> Form:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:4096]
    if content_type.startswith("image/") or head.startswith(_PICTURES) or _is_webp(head):
        return Form.OTHER if "svg" in content_type else Form.PICTURE
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        start = start.replace(b"\x00", b"")[2:].lstrip()
    if start.startswith(b"<"):
        return _form_of_markup(content_type, start)
    if b"\x00" in start or content_type in ("application/pdf", "application/zip"):
        return Form.OTHER
    if start[:1] in (b"{", b"[") and b"iiif.io/api/presentation/" in head:
        return Form.IIIF
    return Form.PAGE if "html" in content_type and b"<" in start else Form.LIST


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _form_of_markup(content_type: str, start: bytes) -> Form:
    root = re.search(rb"<([a-zA-Z][\w:.-]*)", re.sub(rb"<!--.*?-->", b"", start, flags=re.S))
    name = root[1].lower().rpartition(b":")[2] if root else b""
    if name in (b"urlset", b"sitemapindex"):
        return Form.SITEMAP
    if "html" in content_type or name == b"html" or b"<!doctype html" in start[:500].lower():
        return Form.PAGE
    return Form.OTHER if start.startswith(b"<?xml") or "xml" in content_type else Form.PAGE


def _next(link: str) -> str | None:
    """The rel=next of a Link header (RFC 8288)."""
    for found in re.finditer(r"<([^<>]{1,8000})>([^<]*)", link):
        relation = re.search(r";\s*rel\s*=\s*\"?([^\";,]*)", found[2], re.I)
        if relation and "next" in relation[1].lower().split():
            return found[1]
    return None


def _directives(values: list[str] | tuple[str, ...]) -> frozenset[str]:
    """What X-Robots-Tag asks of us, or of all: “noimageindex”, “clairvision: noimageindex”."""
    directives: set[str] = set()
    for value in values:
        agent = ""
        for piece in value.lower().split(","):
            name, mark, rest = (part.strip() for part in piece.partition(":"))
            if mark and name not in _NAMED_DIRECTIVES:
                agent, name = name, rest
            if agent in ("", AGENT.lower()):
                directives.add(name)
    return frozenset(directives)
