"""All photos that a sitemap or an index of sitemaps leads to."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable

from app.core.errors import BadInput, PhotoRejected
from app.core.photos import BadEntry, Locator
from app.sources.addresses import parse_url
from app.sources.crawl import Crawl
from app.sources.documents import Document, Form, Reader
from app.sources.paging import same_host
from app.sources.sitemap import MOST_ENTRIES, SitemapImage, entries_of

MOST_SITEMAPS = 1_000
"""Files that one discovery reads."""


class SitemapWalk:
    """The images that sitemaps name. Where they name none, the pages that they list are read as
    gallery pages, as many as the crawl allows. Sitemaps of other hosts are passed by."""

    def __init__(self, reader: Reader, crawl: Crawl) -> None:
        self._reader = reader
        self._crawl = crawl
        self._pages: dict[str, None] = {}
        self._waiting: deque[str] = deque()
        self._known: set[str] = set()
        self._any = False

    async def of_document(self, document: Document) -> AsyncIterator[Locator | BadEntry]:
        """From one that was read. Raises BadInput where it is broken."""
        self._known.add(document.url)
        async for entry in self._images(document):
            yield entry
        async for entry in self._rest():
            yield entry

    async def of_addresses(self, addresses: Iterable[str]) -> AsyncIterator[Locator | BadEntry]:
        """From those that a robots.txt names."""
        self._waiting.extend(dict.fromkeys(addresses))
        self._known.update(self._waiting)
        async for entry in self._rest():
            yield entry

    async def _rest(self) -> AsyncIterator[Locator | BadEntry]:
        read = 0
        while self._waiting:
            url = self._waiting.popleft()
            if read >= MOST_SITEMAPS:
                yield _bad(url, "page-limit", f"More than {MOST_SITEMAPS} sitemaps.", hides=True)
                break
            read += 1
            try:
                document = await self._reader.read(url)
                if document.form is not Form.SITEMAP:
                    raise PhotoRejected("bad-sitemap", f"{url} is no sitemap.")
                async for entry in self._images(document):
                    yield entry
            except PhotoRejected as error:
                yield _bad(url, error.reason, error.message, hides=True)
            except BadInput as error:
                yield _bad(url, "bad-sitemap", error.message, hides=True)
        if not self._any:
            async for entry in self._shown():
                yield entry

    async def _images(self, document: Document) -> AsyncIterator[Locator | BadEntry]:
        async for entry in entries_of(document.url, document.body):
            address = _resolved(entry.address, document.url)
            if address is not None and same_host(address, document.url):
                if entry.is_sitemap and address not in self._known:
                    self._known.add(address)
                    self._waiting.append(address)
                elif not entry.is_sitemap and len(self._pages) < MOST_ENTRIES:
                    self._pages[address] = None
            for image in entry.images:
                found = await self._image(image, document.url)
                if found is not None:
                    self._any = True
                    yield found

    async def _image(self, image: SitemapImage, sitemap: str) -> Locator | BadEntry | None:
        try:
            url = str(parse_url(image.address, sitemap))
        except PhotoRejected as error:
            return _bad(image.address[:500].replace("\x00", ""), error.reason, error.message)
        entry = self._crawl.locator(url, page=sitemap, title=image.title)
        return await self._crawl.admitted(entry, url) if entry is not None else None

    async def _shown(self) -> AsyncIterator[Locator | BadEntry]:
        for url in self._pages:
            try:
                document = await self._crawl.page_at(url)
            except PhotoRejected as error:
                yield _bad(url, error.reason, error.message, hides=True)
                if error.reason == "page-limit":
                    return
                continue
            if document is not None:
                async for entry in self._crawl.gallery(document):
                    yield entry


def _resolved(address: str, sitemap: str) -> str | None:
    try:
        return str(parse_url(address, sitemap)) if address else None
    except PhotoRejected:
        return None


def _bad(address: str, reason: str, message: str, *, hides: bool = False) -> BadEntry:
    return BadEntry(key=address, uri=address, reason=reason, message=message, hides=hides)
