"""The way out for libraries that connect by themselves: a forward proxy of our own on loopback.

obstore's Rust client resolves and dials on its own, past every check of connect.py. It is therefore
told to use this proxy and nothing else; the proxy resolves the name, checks all its addresses,
dials one of them, compares the peer, and only then lets bytes through (SECURITY.md 9–12).

A client gets a lane: a secret of its own, the origins that it may reach and the size of the
largest answer. So a redirect, or a secret that leaks to a neighbour on the machine, leads nowhere
else. https goes through CONNECT and stays encrypted; http comes in absolute form, as GET or HEAD
without a body, one origin a connection. Anything else is refused before any connection is made.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Self, cast

from app.core.errors import ForbiddenAddress, PhotoRejected, SourceUnavailable
from app.sources.addresses import AddressPolicy, WebAddress
from app.sources.connect import CheckedResolver, Resolve, system_resolve
from app.sources.egress_heads import MAX_HEAD, USER, Refused, RequestHead

MAX_CONNECTIONS = 256
HEAD_SECONDS = 10.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Lane:
    """What one client may do. The proxy forgets a lane as soon as nobody holds it.

    `url` is the proxy's address for the client, with the lane's secret. `origins` are like
    "https://storage.example:443". `answer_bytes` bounds what may come in after each piece that the
    client sends. `mark` is in the body of each refusal, so that it isn't taken for the origin's.
    `fault` says why the last connection failed, None after one that did not. `overrun` is set by
    an answer that went beyond the bound and was cut off.
    """

    url: str = field(repr=False)
    origins: frozenset[str]
    answer_bytes: int
    mark: str = field(repr=False)
    fault: PhotoRejected | SourceUnavailable | None = None
    overrun: bool = False


def lane_key(address: WebAddress) -> str:
    return f"{address.scheme}://{address.host}:{address.port}"


class EgressProxy:
    """Use as an async context manager, one for a process and event loop. Seconds are bounds."""

    def __init__(
        self,
        policy: AddressPolicy,
        resolve: Resolve = system_resolve,
        *,
        connect_seconds: float = 5.0,
        idle_seconds: float = 60.0,
    ) -> None:
        self.policy = policy
        self.idle_seconds = idle_seconds
        self.clients: set[Client] = set()
        self._connect_seconds = connect_seconds
        self._resolver = CheckedResolver(policy, resolve)
        self._lanes: weakref.WeakValueDictionary[str, Lane] = weakref.WeakValueDictionary()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(partial(Client, self), "127.0.0.1", 0)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for client in list(self.clients):
                client.abort()
            await self._server.wait_closed()
            self._server = None

    def lane(self, origins: Iterable[WebAddress], answer_bytes: int) -> Lane:
        """A lane to `origins`. Whether their addresses are allowed is decided at each connection."""
        secret = secrets.token_urlsafe(32)
        url = f"http://{USER}:{secret}@127.0.0.1:{self._port}"
        allowed = frozenset(lane_key(origin) for origin in origins)
        lane = self._lanes[secret] = Lane(url, allowed, answer_bytes, secrets.token_urlsafe(16))
        return lane

    def lane_of(self, head: RequestHead) -> Lane:
        lane = self._lanes.get(head.secret())
        if lane is None:
            raise Refused(407, "unknown")
        return lane

    async def dial(self, client: Client, lane: Lane, address: WebAddress) -> Upstream:
        """Connects to one of the checked addresses. Raises Refused, the reason is the lane's."""
        lane.fault, status = None, 502
        try:
            self.policy.check_url(str(address))
            found = await self._resolved(address)
            return await self._connected(client, address, found)
        except PhotoRejected as error:
            lane.fault, status = error, 403
        except TimeoutError:
            words = f"{address.origin} did not answer within {self._connect_seconds:g} s."
            lane.fault, status = SourceUnavailable("timeout", words), 504
        except socket.gaierror:
            lane.fault = SourceUnavailable("no-such-host", f"{address.host} has no address.")
        except OSError:
            words = f"{address.origin} can't be reached."
            lane.fault = SourceUnavailable("unreachable", words)
        raise Refused(status, lane.fault.reason)

    async def _resolved(self, address: WebAddress) -> list[str]:
        try:
            async with asyncio.timeout(self._connect_seconds):
                found = await self._resolver.resolve(address.host, address.port)
        except TimeoutError:
            raise
        except (OSError, UnicodeError) as error:
            raise socket.gaierror from error
        return [each["host"] for each in found]

    async def _connected(self, client: Client, address: WebAddress, found: list[str]) -> Upstream:
        loop = asyncio.get_running_loop()
        failure: OSError = OSError("no address")
        for each in found:
            try:
                # A literal is dialled as it stands, without another lookup.
                async with asyncio.timeout(self._connect_seconds / len(found)):
                    transport, upstream = await loop.create_connection(
                        partial(Upstream, client), each, address.port
                    )
            except OSError as error:  # TimeoutError is one
                failure = error
                continue
            peer = transport.get_extra_info("peername")
            try:
                if not peer:
                    raise ConnectionResetError
                self.policy.check_address(str(peer[0]), int(peer[1]), address.host)
            except (ForbiddenAddress, OSError):
                transport.abort()
                raise
            return upstream
        raise failure


class _End(asyncio.Protocol):
    """One end of a pair. What it can't send fast enough, the other may not receive."""

    transport: asyncio.Transport
    other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()  # after what was still to be sent
        self.other = None


class Upstream(_End):
    """The connection to the origin; silent until the client was told that it stands."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self._client.answer(data)


class Client(_End):
    """The connection from the library."""

    def __init__(self, proxy: EgressProxy) -> None:
        self._proxy = proxy
        self._head = bytearray()
        self._lane: Lane | None = None
        self._address: WebAddress | None = None
        self._raw = False  # bytes are passed on as they come: a CONNECT that stands
        self._answered = 0
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(HEAD_SECONDS, self._look)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.clients.add(self)
        if len(self._proxy.clients) > MAX_CONNECTIONS:
            self._refuse(Refused(503, "too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._proxy.clients.discard(self)
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        if self.other is not None:
            self.other.transport.abort()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:  # before that, a drip of bytes must not prolong the wait
            self._last = self._loop.time()
        self._answered = 0
        if self._raw and self.other is not None:
            self.other.transport.write(data)
            return
        self._head += data
        self._read_heads()

    def answer(self, data: bytes) -> None:
        """Bytes of the origin."""
        self._last = self._loop.time()
        self._answered += len(data)
        if self._lane is not None and self._answered > self._lane.answer_bytes:
            self._lane.overrun = True
            self.abort()
            return
        self.transport.write(data)

    def _read_heads(self) -> None:
        """Passes on the requests that are complete; the first of a connection dials."""
        while self._task is None and not self.transport.is_closing():
            end = self._head.find(b"\r\n\r\n")
            try:
                if max(end, len(self._head) if end < 0 else 0) > MAX_HEAD:
                    raise Refused(431, "too long")
                if end < 0:
                    return
                head = RequestHead.parse(bytes(self._head[:end]))
                del self._head[: end + 4]
                lane = self._proxy.lane_of(head)
                self._lane = self._lane or lane
                address = self._allowed(head, lane)
            except Refused as refused:
                self._refuse(refused)
                return
            if self.other is not None:
                self.other.transport.write(head.for_origin(address))
            else:
                self._address = address
                self._task = self._loop.create_task(self._open(head, lane, address))

    def _allowed(self, head: RequestHead, lane: Lane) -> WebAddress:
        try:
            address = head.address()
        except PhotoRejected as error:
            raise Refused(403, "not an address") from error
        if lane_key(address) not in lane.origins:
            host = address.origin
            lane.fault = ForbiddenAddress(f"The storage sends on to {host}, which isn't followed.")
            raise Refused(403, "not an origin of this lane")
        if self.other is not None and (lane is not self._lane or address != self._address):
            raise Refused(403, "another origin on a connection that is in use")
        return address

    async def _open(self, head: RequestHead, lane: Lane, address: WebAddress) -> None:
        self.transport.pause_reading()
        try:
            upstream = await self._proxy.dial(self, lane, address)
        except Refused as refused:
            self._refuse(refused)
            return
        if self.transport.is_closing():
            upstream.transport.abort()
            return
        self._last = self._loop.time()  # dialling is no idleness
        self.other, upstream.other = upstream, self
        if head.method == "CONNECT":
            self._raw = True
            self.transport.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            upstream.transport.write(bytes(self._head))
            self._head.clear()
        else:
            upstream.transport.write(head.for_origin(address))
        upstream.transport.resume_reading()
        self.transport.resume_reading()
        self._task = None
        self._timer.cancel()
        self._look()
        if not self._raw:
            self._read_heads()

    def _refuse(self, refused: Refused) -> None:
        mark = self._lane.mark if self._lane is not None else ""
        body = f"{mark} {refused}".encode()
        head = (
            f"HTTP/1.1 {refused.status} Refused\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        if refused.status == 407:
            head += 'Proxy-Authenticate: Basic realm="egress"\r\n'
        self.transport.write(head.encode() + b"\r\n" + body)
        self.transport.close()

    def _look(self) -> None:
        """Ends a connection on which nothing moves, or whose first request does not come."""
        bound = self._proxy.idle_seconds if self._task or self.other else HEAD_SECONDS
        left = self._last + bound - self._loop.time()
        if left <= 0:
            self.abort()
        else:
            self._timer = self._loop.call_later(left, self._look)
