"""Originals live here and nowhere else: in memory, once, and never larger than a limit."""

from __future__ import annotations

from app.core.errors import PhotoRejected
from app.core.ports import PhotoStream
from app.sources.http import too_large


async def read_photo(stream: PhotoStream, limit: int) -> bytes:
    """The whole original, at most `limit` bytes.

    Raises PhotoRejected (too-large, empty) and whatever the stream raises.
    """
    if stream.size is not None and stream.size > limit:
        raise too_large("The photo", limit)
    parts: list[bytes] = []
    total = 0
    async for chunk in stream.chunks():
        total += len(chunk)
        if total > limit:
            raise too_large("The photo", limit)
        parts.append(chunk)
    if not total:
        raise PhotoRejected("empty", "The address answers with an empty file.")
    return b"".join(parts)
