"""The fetcher: one a process, bounded in every direction (SECURITY.md 9–12).

What the caller gets is either a stream or one of two errors: PhotoRejected where asking again would
not help, SourceUnavailable where it might, with `after` where the origin said how long. Quick
failures are tried again here, with exponential back-off and full jitter
(M. Brooker, "Exponential Backoff And Jitter", 2015); a wait that is longer than a few seconds is
left to the ledger, which holds no slot while it waits.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp.compression_utils import HAS_BROTLI, HAS_ZSTD

from app.core.errors import PhotoRejected, SourceUnavailable
from app.sources.addresses import AddressPolicy, WebAddress
from app.sources.connect import CheckedConnector, Resolve, system_resolve
from app.sources.hosts import HostGate, retry_after

USER_AGENT = "ClairVision/0.1"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ENCODINGS = frozenset(
    {"", "identity", "gzip", "deflate"}
    | ({"br"} if HAS_BROTLI else set())
    | ({"zstd"} if HAS_ZSTD else set())
)
_REJECTED = {
    401: ("unauthorised", "wants a sign-in"),
    403: ("forbidden", "refuses to hand it out"),
    404: ("not-found", "has no such photo"),
    410: ("gone", "says that it was removed"),
    451: ("blocked", "withholds it for legal reasons"),
}


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one process's fetching. Seconds and bytes."""

    max_bytes: int = 200_000_000
    connect_seconds: float = 5.0
    total_seconds: float = 30.0
    min_bytes_per_second: int = 1024
    rate_window_seconds: float = 5.0
    concurrency: int = 32
    per_host: int = 8
    redirects: int = 3
    attempts: int = 3
    first_backoff_seconds: float = 0.3
    longest_wait_seconds: float = 5.0


class HttpStream:
    """A response whose body is read in pieces; the PhotoStream of every web source.

    `version`: the ETag, else Last-Modified. `size`: the announced length, None if unknown or if the
    body is compressed. `url`: where the redirects ended.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, url: str, limits: FetchLimits, deadline: float
    ) -> None:
        headers = response.headers
        self.version: str | None = headers.get("ETag") or headers.get("Last-Modified")
        encoded = headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")
        self.size: int | None = None if encoded else response.content_length
        self.content_type = response.content_type
        self.url = url
        self._response = response
        self._limits = limits
        self._deadline = deadline

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, decompressed. Raises PhotoRejected(too-large) and SourceUnavailable."""
        limits = self._limits
        if self.size is not None and self.size > limits.max_bytes:
            raise too_large(self.url, limits.max_bytes)
        loop = asyncio.get_running_loop()
        total = in_window = 0
        window_ends = loop.time() + limits.rate_window_seconds
        while True:
            try:
                async with asyncio.timeout_at(min(window_ends, self._deadline)):
                    chunk = await self._response.content.readany()
            except TimeoutError as error:
                if loop.time() >= self._deadline:
                    raise _timed_out(self.url, limits.total_seconds) from error
                if in_window < limits.min_bytes_per_second * limits.rate_window_seconds:
                    raise SourceUnavailable("too-slow", f"{self.url} stalled.") from error
                in_window, window_ends = 0, loop.time() + limits.rate_window_seconds
                continue
            except aiohttp.ClientPayloadError as error:
                raise _broken_body(self.url, error) from error
            except (aiohttp.ClientError, OSError) as error:
                raise SourceUnavailable("broken-off", f"{self.url} broke off.") from error
            if not chunk:
                return
            total += len(chunk)
            in_window += len(chunk)
            if total > limits.max_bytes:
                raise too_large(self.url, limits.max_bytes)
            yield chunk
            if loop.time() > window_ends:  # the reader was busy, which is not the origin's fault
                in_window, window_ends = 0, loop.time() + limits.rate_window_seconds


class Fetcher:
    """Opens web addresses. Use as an async context manager, one for a process and event loop."""

    def __init__(
        self,
        policy: AddressPolicy | None = None,
        limits: FetchLimits | None = None,
        *,
        resolve: Resolve = system_resolve,
    ) -> None:
        self.policy = policy or AddressPolicy()
        self.limits = limits or FetchLimits()
        self._resolve = resolve
        self._session: aiohttp.ClientSession | None = None
        self._gate = HostGate(self.limits.concurrency, self.limits.per_host)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=CheckedConnector(self.policy, self._resolve),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=self.limits.connect_seconds,
                sock_connect=self.limits.connect_seconds,
            ),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def open(
        self, url: str, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[HttpStream]:
        """Opens `url` for streaming. `headers` go to its own host only, never along a redirect.

        Raises ForbiddenAddress, other PhotoRejected, and SourceUnavailable.
        """
        address = self.policy.check_url(url)
        async with AsyncExitStack() as held:
            yield await self._opened(address, dict(headers or {}), held)

    async def _opened(
        self, address: WebAddress, headers: dict[str, str], held: AsyncExitStack
    ) -> HttpStream:
        """Tries until there is a good response; its slot and connection then belong to `held`."""
        limits = self.limits
        for attempt in range(1, limits.attempts + 1):
            await self._gate.wait(address.origin, limits.longest_wait_seconds)
            try:
                async with AsyncExitStack() as mine:
                    await mine.enter_async_context(self._gate.slot(address.origin))
                    deadline = asyncio.get_running_loop().time() + limits.total_seconds
                    response, final = await self._answer(address, headers, deadline)
                    mine.callback(response.release)
                    held.push_async_callback(mine.pop_all().aclose)
                    return HttpStream(response, str(final), limits, deadline)
            except SourceUnavailable as error:
                backoff = limits.first_backoff_seconds * 2 ** (attempt - 1)
                wait = backoff * random.random() if error.after is None else error.after  # noqa: S311
                if (
                    attempt == limits.attempts
                    or error.reason == "timeout"
                    or wait > limits.longest_wait_seconds
                ):
                    raise
            await asyncio.sleep(wait)
        raise SourceUnavailable("unreachable", f"{address} was not tried.")

    async def _answer(
        self, address: WebAddress, headers: dict[str, str], deadline: float
    ) -> tuple[aiohttp.ClientResponse, WebAddress]:
        """Follows redirects by hand, each hop checked like the first."""
        for _ in range(self.limits.redirects + 1):
            response = await self._request(address, headers, deadline)
            if response.status not in _REDIRECTS:
                try:
                    self._judge(response, address)
                except BaseException:
                    response.release()
                    raise
                return response, address
            location = response.headers.get("Location")
            response.release()
            if not location:
                raise PhotoRejected("bad-redirect", f"{address} redirects to nowhere.")
            address = self.policy.check_url(location, base=str(address))
            headers = {}
        raise PhotoRejected(
            "too-many-redirects", f"{address} redirects more than {self.limits.redirects} times."
        )

    async def _request(
        self, address: WebAddress, headers: dict[str, str], deadline: float
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise SourceUnavailable("closed", "The fetcher is closed.")
        try:
            async with asyncio.timeout_at(deadline):
                return await self._session.get(
                    address.for_client(), headers=headers, allow_redirects=False
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise _timed_out(str(address), self.limits.connect_seconds) from error
        except TimeoutError as error:
            raise _timed_out(str(address), self.limits.total_seconds) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(address, error) from error

    def _judge(self, response: aiohttp.ClientResponse, address: WebAddress) -> None:
        status = response.status
        if status == 200:
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            if encoding not in _ENCODINGS:
                raise PhotoRejected(
                    "unsupported-encoding", f"{address} sends {encoding[:40]}-compressed data."
                )
            return
        if status in _REJECTED:
            reason, words = _REJECTED[status]
            raise PhotoRejected(reason, f"{address.origin} {words} ({status}): {address}")
        after = retry_after(response.headers.get("Retry-After"))
        if status in (408, 425, 429) or status >= 500:
            if after is not None:
                self._gate.postpone(address.origin, after)
            reason = "rate-limited" if status == 429 else "server-error"
            raise SourceUnavailable(reason, f"{address} answered {status}.", after=after)
        raise PhotoRejected(f"http-{status}", f"{address} answered {status}.")


def too_large(url: str, limit: int) -> PhotoRejected:
    return PhotoRejected(
        "too-large",
        f"{url} is larger than {limit / 1e6:g} MB.",
        cure="The limit is the setting CLAIR_MAX_PHOTO_BYTES.",
    )


def _timed_out(url: str, seconds: float) -> SourceUnavailable:
    return SourceUnavailable("timeout", f"{url} did not finish within {seconds:g} s.")


def _broken_body(url: str, error: aiohttp.ClientPayloadError) -> SourceUnavailable | PhotoRejected:
    if isinstance(error.__cause__, aiohttp.http_exceptions.ContentEncodingError):
        return PhotoRejected("bad-encoding", f"{url} is compressed in a way that can't be read.")
    return SourceUnavailable("truncated", f"{url} ended before its announced length.")


def _unreachable(address: WebAddress, error: Exception) -> SourceUnavailable:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return SourceUnavailable(
            "bad-certificate", f"The certificate of {address.origin} is not valid."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return SourceUnavailable("no-such-host", f"{address.host} has no address.")
    return SourceUnavailable("unreachable", f"{address.origin} can't be reached.")
