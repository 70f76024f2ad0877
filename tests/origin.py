"""A remote origin on loopback, for tests and benchmarks: a real HTTP server that can misbehave.

    with Origin({"/a.jpg": Answer(data)}) as origin:
        origin.url("/a.jpg")

It runs in a thread of its own, counts requests and connections, and serves either a dictionary of
answers or a folder. The fetcher reaches it only by a CIDR (`LOOPBACK`), as it would a NAS.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(slots=True)
class Answer:
    """One response, and how it goes wrong.

    `delay`: seconds before the headers. `announced`: a Content-Length that lies. `cut`: the
    connection is broken after this many bytes. `drip`: (bytes, seconds between them). `then`: the
    answer from the second request on, so a fault can pass or an ETag can change.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    announced: int | None = None
    cut: int | None = None
    drip: tuple[int, float] | None = None
    then: Answer | None = None


def redirect(location: str, status: int = 302) -> Answer:
    return Answer(status=status, headers={"Location": location})


Respond = Callable[[web.Request], Answer]


class Origin:
    """`answers` maps paths to answers or functions; `folder` serves files that no answer names.

    `delay` applies to everything. `requests` counts by path, `seen` holds each request's headers in
    order, `most_at_once` is the highest concurrency observed.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer | Respond] | None = None,
        *,
        folder: Path | None = None,
        delay: float = 0.0,
        host: str = "127.0.0.1",
    ) -> None:
        self.answers: dict[str, Answer | Respond] = dict(answers or {})
        self.requests: Counter[str] = Counter()
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.most_at_once = 0
        self.port = 0
        self._folder = folder
        self._delay = delay
        self._host = host
        self._at_once = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="origin", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"http://{host or self._host}:{self.port}{path}"

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # The body is made by hand below, so that lengths can lie; hence the low-level server.
        server = web.Server(self._handle, access_log=None)
        listener = socket.create_server((self._host, 0), backlog=512)
        site = await self._loop.create_server(server, sock=listener)
        self.port = int(listener.getsockname()[1])
        self._ready.set()
        await self._stop.wait()
        site.close()
        await server.shutdown(0.1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests[request.path] += 1
        self.seen.append((request.path, dict(request.headers)))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._respond(request)
        except ConnectionError:
            return web.Response(status=499)  # the client hung up, which nobody will read
        finally:
            self._at_once -= 1

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        found = self.answers.get(request.raw_path) or self.answers.get(request.path)
        if callable(found):
            answer = await asyncio.to_thread(found, request)  # type: ignore[arg-type]
        elif found is not None:
            answer = found
            if answer.then is not None:
                self.answers[request.path] = answer.then
        else:
            answer = await asyncio.to_thread(self._file, request.path)
        if self._delay + answer.delay:
            await asyncio.sleep(self._delay + answer.delay)
        return await self._send(request, answer)

    def _file(self, path: str) -> Answer:
        if self._folder is None:
            return Answer(status=404)
        file = (self._folder / path.lstrip("/")).resolve()
        if not file.is_relative_to(self._folder.resolve()) or not file.is_file():
            return Answer(status=404)
        body = file.read_bytes()
        headers = {
            "ETag": f'"{hashlib.blake2b(body, digest_size=8).hexdigest()}"',
            "Content-Type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
        }
        return Answer(body, headers=headers)

    async def _send(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = len(answer.body) if answer.announced is None else answer.announced
        await response.prepare(request)
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        if answer.drip is None:
            await response.write(body)
        else:
            step, pause = answer.drip
            for start in range(0, len(body), step):
                await response.write(body[start : start + step])
                await asyncio.sleep(pause)
        if answer.cut is not None or answer.announced is not None:
            # write_eof would fill or complain; breaking the connection off is the point.
            if request.transport is not None:
                request.transport.close()
            return response
        await response.write_eof()
        return response


class Listener:
    """A port that nobody may connect to: counts every accepted connection and closes it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.accepted = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A last connection of our own wakes accept up; it isn't counted.
        self._closing = True
        with socket.create_connection(self._socket.getsockname()[:2]):
            self._thread.join()
        self._socket.close()

    _closing = False

    def _run(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            connection.close()
            if self._closing:
                return
            self.accepted += 1


def has_ipv6_loopback() -> bool:
    try:
        with Listener("::1"):
            return True
    except OSError:
        return False
