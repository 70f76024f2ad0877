"""A web page → the pictures on it, and where it goes on. Pure, never raises, linear in its length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import urlsplit

from app.core.errors import PhotoRejected
from app.sources import captions
from app.sources.addresses import parse_url
from app.sources.markup import Tag, tokens
from app.sources.paging import NextLinks, is_detail
from app.sources.renditions import (
    Found,
    Picture,
    Rank,
    Rendition,
    attribute_rank,
    candidates,
    has_photo_suffix,
    is_furniture,
    is_photo_file,
    is_srcset,
    merged,
    stable_key,
    stated_width,
    without_doubles,
)
from app.sources.structured import Shared, of_json_ld

MOST_PICTURES = 10_000
MOST_TAGS = 200_000
"""What follows is not looked at; a page with 5,000 photos has about 50,000."""
DEEPEST = 1_000
MOST_TEXTS = 200
"""Pieces of text that one link or caption is read for."""
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
     "track", "wbr", "amp-img")
)  # fmt: skip
_CLOSED_BY = {
    "p": {"p"}, "li": {"li"}, "td": {"td", "th"}, "th": {"td", "th"}, "tr": {"td", "th", "tr"},
    "dt": {"dt", "dd"}, "dd": {"dt", "dd"}, "option": {"option"},
}  # fmt: skip
_SKIPPED = frozenset(("video", "audio", "nav", "footer", "template", "svg", "select"))


@dataclass(frozen=True, slots=True)
class Page:
    """What a page tells.

    `pictures` in its order, each once; `shared` are the Open Graph and Twitter images, for pages
    that show nothing better. `next` is the gallery's next page. `directives` are those of its
    robots <meta>, lower case.
    """

    url: str
    pictures: list[Picture]
    shared: list[Picture]
    next: str | None
    directives: frozenset[str]

    def addresses(self) -> dict[str, str]:
        """Key → address of every rendition, as it is signed now."""
        return {
            stable_key(rendition.url)[0]: rendition.url
            for picture in (*self.pictures, *self.shared)
            for rendition in picture.renditions
        }


def read_page(text: str, url: str, next_url: str | None = None) -> Page:
    """`url` is the page's canonical address, `next_url` what its Link header calls the next one."""
    reader = _Reader(url)
    if next_url is not None and (address := reader.resolve(next_url)):
        reader.next.relation(address)
    previous: Tag | None = None
    for token in islice(tokens(text), 2 * MOST_TAGS):  # text stands between
        if isinstance(token, str):
            reader.text(token, previous)
        elif token.closes:
            reader.end(token.name)
        else:
            reader.start(token)
        previous = token if isinstance(token, Tag) else None
    return reader.page()


@dataclass(slots=True)
class _Unit:
    """A picture in the making, with what tells photos from the page's dress."""

    picture: Picture
    classes: str = ""
    long_side: int = 0

    def is_furniture(self) -> bool:
        picture = self.picture
        if picture.found is not Found.SHOWN or picture.best.rank is Rank.ORIGINAL:
            return False
        linked = picture.link is not None
        return is_furniture(picture.best.url, self.classes, self.long_side, linked=linked)


@dataclass(slots=True)
class _Open:
    """An open element. `units`: where it groups pictures; `text`: where its words are wanted."""

    name: str
    tag: Tag
    skips: bool = False
    units: list[_Unit] | None = None
    own: list[Rendition] = field(default_factory=list)
    text: list[str] | None = None
    emitted: int = 0


class _Reader:
    def __init__(self, url: str) -> None:
        self.url = url
        self.next = NextLinks(url)
        self._base = url
        self._stack: list[_Open] = []
        self._open: Counter[str] = Counter()
        self._groups: list[_Open] = []
        self._figures: list[_Open] = []
        self._wanting: list[_Open] = []
        self._skipping = 0
        self._pictures: list[Picture] = []
        self._stated: list[Picture] = []
        self._shared = Shared()
        self._directives: set[str] = set()

    def resolve(self, address: str) -> str | None:
        """Canonical and absolute; None for what can't be fetched (data:, javascript:, broken)."""
        # Browsers take a backslash for a slash, and leave out line breaks.
        address = re.sub(r"[\t\r\n]", "", address[:9000]).replace("\\", "/").strip()
        if not address or address.startswith("#"):
            return None
        try:
            return str(parse_url(address, self._base))
        except PhotoRejected:
            return None

    def page(self) -> Page:
        while self._stack:
            self._pop()
        pictures = without_doubles(merged([*self._pictures, *self._stated]))
        shared = merged(self._shared.pictures(self.resolve))
        for picture in shared:
            picture.title = captions.words(picture.title or "")
        directives = frozenset(self._directives)
        return Page(self.url, pictures, shared, self.next.best, directives)

    def text(self, text: str, previous: Tag | None) -> None:
        if previous is not None and previous.name == "script":
            if "ld+json" in previous.attributes.get("type", "").lower():
                for picture in of_json_ld(text, self.resolve):
                    self._state(picture)
        elif previous is None or previous.name != "style":
            for element in self._wanting[-2:]:  # a link within a caption
                if element.text is not None and len(element.text) < MOST_TEXTS:
                    element.text.append(text[: captions.LONGEST_TITLE])

    def start(self, tag: Tag) -> None:
        name = tag.name
        if name == "a" and self._open["a"]:
            self.end("a")
        while self._stack and self._stack[-1].name in _CLOSED_BY.get(name, ()):
            self._pop()
        if name in ("img", "amp-img"):
            self._image(tag)
        elif name in ("base", "meta", "link", "source"):
            self._head(tag)
        if "contenturl" in tag.attributes.get("itemprop", "").lower() and name != "a":
            self._microdata(tag)
        if name not in _VOID and len(self._stack) < DEEPEST:
            self._push(tag)

    def end(self, name: str) -> None:
        if self._open[name]:
            while self._pop() != name:
                continue

    def _push(self, tag: Tag) -> None:
        element = _Open(tag.name, tag, emitted=len(self._pictures))
        if tag.name == "footer" and (self._open["article"] or self._open["figure"]):
            pass  # the foot of one photo, not of the page
        elif tag.name in _SKIPPED:
            element.skips = True
            self._skipping += 1
        if tag.name in ("a", "figcaption"):
            element.text = []
            self._wanting.append(element)
        if tag.name == "figure":
            self._figures.append(element)
        element.own = self._own(tag)
        if tag.name in ("a", "picture") or element.own:
            element.units = []
            self._groups.append(element)
        self._stack.append(element)
        self._open[tag.name] += 1

    def _pop(self) -> str:
        element = self._stack.pop()
        self._open[element.name] -= 1
        if element.units is not None:
            self._groups.pop()
            if element.name == "a":
                self._close_link(element)
            else:
                self._close_group(element, element.units)
        if element.text is not None:
            self._wanting.pop()
        if element.name == "figure":
            self._figures.pop()
        elif element.name == "figcaption":
            self._caption(captions.words("".join(element.text or ())))
        if element.skips:
            self._skipping -= 1
        return element.name

    def _own(self, tag: Tag) -> list[Rendition]:
        """The renditions that an element other than an image names in its attributes."""
        if tag.name == "picture" or self._skipping:
            return []
        found = []
        for name, value in tag.attributes.items():
            rank = attribute_rank(name)
            if rank is not None and has_photo_suffix(value) and (url := self.resolve(value)):
                found.append(Rendition(url, rank, stated_width(url)))
            elif tag.name == "a" and is_srcset(name):
                found.extend(self._largest(value, 0))
        return found

    def _image(self, tag: Tag) -> None:
        if self._skipping or len(self._pictures) >= MOST_PICTURES:
            return
        width, height = (
            captions.pixels(tag.attributes.get(side, "")) for side in ("width", "height")
        )
        found: list[Rendition] = []
        for name, value in tag.attributes.items():
            if is_srcset(name):
                found.extend(self._largest(value, width))
            elif name == "src" or ((rank := attribute_rank(name)) and _is_address(value)):
                rank = Rank.SHOWN if name == "src" else attribute_rank(name) or Rank.SHOWN
                if url := self.resolve(value):
                    found.append(Rendition(url, rank))
        long_side = max(width, height) if width and height else (width or height) * 3 // 2
        if found:
            unit = _Unit(
                Picture(Found.SHOWN, found, title=captions.title(tag)),
                f"{tag.attributes.get('class', '')} {tag.attributes.get('id', '')}",
                max(long_side, *(each.width for each in found)),
            )
            self._deliver(unit)

    def _largest(self, srcset: str, width: int) -> Iterator[Rendition]:
        """The largest entry of a srcset; `width` is what one pixel a pixel takes, 0 if unknown."""
        best, most = "", -1
        for address, wide, density in candidates(srcset):
            size = wide or int(density * (width or 1))
            if size > most:
                best, most = address, size
        if best and (url := self.resolve(best)):
            yield Rendition(url, Rank.SIZED if most else Rank.LAZY, most if most > 9 else 0)

    def _head(self, tag: Tag) -> None:
        attributes = tag.attributes
        if tag.name == "base":
            if self._base == self.url and (url := self.resolve(attributes.get("href", ""))):
                self._base = url
        elif tag.name == "link":
            relations = attributes.get("rel", "").lower().split()
            if "next" in relations and (url := self.resolve(attributes.get("href", ""))):
                self.next.relation(url)
        elif tag.name == "source":
            if self._groups and self._groups[-1].name == "picture" and not self._skipping:
                for name, value in attributes.items():
                    if is_srcset(name):
                        self._groups[-1].own.extend(self._largest(value, 0))
        else:
            name = (attributes.get("property") or attributes.get("name", "")).lower()
            content = attributes.get("content", "")
            if name in ("robots", "clairvision"):
                self._directives.update(each.strip() for each in content.lower().split(","))
            else:
                self._shared.add(name, content)

    def _microdata(self, tag: Tag) -> None:
        attributes = tag.attributes
        address = attributes.get("content") or attributes.get("href") or attributes.get("src")
        if address and not self._skipping and (url := self.resolve(address)):
            self._state(Picture(Found.STATED, [Rendition(url, Rank.ORIGINAL)]))

    def _state(self, picture: Picture) -> None:
        if len(self._stated) < MOST_PICTURES:
            picture.title = captions.words(picture.title or "")
            picture.photographer = captions.words(picture.photographer or "")
            self._stated.append(picture)

    def _close_link(self, element: _Open) -> None:
        attributes, units = element.tag.attributes, element.units or []
        url = self.resolve(attributes.get("href", ""))
        text = captions.words("".join(element.text or ()))
        if url is not None:
            label = attributes.get("aria-label") or attributes.get("title", "")
            if "next" in attributes.get("rel", "").lower().split():
                self.next.relation(url)
            self.next.anchor(url, text or "", label, attributes.get("class", ""))
        if self._skipping:
            return
        stated = "contenturl" in attributes.get("itemprop", "").lower()
        if url is not None and (stated or is_photo_file(url)):
            element.own.insert(0, self._opened(url, units))
        detail = url if url is not None and is_detail(self.url, url) else None
        if element.own:
            self._deliver(_Unit(self._linked(element, units, text, detail)))
        elif url is not None and urlsplit(url).path == "/" != urlsplit(self.url).path:
            return  # a link home holds the site's logo
        else:
            photos = [unit for unit in units if not unit.is_furniture()]
            for unit in units:
                if detail is not None and len(photos) <= 1:
                    named = unit.picture.title or captions.title(element.tag)
                    unit.picture.link, unit.picture.title = detail, named or text
                self._deliver(unit)

    def _linked(
        self, element: _Open, units: list[_Unit], text: str | None, detail: str | None
    ) -> Picture:
        """The one picture of a link that names its larger size."""
        shown = [each for unit in units for each in unit.picture.renditions]
        picture = Picture(Found.LINKED, [*element.own, *shown])
        if picture.best.rank < Rank.SIZED:
            picture.link = detail
        shown_as = (unit.picture.title for unit in units if unit.picture.title)
        named = captions.title(element.tag) or captions.unless_name(text)
        picture.title = captions.caption(element.tag) or next(shown_as, named)
        return picture

    def _opened(self, url: str, units: list[_Unit]) -> Rendition:
        """What a link opens. It mostly is the original, unless its address tells a smaller width
        than a size that the page offers."""
        width = stated_width(url)
        sized = (each.width for unit in units for each in unit.picture.renditions)
        rank = Rank.SIZED if 0 < width < max(sized, default=0) else Rank.ORIGINAL
        return Rendition(url, rank, width)

    def _close_group(self, element: _Open, units: list[_Unit]) -> None:
        """A <picture>, or a tile whose attributes name a larger size of the image inside."""
        if len(units) == 1:
            units[0].picture.renditions.extend(element.own)
            widest = max((each.width for each in element.own), default=0)
            units[0].long_side = max(units[0].long_side, widest)
        elif element.own and not self._skipping:
            picture = Picture(Found.SHOWN, element.own, title=captions.title(element.tag))
            units = [_Unit(picture, element.tag.attributes.get("class", "")), *units]
        for unit in units:
            self._deliver(unit)

    def _deliver(self, unit: _Unit) -> None:
        if self._groups:
            units = self._groups[-1].units
            if units is not None and len(units) < MOST_PICTURES:
                units.append(unit)
        elif not unit.is_furniture() and len(self._pictures) < MOST_PICTURES:
            self._pictures.append(unit.picture)

    def _caption(self, words: str | None) -> None:
        """What a figure says of its one picture, which may still be within an open link or tile."""
        if not self._figures or words is None:
            return
        within = (self._groups[-1].units or []) if self._groups else []
        emitted = len(self._pictures) - self._figures[-1].emitted
        if emitted + len(within) == 1:
            (within[0].picture if within else self._pictures[-1]).title = words


def _is_address(value: str) -> bool:
    value = value.strip()
    return "/" in value and value[:1] not in ("{", "[", "#") and not re.search(r"\s", value[:200])
