"""A folder of photos on this machine or on a mounted share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from app.core.errors import BadInput
from app.core.marks import HOME_MARK
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.sources.files import open_within, path_of, version_of
from app.sources.suffixes import PHOTO_SUFFIXES

# Thumbnails and indexes that NAS systems and desktops keep beside the photos.
SKIPPED_FOLDERS = frozenset(
    {"@eadir", "#recycle", "$recycle.bin", "__macosx", "thumbs.db", "lost+found"}
)

_Found = Locator | BadEntry


class FolderSource:
    """All photos under a folder, each folder's files first, in order of their names.

    Hidden names and NAS index folders are left out. Links are followed only to files inside the
    folder; one that leads outside is a BadEntry. The key is the file's URI.
    """

    kind = "folder"
    revalidates = False
    scales = False

    def __init__(self, uri: str) -> None:
        self.root = path_of(uri).absolute()

    async def discover(self) -> AsyncIterator[_Found]:
        """Raises BadInput where the folder itself is missing or can't be read."""
        await asyncio.to_thread(self._check_root)
        waiting = [self.root]
        while waiting:
            found, folders = await asyncio.to_thread(self._look, waiting.pop())
            waiting.extend(reversed(folders))
            for entry in found:
                yield entry

    def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AbstractAsyncContextManager[PhotoStream]:
        return open_within(self.root, path_of(locator.uri))

    def _check_root(self) -> None:
        try:
            if not self.root.is_dir():
                what = "is not a folder" if self.root.exists() else "does not exist"
                raise BadInput(
                    f"{self.root} {what}.", cure="Give the folder that holds the photos."
                )
            os.scandir(self.root).close()
            real = self.root.resolve()
            if any((folder / HOME_MARK).exists() for folder in (real, *real.parents)):
                raise BadInput(
                    f"{self.root} belongs to a ClairVision installation.",
                    cure="Its thumbnails are no photos of an event: give the folder of the photos.",
                )
        except PermissionError as error:
            raise BadInput(
                f"The folder {self.root} may not be read.",
                cure="Give the server's user read access to it.",
            ) from error
        except (OSError, ValueError) as error:
            raise BadInput(f"The folder {self.root} can't be read: {error}.") from error

    def _look(self, folder: Path) -> tuple[list[_Found], list[Path]]:
        found: list[_Found] = []
        folders: list[Path] = []
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            message = f"The folder can't be read: {error}."
            return [replace(_bad(folder, "unreadable", message), hides=True)], []
        if any(entry.name == HOME_MARK for entry in entries):
            return [], []  # our own thumbnails are no photos of an event
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in SKIPPED_FOLDERS:
                continue
            path = folder / entry.name
            if entry.is_symlink():
                found.extend(self._linked(path))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif path.suffix.lower() in PHOTO_SUFFIXES:
                found.append(_located(path))
        return found, folders

    def _linked(self, path: Path) -> Iterator[_Found]:
        """A link to a file inside is a photo. A link to a folder inside is passed by: the folder
        is visited under its own name, and a loop would never end."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            if path.suffix.lower() in PHOTO_SUFFIXES:
                yield _bad(path, "not-found", "The link leads nowhere.")
            return
        if not real.is_relative_to(self.root.resolve()):
            if real.is_dir() or path.suffix.lower() in PHOTO_SUFFIXES:
                yield _bad(path, "outside-folder", "The link leads out of the folder.")
        elif real.is_file() and path.suffix.lower() in PHOTO_SUFFIXES:
            yield _located(path)


def _located(path: Path) -> _Found:
    try:
        found = path.stat()
    except OSError as error:
        return _bad(path, "unreadable", f"The file can't be read: {error}.")
    if not path.is_file():
        return _bad(path, "not-a-file", "It is not a regular file.")
    if not os.access(path, os.R_OK):
        return _bad(path, "unreadable", "The file may not be read by the server's user.")
    uri = path.as_uri()
    return Locator(key=uri, uri=uri, version=version_of(found), size=found.st_size)


def _bad(path: Path, reason: str, message: str) -> BadEntry:
    uri = path.as_uri()
    return BadEntry(key=uri, uri=uri, reason=reason, message=message)
