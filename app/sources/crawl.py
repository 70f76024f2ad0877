"""From a gallery's first page to all its photos: over its further pages, and one level down."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import quote

from app.core.errors import PhotoRejected, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.sources.addresses import AddressPolicy
from app.sources.documents import Document, Form, Reader
from app.sources.markup import decoded
from app.sources.pages import Page, read_page
from app.sources.paging import same_host
from app.sources.renditions import (
    Found,
    Picture,
    Rank,
    Rendition,
    bare_name,
    stable_key,
    stem,
)
from app.sources.robots import refused

SIGNED = "#photo="
"""Between a page and the key of a photo on it whose own address expires."""
MOST_DETAILS = 10_000
"""Pages of single photos that one discovery reads."""
DETAILS_AT_ONCE = 4
MOST_THUMBNAILS = 2
"""Pictures of a page that may lead to one other; more of them don't lead to their own pages."""
ENOUGH = 2_000
"""Pixels of width; a photo that the gallery's own page offers so large is not looked for below."""
PAGES_WITHOUT_NEWS = 3
"""In a row; paging then runs in a circle that its addresses don't show."""
NO_INDEX = "noimageindex"


class Crawl:
    """One discovery. `pages` further pages may be read; each photo is yielded once."""

    def __init__(self, reader: Reader, policy: AddressPolicy, pages: int) -> None:
        self._reader = reader
        self._policy = policy
        self._pages_left = pages
        self._details_left = MOST_DETAILS
        self._visited: set[str] = set()
        self._details: dict[str, set[str]] = {}
        self._seen: set[bytes] = set()

    async def gallery(
        self, document: Document, page: Page | None = None
    ) -> AsyncIterator[Locator | BadEntry]:
        """The photos of a page that was read, and of those that follow it."""
        without_news = 0
        self._visited.add(document.url)
        while True:
            page = page or await page_of(document)
            if self.is_closed(document, page):
                message = f"{page.url} asks that its images are not indexed."
                yield _bad(page.url, "robots", message, hides=True)
                return
            news = 0
            async for entry in self._photos(page):
                news += 1
                yield entry
            without_news = 0 if news else without_news + 1
            following = page.next
            if following is None or without_news >= PAGES_WITHOUT_NEWS:
                return
            try:
                found = await self.page_at(following)
            except PhotoRejected as error:
                yield _bad(following, error.reason, error.message, hides=True)
                return
            if found is None or not same_host(found.url, page.url):
                return
            document, page = found, None

    async def page_at(self, url: str) -> Document | None:
        """One page more; None where it was read before, or is no page.

        Raises PhotoRejected, with the reason “page-limit” where no more may be read, and
        SourceUnavailable.
        """
        if url in self._visited:
            return None
        if self._pages_left <= 0:
            raise PhotoRejected("page-limit", f"The gallery goes on at {url}, which was not read.")
        self._pages_left -= 1
        self._visited.add(url)
        document = await self._reader.read(url)
        if document.form is not Form.PAGE:
            return None
        if document.url != url:
            if document.url in self._visited:
                return None
            self._visited.add(document.url)
        return document

    def locator(
        self, url: str, *, page: str, picture: Picture | None = None, title: str | None = None
    ) -> Locator | BadEntry | None:
        """A photo at `url`, found on `page`; None where it was found before."""
        key, signed = stable_key(url)
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=16).digest()
        if digest in self._seen:
            return None
        self._seen.add(digest)
        try:
            self._policy.check_url(url)
        except PhotoRejected as error:
            return _bad(key, error.reason, str(error))
        return Locator(
            key,
            f"{page}{SIGNED}{quote(key, safe=':/')}" if signed else url,
            title=picture.title if picture is not None else title,
            taken_at=picture.taken_at if picture is not None else None,
            photographer=picture.photographer if picture is not None else None,
        )

    async def admitted(self, entry: Locator | BadEntry, url: str) -> Locator | BadEntry:
        """The entry, or why its host's robots.txt refuses it. A host that can't be asked now is
        asked again when the photo is fetched."""
        try:
            if isinstance(entry, Locator) and not await self._reader.robots.allows(url):
                return _bad(entry.key, "robots", str(refused(url)))
        except SourceUnavailable:
            pass
        return entry

    async def _photos(self, page: Page) -> AsyncIterator[Locator | BadEntry]:
        pictures = page.pictures or page.shared
        uses = Counter(picture.link for picture in pictures)
        for picture in pictures:
            if uses[picture.link] > MOST_THUMBNAILS:
                picture.link = None
        for start in range(0, len(pictures), DETAILS_AT_ONCE):
            some = pictures[start : start + DETAILS_AT_ONCE]
            looked = [self._largest(picture, page) for picture in some]
            # Each is waited for, so that no request goes on behind the back of a failure.
            for result in await asyncio.gather(*looked, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    continue
                picture, where = result
                url = picture.best.url
                entry = self.locator(url, page=where, picture=picture)
                if entry is not None:
                    yield await self.admitted(entry, url)

    async def _largest(self, picture: Picture, page: Page) -> tuple[Picture, str] | None:
        """The picture as its own page has it, where it has one, and the page that it is on.

        None where another thumbnail of the same photo came before. What its page refuses is taken
        from the gallery's page.
        """
        link, best = picture.link, picture.best
        names = {bare_name(each.url) for each in picture.renditions}
        if link is not None and link in self._details:
            return None if names & self._details[link] else (picture, page.url)
        large = best.rank > Rank.SIZED or best.width >= ENOUGH
        if link is None or large or link in self._visited or not self._details_left:
            return picture, page.url
        self._details[link] = names
        self._details_left -= 1
        try:
            document = await self._reader.read(link)
        except PhotoRejected:
            return picture, page.url
        if document.form is Form.PICTURE:
            opened = Rendition(link, Rank.ORIGINAL)
            return Picture(Found.LINKED, [opened], title=picture.title), page.url
        if document.form is not Form.PAGE or not same_host(document.url, page.url):
            return picture, page.url
        detail = await page_of(document)
        found = None if self.is_closed(document, detail) else same_picture(detail, picture)
        return (found, detail.url) if found is not None else (picture, page.url)

    def is_closed(self, document: Document, page: Page) -> bool:
        """Whether a page asks, by header or <meta>, that nobody indexes its images."""
        return self._reader.robots.obey and NO_INDEX in document.directives | page.directives


async def page_of(document: Document) -> Page:
    """What a document of the form PAGE tells."""
    return await asyncio.to_thread(
        lambda: read_page(decoded(document.body, document.charset), document.url, document.next_url)
    )


def same_picture(page: Page, thumbnail: Picture) -> Picture | None:
    """The picture of a page about one photo; None where it can't be told from others there."""
    stems = {stem(each.url) for each in thumbnail.renditions}
    names = {bare_name(each.url) for each in thumbnail.renditions}
    alike = [
        each
        for each in page.pictures
        if stem(each.best.url) in stems or bare_name(each.best.url) in names
    ]
    stated = [each for each in page.pictures if each.found is Found.STATED]
    for some in (alike, stated, page.pictures, page.shared):
        if some and (len(some) == 1 or some is alike):
            found = max(some, key=lambda each: (each.best.rank, each.best.width))
            found.title = thumbnail.title or found.title
            return found
    return None


def _bad(address: str, reason: str, message: str, *, hides: bool = False) -> BadEntry:
    return BadEntry(key=address, uri=address, reason=reason, message=message, hides=hides)
