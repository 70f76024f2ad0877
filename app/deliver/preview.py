"""Previews: the original is streamed from where it lives, re-encoded smaller, and forgotten.

Nothing is stored: bytes are in memory while somebody waits for them. Many who ask for the same
preview share one fetch; how many are made at once and how many wait is bounded, and what is over
that is refused at once (SECURITY.md 21).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from app.core.errors import BadInput, Overloaded, PhotoRejected, SourceUnavailable
from app.core.failures import CHANGED
from app.core.photos import Locator
from app.core.ports import Source
from app.core.sources import SourceSpec
from app.sources.memory import read_photo

SIZES = (1024, 2048)  # enumerated, so that nobody can ask for thousands of variants
_LARGE = 20_000_000  # bytes; only one original of this size or of unknown size is held at a time


@dataclass(frozen=True, slots=True)
class Original:
    """Which original, as the ledger knows it."""

    photo_id: int
    source: SourceSpec
    key: str
    uri: str
    version: str | None


OpenSource = Callable[[SourceSpec], Source]
Render = Callable[[bytes, int], Awaitable[bytes]]


class Previews:
    """Makes previews within one event loop.

    `open_source` makes the source; `render(data, size)` re-encodes, in a disposable child.
    `tell(photo_id, reason, message)` hears what opening an original showed of its health, reason
    None where it is well. `at_once` originals are fetched and decoded at the
    same time, `waiting` more may stand in line.
    """

    def __init__(
        self,
        open_source: OpenSource,
        render: Render,
        *,
        tell: Callable[[int, str | None, str], Awaitable[None]],
        max_bytes: int,
        at_once: int = 3,
        waiting: int = 24,
    ) -> None:
        self._open_source = open_source
        self._render = render
        self._tell = tell
        self._max_bytes = max_bytes
        self._capacity = at_once + waiting
        self._slots = asyncio.Semaphore(at_once)
        self._large = asyncio.Lock()
        self._flights: dict[tuple[Original, int], _Flight] = {}

    @property
    def in_flight(self) -> int:
        """Distinct previews being made or waiting."""
        return len(self._flights)

    async def preview(self, original: Original, size: int) -> bytes:
        """A JPEG without metadata, at most `size` pixels on the long side.

        Raises BadInput for a size that isn't offered, Overloaded, and what source and decoder
        raise: PhotoRejected, SourceUnavailable.
        """
        if size not in SIZES:
            raise BadInput(
                f"There is no preview of {size} pixels.",
                cure=f"Sizes: {', '.join(map(str, SIZES))}.",
            )
        key = (original, size)
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= self._capacity:
                raise Overloaded("Too many previews are being made at once.")
            flight = _Flight(asyncio.create_task(self._make(original, size)))
            self._flights[key] = flight
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.task.done() or not flight.waiting:
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]

    async def _make(self, original: Original, size: int) -> bytes:
        async with self._slots:
            source = self._open_source(original.source)
            try:
                preview, version = await self._fetch(source, original, size)
            except (PhotoRejected, SourceUnavailable) as error:
                await self._tell(original.photo_id, error.reason, str(error))
                raise
            known = None not in (version, original.version) and not source.scales
            changed = known and version != original.version
            await self._tell(original.photo_id, CHANGED if changed else None, "")
            return preview

    async def _fetch(
        self, source: Source, original: Original, size: int
    ) -> tuple[bytes, str | None]:
        locator = Locator(original.key, original.uri, version=original.version)
        async with source.open(locator, long_side=size) as stream:
            small = stream.size is not None and stream.size < _LARGE
            room: AbstractAsyncContextManager[object] = nullcontext() if small else self._large
            async with room:
                data = await read_photo(stream, self._max_bytes)
                return await self._render(data, size), stream.version


@dataclass(slots=True)
class _Flight:
    """One preview in the making and how many wait for it; it ends early when nobody does."""

    task: asyncio.Task[bytes]
    waiting: int = 0
