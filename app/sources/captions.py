"""What a tag's attributes and text say: titles for people, sizes in pixels."""

from __future__ import annotations

import re

from app.sources.markup import Tag, plain
from app.sources.renditions import has_photo_suffix

LONGEST_TITLE = 500
_CAPTIONS = ("data-caption", "data-title")
_NAMES = ("alt", "title")


def caption(tag: Tag) -> str | None:
    """What was written to be shown beside the picture."""
    return _first(tag, _CAPTIONS)


def title(tag: Tag) -> str | None:
    return _first(tag, (*_CAPTIONS, *_NAMES))


def _first(tag: Tag, names: tuple[str, ...]) -> str | None:
    found = (words(tag.attributes.get(name, "")) for name in names)
    return next((each for each in found if each is not None), None)


def words(text: str) -> str | None:
    """Plain words of a text that may hold markup and character references; None where empty."""
    if not text or text.isspace():
        return None
    text = plain(text[: 4 * LONGEST_TITLE])
    if "<" in text:
        text = re.sub(r"<[^<>]{0,500}>", " ", text)
    # PostgreSQL stores neither NUL nor half a character, which JSON can spell.
    text = text.replace("\x00", "").encode("utf-8", "replace").decode()
    return " ".join(text.split())[:LONGEST_TITLE].strip() or None


def unless_name(text: str | None) -> str | None:
    """The text, unless it is a file's name, which the address tells too."""
    return None if text is None or has_photo_suffix(text) else text


def pixels(value: str) -> int:
    """A length in pixels as attributes give it; 0 for percentages and anything else."""
    found = re.fullmatch(r"\s*([0-9]{1,5})(?:\.[0-9]{1,4})?(?:px)?\s*", value[:20])
    return int(found[1]) if found else 0
