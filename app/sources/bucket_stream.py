"""An object on its way from obstore, under the fetcher's bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError

from app.core.errors import ClairError, SourceUnavailable
from app.sources.http import FetchLimits, too_large

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta

ERRORS = (BaseError, OSError, ValueError)
"""What obstore raises."""


class ObjectStream:
    """An object's bytes as they come in. `version` is as in the listing, `size` in bytes.

    `explain` makes an error of ours of one of obstore's. `deadline` is on the loop's clock.
    """

    def __init__(
        self,
        result: GetResult,
        uri: str,
        limits: FetchLimits,
        deadline: float,
        explain: Callable[[Exception], ClairError],
    ) -> None:
        self.version: str | None = version_of(result.meta)
        self.size: int | None = result.meta["size"]
        self._result = result
        self._uri = uri
        self._limits = limits
        self._deadline = deadline
        self._explain = explain

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises PhotoRejected(too-large) and SourceUnavailable."""
        limits = self._limits
        if self.size is not None and self.size > limits.max_bytes:
            raise too_large(self._uri, limits.max_bytes)
        loop = asyncio.get_running_loop()
        total = in_window = 0
        window_ends = loop.time() + limits.rate_window_seconds
        pieces = self._result.stream(min_chunk_size=1)
        coming = asyncio.ensure_future(anext(pieces))
        try:
            while True:
                # Left alone at a window's end: cancelled, obstore would lose what it holds by then.
                left = min(window_ends, self._deadline) - loop.time()
                await asyncio.wait({coming}, timeout=max(left, 0.0))
                if not coming.done():
                    if loop.time() >= self._deadline:
                        raise timed_out(self._uri, limits.total_seconds)
                    if in_window < limits.min_bytes_per_second * limits.rate_window_seconds:
                        raise SourceUnavailable("too-slow", f"{self._uri} stalled.")
                    in_window, window_ends = 0, loop.time() + limits.rate_window_seconds
                    continue
                try:
                    piece = coming.result()
                except StopAsyncIteration:
                    return
                except ERRORS as error:
                    raise self._explain(error) from None
                total += len(piece)
                in_window += len(piece)
                if total > limits.max_bytes:
                    raise too_large(self._uri, limits.max_bytes)
                yield bytes(piece)
                if loop.time() > window_ends:  # the reader was busy
                    in_window, window_ends = 0, loop.time() + limits.rate_window_seconds
                coming = asyncio.ensure_future(anext(pieces))
        finally:
            coming.cancel()


def version_of(found: ObjectMeta) -> str:
    """The ETag without its quotes, which Azure leaves out in listings; else size and time."""
    tag = found["e_tag"]
    if tag:
        return tag.removeprefix("W/").strip('"')
    return f"{found['size']}-{int(found['last_modified'].timestamp())}"


def timed_out(uri: str, seconds: float) -> SourceUnavailable:
    return SourceUnavailable("timeout", f"{uri} did not finish within {seconds:g} s.")
