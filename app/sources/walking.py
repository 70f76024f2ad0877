"""Walking through remote folders: one at a time, each once, within bounds."""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from app.core.errors import PhotoRejected
from app.core.photos import BadEntry, Locator
from app.core.sources import SourceField, SourceSpec
from app.sources.asking import wrong_place
from app.sources.folder import SKIPPED_FOLDERS
from app.sources.suffixes import PHOTO_SUFFIXES

MAX_DEPTH = 32
"""Folders within folders. A mount that holds itself would go on for ever."""
MAX_FOLDERS = 20_000

INCLUDE = SourceField(
    "include", "Only", "Patterns like *.jpg or Ceremony/*, with commas between. Empty: all photos."
)
EXCLUDE = SourceField("exclude", "Without", "Patterns of what to leave out, with commas between.")
# Pictures by their media type, but never photos.
_NO_PHOTOS = frozenset({"image/svg+xml", "image/x-icon", "image/vnd.microsoft.icon"})


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is still to be read. `path`: its names from the source's base on, "" for the
    base itself. `address`: what the source calls it. `uri`: what people are shown."""

    path: str
    address: str
    uri: str
    depth: int = 0

    def below(self, name: str, address: str, uri: str) -> Folder:
        return Folder(joined(self.path, name), address, uri, self.depth + 1)


Found = Locator | BadEntry


async def walk(
    base: Folder, look: Callable[[Folder], AsyncIterator[Found | Folder]]
) -> AsyncIterator[Found]:
    """What `look` finds in `base` and in the folders that it names, depth first.

    Raises BadInput where the base itself is refused, or a sign-in that held before. A folder that
    is refused is a BadEntry; one that went away meanwhile is left out.
    """
    waiting = [base]
    read = 0
    while waiting:
        folder = waiting.pop()
        if folder.depth > MAX_DEPTH:
            message = f"The folder lies more than {MAX_DEPTH} folders deep."
            yield BadEntry(folder.uri, folder.uri, "too-deep", message, hides=True)
            continue
        if read == MAX_FOLDERS:
            message = f"There are more than {MAX_FOLDERS:,} folders; this one and others wait."
            yield BadEntry(folder.uri, folder.uri, "too-many-folders", message, hides=True)
            return
        read += 1
        below: list[Folder] = []
        try:
            async for each in look(folder):
                if isinstance(each, Folder):
                    below.append(each)
                else:
                    yield each
        except PhotoRejected as error:
            if folder is base or error.reason == "unauthorised":
                raise wrong_place(error) from error
            if error.reason not in ("not-found", "gone"):
                yield BadEntry(folder.uri, folder.uri, error.reason, error.message, hides=True)
        waiting.extend(reversed(below))


class Wanted:
    """Which files are photos of the event: by name, media type, and the owner's patterns.

    Patterns are those of `fnmatch` on the path relative to the source's base; `*` matches "/" too.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._include = _patterns(spec.option("include"))
        self._exclude = _patterns(spec.option("exclude"))

    def __call__(self, path: str, content_type: str | None = None) -> bool:
        name = path.rpartition("/")[2]
        if is_hidden(name) or not is_photo(name, content_type):
            return False
        if self._include and not _matches(path, self._include):
            return False
        return not _matches(path, self._exclude)


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(pattern.strip() for pattern in text.split(",") if pattern.strip())


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def is_hidden(name: str) -> bool:
    """Hidden files, and what NAS systems and desktops keep beside the photos."""
    return name.startswith(".") or name.lower() in SKIPPED_FOLDERS


def is_photo(name: str, content_type: str | None) -> bool:
    dot = name.rfind(".")
    if dot > 0 and name[dot:].lower() in PHOTO_SUFFIXES:
        return True
    media = (content_type or "").partition(";")[0].strip().lower()
    return media.startswith("image/") and media not in _NO_PHOTOS


def joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def shown(text: str) -> str:
    """As it can be stored: PostgreSQL takes neither NUL nor lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:500]
