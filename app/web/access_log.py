"""One line a request or socket: method, path, status, bytes and milliseconds. No query string, no
cookie, no address's secret part (SECURITY.md 24)."""

from __future__ import annotations

import logging
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("app.web.access")

_SECRET_PARTS = re.compile(r"^(/welcome/)[^/]+")


def redacted(path: str) -> str:
    """The path without the secret of a one-time link, and without control characters."""
    shown = _SECRET_PARTS.sub(r"\1…", path)
    return "".join(c if c.isprintable() else "?" for c in shown)


class NoSocketLines(logging.Filter):
    """Drops uvicorn's own lines about websockets: they hold the query, and so the ticket."""

    def filter(self, record: logging.LogRecord) -> bool:
        return '"WebSocket ' not in str(record.msg)


_NO_SOCKET_LINES = NoSocketLines()


class AccessLog:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        logging.getLogger("uvicorn.error").addFilter(_NO_SOCKET_LINES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not log.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = size = 0

        async def counting_send(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close":
                status = status or 403
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counting_send)
        finally:
            log.info(
                "%s %s %s %d B %.0f ms",
                scope.get("method", "WS"),
                redacted(scope["path"]),
                status or 500,
                size,
                (time.perf_counter() - started) * 1000,
            )
