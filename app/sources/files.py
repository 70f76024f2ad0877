"""Opening photos that are files, without ever leaving the folder that the source was given."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from app.core.errors import BadInput, ForbiddenAddress, PhotoRejected, SourceUnavailable

READ_BYTES = 1 << 20


class FileStream:
    """A file read in pieces, off the event loop. `version` is size and modification time."""

    def __init__(self, handle: BinaryIO, found: os.stat_result) -> None:
        self.version: str | None = version_of(found)
        self.size: int | None = found.st_size
        self._handle = handle

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises SourceUnavailable where the disk or share fails."""
        while True:
            try:
                chunk = await asyncio.to_thread(self._handle.read, READ_BYTES)
            except OSError as error:
                raise SourceUnavailable("unreadable", f"Reading failed: {error}.") from error
            if not chunk:
                return
            yield chunk


def version_of(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def path_of(uri: str) -> Path:
    """The path of a file:// URI or of a plain path. Raises BadInput for another machine's file."""
    if not uri.lower().startswith("file:"):
        return Path(uri)
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise BadInput(
            f"{uri} names a file on another machine.", cure="Mount it, and give its path."
        )
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))


@asynccontextmanager
async def open_within(root: Path, path: Path) -> AsyncIterator[FileStream]:
    """Opens `path`, which must be a regular file inside `root` once all links are followed.

    Raises ForbiddenAddress outside it, PhotoRejected where the file is gone or can't be read.
    """
    handle = await asyncio.to_thread(_open, root, path)
    try:
        yield FileStream(handle, os.fstat(handle.fileno()))
    finally:
        await asyncio.to_thread(handle.close)


def _open(root: Path, path: Path) -> BinaryIO:
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root.resolve()):
            raise ForbiddenAddress(f"{path} leads out of the folder {root}.")
        # The resolved path has no link left, so NOFOLLOW turns a swap in between into an error;
        # NONBLOCK keeps a named pipe from holding the thread.
        descriptor = os.open(
            real, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        )
    except FileNotFoundError as error:
        raise PhotoRejected("not-found", f"{path} is not there any more.") from error
    except PermissionError as error:
        raise PhotoRejected(
            "unreadable", f"{path} may not be read.", cure="Give the server's user read access."
        ) from error
    except (OSError, RuntimeError) as error:
        raise SourceUnavailable("unreadable", f"{path} can't be opened: {error}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PhotoRejected("not-a-file", f"{path} is not a regular file.")
    return os.fdopen(descriptor, "rb", buffering=0)
