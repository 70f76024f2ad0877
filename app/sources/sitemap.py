"""Sitemaps (sitemaps.org), with Google's image extension, as a stream of entries.

`lastmod` is read over: it dates the page that shows a photo, never the photo itself, whose own
ETag or Last-Modified decides what is fetched again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax import SAXException
from xml.sax.handler import ContentHandler, feature_namespaces

from defusedxml.common import DefusedXmlException
from defusedxml.sax import make_parser

from app.core.errors import BadInput
from app.sources.captions import words

MOST_ENTRIES = 50_000
"""Of one file, by the protocol."""
MOST_IMAGES = 10_000
"""Of one page; Google takes 1,000."""
LONGEST_TEXT = 8_192
_PIECE = 65_536
_SITEMAP = "sitemaps.org/schemas/sitemap"
_IMAGE = "schemas/sitemap-image"


@dataclass(slots=True)
class SitemapImage:
    address: str
    title: str | None = None


@dataclass(slots=True)
class SitemapEntry:
    """A page with its images, or (`is_sitemap`) another sitemap."""

    address: str = ""
    is_sitemap: bool = False
    images: list[SitemapImage] = field(default_factory=list)


async def entries_of(url: str, body: bytes) -> AsyncIterator[SitemapEntry]:
    """The entries of one sitemap or index, in its order; at most as many as the protocol allows.

    Raises BadInput where it is no well-formed XML, or has what sitemaps have no use for (entities).
    """
    handler = _Handler()
    parser = make_parser()
    parser.forbid_dtd = True
    parser.setFeature(feature_namespaces, True)
    parser.setContentHandler(handler)
    count = 0
    try:
        for start in range(0, max(len(body), 1), _PIECE):
            parser.feed(body[start : start + _PIECE])
            for entry in handler.taken():
                yield entry
                count += 1
                if count >= MOST_ENTRIES:
                    return
            await asyncio.sleep(0)
        parser.close()
    except (SAXException, DefusedXmlException, ValueError, LookupError) as error:
        raise BadInput(f"The sitemap {url} is no valid XML: {error}.") from error


class _Handler(ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self._entries: list[SitemapEntry] = []
        self._entry: SitemapEntry | None = None
        self._image: SitemapImage | None = None
        self._text: list[str] = []
        self._length = 0

    def taken(self) -> list[SitemapEntry]:
        entries, self._entries = self._entries, []
        return entries

    def startElementNS(self, name: tuple[str | None, str], qname: str | None, attrs: Any) -> None:
        space, local = name
        self._text, self._length = [], 0
        if local in ("url", "sitemap") and not _is(space, _IMAGE):
            self._entry, self._image = SitemapEntry(is_sitemap=local == "sitemap"), None
        elif local == "image" and _is(space, _IMAGE):
            self._image = SitemapImage("")

    def characters(self, content: str) -> None:
        if self._length < LONGEST_TEXT:
            self._text.append(content)
            self._length += len(content)

    def endElementNS(self, name: tuple[str | None, str], qname: str | None) -> None:
        space, local = name
        text = "".join(self._text)[:LONGEST_TEXT].strip()
        self._text, self._length = [], 0
        entry, image = self._entry, self._image
        if entry is None:
            return
        if local in ("url", "sitemap") and not _is(space, _IMAGE):
            self._entries.append(entry)
            self._entry = None
        elif image is not None and _is(space, _IMAGE):
            if local == "image":
                if image.address and len(entry.images) < MOST_IMAGES:
                    entry.images.append(image)
                self._image = None
            elif local == "loc":
                image.address = text
            elif local in ("title", "caption") and text:
                image.title = image.title if local == "caption" and image.title else words(text)
        elif local == "loc":
            entry.address = text


def _is(space: str | None, wanted: str) -> bool:
    return space is not None and wanted in space
