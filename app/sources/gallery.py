"""Any web address that shows photos: gallery pages, sitemaps, and what answers with a list."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import unquote, urlsplit

from app.core.errors import BadInput, PhotoRejected
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.core.sources import SourceField, SourceSpec
from app.sources.addresses import parse_url
from app.sources.crawl import NO_INDEX, SIGNED, Crawl, page_of
from app.sources.documents import Document, Form, Reader
from app.sources.http import Fetcher
from app.sources.iiif import IiifSource
from app.sources.iiif_image import Images
from app.sources.kinds import Kind, SourceTools
from app.sources.listing import ListSource, is_web
from app.sources.paging import path_of_url
from app.sources.renditions import stable_key
from app.sources.robots import LONGEST_PHOTO_PAUSE, Robots
from app.sources.sitemap import entries_of
from app.sources.sitemap_walk import SitemapWalk

PAGES = 200
MOST_PAGES = 10_000
SIGNED_LIFETIME = 60.0
"""Seconds for which the signed addresses of a page are used without reading it again."""
KEPT_PAGES = 16

_NO_PHOTOS = (
    "If they appear only after the page's scripts have run, give the site's sitemap, its IIIF "
    "manifest, or a list of the photos' addresses."
)


class GallerySource:
    """The photos of a page and the pages after it, each in its largest rendition; or those of the
    sitemap, list or IIIF document that the address turns out to be.

    The key is the photo's address without signatures and cache counters. Where the address is
    signed for a time, `uri` names the page instead and, after “#photo=”, the key: the signature
    is read from the page anew whenever the photo is fetched.
    """

    kind = "gallery"
    revalidates = True
    scales = False

    def __init__(
        self, uri: str, fetcher: Fetcher, *, pages: int = PAGES, obey_robots: bool = True
    ) -> None:
        self.uri = uri
        self._fetcher = fetcher
        self._pages = pages
        self._robots = Robots(fetcher, obey=obey_robots)
        self._reader = Reader(fetcher, self._robots)
        self._images = Images(fetcher)
        self._signed = _SignedAddresses(self._reader)

    async def discover(self) -> AsyncIterator[Locator | BadEntry]:
        """Raises BadInput where there are no photos to be had, SourceUnavailable where it fails
        now."""
        document = await self._first()
        if document.form is Form.LIST:
            async for entry in ListSource(self.uri, self._fetcher).discover():
                yield entry
            return
        if document.form is Form.IIIF:
            async for entry in IiifSource(self.uri, self._fetcher).discover():
                yield entry
            return
        any_found = False
        async for entry in self._walk(document):
            any_found = True
            yield entry
        if not any_found:
            raise BadInput(f"No photos were found at {document.url}.", cure=_NO_PHOTOS)

    @asynccontextmanager
    async def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AsyncIterator[PhotoStream]:
        page, signed, key = locator.uri.partition(SIGNED)
        async with AsyncExitStack() as held:

            async def opened(url: str) -> PhotoStream:
                await self._robots.admit(url, LONGEST_PHOTO_PAUSE)
                opening = self._images.open(
                    url, unless=unless, long_side=long_side, headers=self._referer(url)
                )
                return await held.enter_async_context(opening)

            if not signed:
                yield await opened(locator.uri)
                return
            url, is_new = await self._signed.address(page, unquote(key))
            try:
                stream = await opened(url)
            except PhotoRejected:
                if is_new:
                    raise
                url, _ = await self._signed.address(page, unquote(key), refused=url)
                stream = await opened(url)
            yield stream

    async def _first(self) -> Document:
        try:
            document = await self._reader.read(str(self._fetcher.policy.check_url(self.uri)))
        except PhotoRejected as error:
            raise BadInput(f"The page can't be read: {error.message}", cure=error.cure) from error
        if document.form is Form.PICTURE:
            raise BadInput(
                f"{document.url} is one photo, not a page with photos.",
                cure="Give the page that shows it, or a text file with its address.",
            )
        if document.form is Form.OTHER:
            raise BadInput(
                f"{document.url} is neither a page nor a list of photos"
                f" ({document.content_type[:80]}).",
                cure="Give a web page, a sitemap, an IIIF manifest, or a list of addresses.",
            )
        return document

    async def _walk(self, document: Document) -> AsyncIterator[Locator | BadEntry]:
        crawl = Crawl(self._reader, self._fetcher.policy, self._pages)
        walk = SitemapWalk(self._reader, crawl)
        if document.form is Form.SITEMAP:
            async for entry in walk.of_document(document):
                yield entry
            return
        page = await page_of(document)
        if crawl.is_closed(document, page):
            raise BadInput(
                f"{document.url} asks that its images are not indexed ({NO_INDEX}).",
                cure="If that is your own site, set the option “robots” to “ignore”.",
            )
        any_found = False
        async for entry in crawl.gallery(document, page):
            any_found = True
            yield entry
        if not any_found and urlsplit(document.url).path == "/":
            # A site's front page without photos: the site may say where they are.
            async for entry in walk.of_addresses(await self._robots.sitemaps(document.url)):
                yield entry

    def _referer(self, url: str) -> dict[str, str]:
        """As a browser would say it: many hosts send photos only to visitors of their pages."""
        try:
            page = parse_url(self.uri)
        except PhotoRejected:
            return {}
        secret = page.scheme == "https" and not url.startswith("https:")
        return {} if secret else {"Referer": f"{page.origin}/"}


class _SignedAddresses:
    """The addresses, signed for a time, that pages show; each page is read at most once a minute."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pages: OrderedDict[str, tuple[float, dict[str, str]]] = OrderedDict()
        self._reading = asyncio.Lock()

    async def address(self, page: str, key: str, refused: str | None = None) -> tuple[str, bool]:
        """(the address of the photo with this key, whether the page was read for it).

        `refused`: an address that no longer works. Raises PhotoRejected where the page or the photo
        on it is gone, SourceUnavailable.
        """
        loop = asyncio.get_running_loop()
        async with self._reading:
            read_at, addresses = self._pages.pop(page, (-SIGNED_LIFETIME, {}))
            is_old = loop.time() - read_at > SIGNED_LIFETIME
            wanted = is_old or (refused is not None and addresses.get(key) == refused)
            if wanted:
                read_at, addresses = loop.time(), await self._read(page)
            self._pages[page] = (read_at, addresses)
            while len(self._pages) > KEPT_PAGES:
                self._pages.popitem(last=False)
        if key not in addresses:
            raise PhotoRejected("not-found", f"{page} no longer shows this photo: {key}")
        return addresses[key], wanted

    async def _read(self, page: str) -> dict[str, str]:
        document = await self._reader.read(page)
        if document.form is Form.PAGE:
            return (await page_of(document)).addresses()
        if document.form is not Form.SITEMAP:
            return {}
        try:
            return {
                stable_key(image.address)[0]: image.address
                async for entry in entries_of(page, document.body)
                for image in entry.images
            }
        except BadInput as error:
            raise PhotoRejected("bad-sitemap", error.message) from error


def _is_gallery(uri: str) -> str | None:
    if not is_web(uri):
        return None
    path = path_of_url(uri).lower()
    if "sitemap" in path and path.endswith((".xml", ".xml.gz")):
        return f"All photos that the sitemap {uri} names."
    return (
        f"The photos that the page {uri} shows or links to, each in its largest size, and those of"
        " the pages that follow it."
    )


def _build(spec: SourceSpec, tools: SourceTools) -> GallerySource:
    pages = spec.option("pages", str(PAGES))
    if not (pages.isascii() and pages.isdigit() and len(pages) < 9):
        raise BadInput(f"“{pages}” is no number of pages.", cure=f"Give 1 to {MOST_PAGES}.")
    return GallerySource(
        spec.uri,
        tools.fetcher,
        pages=min(max(int(pages), 1), MOST_PAGES) - 1,
        obey_robots=spec.option("robots", "obey") == "obey",
    )


GALLERY = Kind(
    "gallery",
    "A web gallery",
    "https://example.org/wedding/",
    _is_gallery,
    _build,
    (
        SourceField(
            "pages",
            "Pages",
            f"How many pages of the gallery are read; {PAGES} if empty.",
            limits=(1, MOST_PAGES),
        ),
        SourceField(
            "robots",
            "robots.txt",
            "“ignore” reads what the site's robots.txt asks programs to leave alone. Only for your"
            " own site.",
            choices=("obey", "ignore"),
        ),
    ),
)
