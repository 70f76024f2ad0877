"""The connector: a name is resolved once, all its addresses are checked, only those are dialled.

Three gates, because each closes what another can't see (SECURITY.md 9). The resolver refuses a name
if *any* of its addresses is closed, and hands aiohttp the checked addresses, so no second lookup
can answer differently. The socket factory sees each address right before its socket is made, IP
literals included. After connecting, or when a kept connection is used again, the peer that the
kernel names is compared once more before the request is written. Host header and SNI stay those of
the URL.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

from app.core.errors import ForbiddenAddress
from app.sources.addresses import AddressPolicy

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType
    from aiohttp.tracing import Trace

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → IP addresses as text. Raises OSError (socket.gaierror) where there are none."""

DNS_SECONDS = 10


async def system_resolve(host: str, port: int) -> list[str]:
    """The operating system's resolver, off the event loop. IPv4 and IPv6, in its order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_ADDRCONFIG
    )
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class CheckedResolver(AbstractResolver):
    """Answers with addresses that the policy allows, all of them, or not at all."""

    def __init__(self, policy: AddressPolicy, resolve: Resolve = system_resolve) -> None:
        self._policy = policy
        self._resolve = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._resolve(host, port)
        if not addresses:
            raise OSError(f"{host} has no address")
        for address in addresses:
            self._policy.check_address(address, port, host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


class CheckedConnector(TCPConnector):
    """aiohttp's connector behind the three gates. The Fetcher bounds concurrency."""

    def __init__(self, policy: AddressPolicy, resolve: Resolve = system_resolve) -> None:
        super().__init__(
            resolver=CheckedResolver(policy, resolve),
            limit=0,
            ttl_dns_cache=DNS_SECONDS,
            socket_factory=self._checked_socket,
        )
        self._policy = policy

    def _checked_socket(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        self._policy.check_address(str(address[0]), int(address[1]), str(address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        try:
            peer = connection.transport and connection.transport.get_extra_info("peername")
            if not peer:
                # The kept connection ended between the pool and here; aiohttp then dials anew.
                raise ConnectionResetError(f"{req.url.host} closed the connection.")
            self._policy.check_address(str(peer[0]), int(peer[1]), str(req.url.host))
        except (ForbiddenAddress, OSError):
            connection.close()
            raise
        return connection
