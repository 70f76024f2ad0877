"""A small HTTP server on loopback that plays the remote origin of sample photos."""

from __future__ import annotations

import asyncio
import csv
import io
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from app.core.errors import ServiceDown


class SampleOrigin:
    """Serves files by path from a thread of its own; a context manager. `url` is its address.

    `files` gives the bytes, or a function that reads them when they are asked for.
    """

    def __init__(self, files: Mapping[str, bytes | Callable[[], bytes]]) -> None:
        self._files = files
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="sample-origin", daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise ServiceDown("The sample's server could not start.") from self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            runner = loop.run_until_complete(self._start())
        except OSError as error:
            self._failure = error
            self._ready.set()
            return
        self._loop = loop
        self._ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return runner

    async def _serve(self, request: web.Request) -> web.Response:
        found = self._files.get(request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound
        data = found if isinstance(found, bytes) else await asyncio.to_thread(found)
        kind = "text/csv" if request.path.endswith(".csv") else "image/jpeg"
        return web.Response(body=data, content_type=kind)


def csv_list(rows: list[dict[str, str]]) -> bytes:
    """A list source: one row a photo, with the columns of the first row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["url"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
