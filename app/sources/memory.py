"""Originals live here and nowhere else: in memory, once, and never larger than a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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


class MemoryBudget:
    """Bounds the bytes of originals that are in memory at once; belongs to one event loop.

    `total` is in bytes. Whoever asks for more than that waits until nobody else holds any.
    """

    UNKNOWN = 16_000_000
    """What an original of unannounced size is counted as."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, size: int | None) -> AsyncIterator[None]:
        """Waits for room for an original of `size` bytes, and gives it back at the end."""
        wanted = min(self.UNKNOWN if size is None else size, self._total)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            async with self._changed:
                self._free += wanted
                self._changed.notify_all()
