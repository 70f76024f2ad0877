"""Pictures that a page states for machines: JSON-LD and microdata of schema.org, Open Graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime

from app.sources.renditions import Found, Picture, Rank, Rendition, has_photo_suffix
from app.sources.rows import parse_time

MOST_OBJECTS = 50_000
DEEPEST = 40

Resolve = Callable[[str], str | None]
"""An address as written on the page → canonical, None where it can't be fetched."""

# What carries a logo or a portrait, not a photo of the event.
_NOT_PICTURED = frozenset(
    ("organization", "person", "localbusiness", "website", "brand", "corporation", "rating",
     "searchaction", "breadcrumblist")
)  # fmt: skip
_NOT_FOLLOWED = frozenset(
    ("logo", "author", "publisher", "creator", "copyrightholder", "thumbnail", "provider", "brand",
     "potentialaction", "isbasedon", "license")
)  # fmt: skip
_PICTURED = frozenset(("imageobject", "photograph", "imageobjectsnapshot"))


def of_json_ld(text: str, resolve: Resolve) -> Iterator[Picture]:
    """The ImageObjects of one script, in its order. What is no JSON has none."""
    try:
        found = json.loads(text.strip())
    except (ValueError, RecursionError):
        return
    waiting: list[tuple[object, int]] = [(found, 0)]
    for _ in range(MOST_OBJECTS):
        if not waiting:
            return
        value, depth = waiting.pop()
        if depth > DEEPEST:
            continue
        if isinstance(value, list):
            waiting.extend((each, depth + 1) for each in reversed(value))
        elif isinstance(value, dict):
            types = _types(value)
            if types & _NOT_PICTURED:
                continue
            picture = _picture(value, resolve) if types & _PICTURED else None
            if picture is not None:
                yield picture
            waiting.extend(
                (each, depth + 1)
                for name, each in reversed(value.items())
                if isinstance(each, dict | list) and name.lower() not in _NOT_FOLLOWED
            )


def _types(value: dict[str, object]) -> set[str]:
    found = value.get("@type")
    named = found if isinstance(found, list) else [found]
    return {each.rpartition("/")[2].lower() for each in named if isinstance(each, str)}


def _picture(value: dict[str, object], resolve: Resolve) -> Picture | None:
    if "logo" in _text(value.get("@id")).lower():
        return None
    address = _address(value.get("contentUrl"))
    if not address and has_photo_suffix(stated := _address(value.get("url"))):
        address = stated  # without the suffix, it is the page about the picture
    url = resolve(address) if address else None
    if url is None:
        return None
    width = _pixels(value.get("width"))
    if 0 < width < 100 and 0 < _pixels(value.get("height")) < 100:
        return None
    picture = Picture(
        Found.STATED,
        [Rendition(url, Rank.ORIGINAL, width)],
        title=_text(value.get("name")) or _text(value.get("caption")) or None,
        taken_at=_time(value.get("dateCreated")),
        photographer=_text(value.get("creator"), "name")
        or _text(value.get("author"), "name")
        or None,
    )
    for thumbnail in (value.get("thumbnailUrl"), value.get("thumbnail")):
        small = resolve(_address(thumbnail)) if _address(thumbnail) else None
        if small is not None:
            picture.renditions.append(Rendition(small, Rank.SHOWN))
    return picture


def _address(value: object) -> str:
    return _text(value, "contentUrl", "url", "@id")


def _text(value: object, *names: str) -> str:
    """A text, the first of many, or what an object holds under one of `names`; "" for the rest."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        held = (value.get(name) for name in ("@value", *names))
        value = next((each for each in held if isinstance(each, str)), None)
    return value.strip() if isinstance(value, str) else ""


def _pixels(value: object) -> int:
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, str):
        value = value.lower().removesuffix("px").strip()
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 7 else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _time(value: object) -> datetime | None:
    return parse_time(_text(value)[:40])


class Shared:
    """Open Graph and Twitter images, gathered from <meta> in the page's order."""

    def __init__(self) -> None:
        self._images: list[tuple[str, int]] = []
        self._twitter: list[str] = []
        self._title: str | None = None

    def add(self, name: str, content: str) -> None:
        if name in ("og:image", "og:image:url") and content:
            self._images.append((content, 0))
        elif name == "og:image:width" and self._images:
            self._images[-1] = (self._images[-1][0], _pixels(content))
        elif name in ("twitter:image", "twitter:image:src") and content:
            self._twitter.append(content)
        elif name == "og:title":
            self._title = content.strip() or None

    def pictures(self, resolve: Resolve) -> list[Picture]:
        found = self._images or [(each, 0) for each in self._twitter]
        pictures = []
        for address, width in found:
            url = resolve(address)
            if url is not None:
                rendition = Rendition(url, Rank.SIZED, width)
                pictures.append(Picture(Found.STATED, [rendition], title=self._title))
        return pictures
