"""The Host header must name this server, so that a foreign name that resolves here (DNS rebinding)
reaches nothing."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never listened on


def host_of(header: str) -> str | None:
    """The host of a Host header without its port, lower case; None where it is not one."""
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018 - raises where the port is none
    except ValueError:
        return None
    if not header or parts.netloc != header or "@" in header:
        return None
    return parts.hostname


class HostCheck:
    """Lets through this machine's names, the operator's public host and, where the server listens
    on every address, any literal address: a rebinding attack needs a name."""

    def __init__(self, app: ASGIApp, *, listens_on: str, public_url: str | None) -> None:
        self._app = app
        self._allowed = _LOCAL | {listens_on.lower()} - _ANY
        if public_url and (host := urlsplit(public_url).hostname):
            self._allowed |= {host}
        self._literals = listens_on in _ANY
        if self._literals:
            self._allowed |= {socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._is_ours(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, "unknown host")(scope, receive, send)
        else:
            text = "This server doesn't go by that name. Its operator can set CLAIR_PUBLIC_URL.\n"
            await PlainTextResponse(text, 421)(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        hosts = Headers(scope=scope).getlist("host")
        host = host_of(hosts[0]) if len(hosts) == 1 else None
        if host is None:
            return False
        return host in self._allowed or (self._literals and _is_literal(host))


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
