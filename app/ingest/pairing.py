"""RAW+JPEG and HEIC+JPEG: files of one folder with one name are one photo with renditions.

Cameras write both files side by side under the same number, so that is what is looked for: the same
folder, the same stem, the endings of different families. Listings are in order of names, so the
partner is near; the look-ahead is bounded, and files that lie further apart stay photos of their own.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from app.core.photos import Locator
from app.sources.suffixes import HEIC_SUFFIXES, RAW_SUFFIXES

LOOK_AHEAD = 32
_JPEG = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
# The first is the photo's main file: it decodes fast and is what the camera meant to show.
_FAMILIES = (_JPEG, HEIC_SUFFIXES, RAW_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Found:
    """One photo: its files, the main one first."""

    entries: tuple[Locator, ...]

    @property
    def key(self) -> str:
        return self.entries[0].key


def _stem_and_family(entry: Locator) -> tuple[str, int] | None:
    """(folder and name without ending, number of the family); None for a file that has no pair.

    Where the address is no path (a file's id in a cloud drive), the title is: it holds the path.
    """
    parts = urlsplit(entry.uri)
    for where, path in (
        (f"{parts.scheme}://{parts.netloc}?{parts.query}", unquote(parts.path)),
        ("title", entry.title or ""),
    ):
        stem, ending = os.path.splitext(path)
        for number, family in enumerate(_FAMILIES):
            if ending.lower() in family:
                return f"{where} {stem.lower()}", number
    return None


class Pairing:
    """Joins partners in a stream of locators, in the stream's order."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, dict[int, Locator]] = OrderedDict()

    def add(self, entry: Locator) -> Iterator[Found]:
        """Takes one file; gives the photos that are complete by now."""
        place = _stem_and_family(entry)
        stem, family = place or (entry.key, -1)
        held = self._held.get(stem)
        if held is not None and family >= 0 and family not in held:
            held[family] = entry
        else:
            # A second file of one family (A.jpg, a.JPG) is a photo of its own.
            self._held[stem if held is None else f"{stem}\n{entry.key}"] = {family: entry}
        while len(self._held) > LOOK_AHEAD:
            yield _joined(self._held.popitem(last=False)[1])

    def rest(self) -> Iterator[Found]:
        """Gives what is still held."""
        while self._held:
            yield _joined(self._held.popitem(last=False)[1])


def _joined(files: dict[int, Locator]) -> Found:
    return Found(tuple(entry for _, entry in sorted(files.items(), key=lambda item: item[0])))
