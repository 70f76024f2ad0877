"""An origin that costs next to nothing, for measuring clients: a process of its own.

Run as a program: `python benchmarks/_origin.py SIZE DELAY`. It answers every request with the same
SIZE bytes, DELAY seconds after it came, prints its address on stdout and serves until its stdin
closes. The answer is made once and written in one call, so that the client is what is measured.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[1]


class _Answering(asyncio.Protocol):
    def __init__(self, answer: bytes, delay: float) -> None:
        self._answer, self._delay = answer, delay
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked += data
        while b"\r\n\r\n" in self._asked:  # a GET has no body
            _, _, self._asked = self._asked.partition(b"\r\n\r\n")
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._reply)
            else:
                self._reply()

    def _reply(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._answer)


def _answer(size: int) -> bytes:
    body = os.urandom(size)
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
        f'Content-Length: {size}\r\nETag: "one"\r\n\r\n'
    )
    return head.encode() + body


async def serve(size: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    answer = _answer(size)
    server = await loop.create_server(
        lambda: _Answering(answer, delay), "127.0.0.1", 0, backlog=512
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    closed = asyncio.Event()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=wait, daemon=True).start()
    await closed.wait()


class FastOrigin:
    """The program above as a context manager; `url` ends with a slash."""

    def __init__(self, size: int, delay: float = 0.0) -> None:
        self._command = [sys.executable, __file__, str(size), str(delay)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise SystemExit("the origin did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
