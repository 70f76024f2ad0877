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
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Self

import aiohttp
from aiohttp.compression_utils import HAS_BROTLI, HAS_ZSTD
from multidict import CIMultiDictProxy

from app.core.errors import NotModified, PhotoRejected, SourceUnavailable
from app.sources.addresses import AddressPolicy, WebAddress
from app.sources.clock import Clocks, RequestClock, Stalled
from app.sources.connect import CheckedConnector, Resolve, system_resolve
from app.sources.hosts import HostGate, retry_after
from app.sources.refusals import Explain, read_refusal

USER_AGENT = "ClairVision/0.1"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ENCODINGS = frozenset(
    {"", "gzip", "deflate"} | ({"br"} if HAS_BROTLI else set()) | ({"zstd"} if HAS_ZSTD else set())
)
_ANSWERS = frozenset({200, 207, 304})
_CONDITIONS = ("If-None-Match", "If-Modified-Since")
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
        self,
        response: aiohttp.ClientResponse,
        address: WebAddress,
        limits: FetchLimits,
        clock: RequestClock,
    ) -> None:
        headers = response.headers
        self.version: str | None = headers.get("ETag") or headers.get("Last-Modified")
        self.size: int | None = None if _encoding(response) else response.content_length
        self._response = response
        self._address = address
        self._limits = limits
        self._clock = clock

    @property
    def url(self) -> str:
        return str(self._address)

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self._response.headers

    @property
    def content_type(self) -> str:
        return self._response.content_type

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, decompressed. Raises PhotoRejected(too-large) and SourceUnavailable."""
        limits = self._limits
        if self.size is not None and self.size > limits.max_bytes:
            raise too_large(self.url, limits.max_bytes)
        content, clock = self._response.content, self._clock
        total = 0
        clock.begin()
        try:
            while True:
                if clock.late:  # what has come already is the reader's, however long that takes
                    chunk = content.read_nowait()
                    if not chunk and not content.at_eof():
                        raise TimeoutError
                else:
                    clock.reading = content
                    chunk = await content.readany()
                    clock.reading = None
                if not chunk:
                    return
                total += len(chunk)
                clock.arrived += len(chunk)
                if total > limits.max_bytes:
                    raise too_large(self.url, limits.max_bytes)
                yield chunk
        except TimeoutError as error:
            raise _timed_out(self.url, limits.total_seconds) from error
        except Stalled as error:
            raise SourceUnavailable("too-slow", f"{self.url} stalled.") from error
        except aiohttp.ClientPayloadError as error:
            raise _broken_body(self.url, error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise SourceUnavailable("broken-off", f"{self.url} broke off.") from error

    def close(self) -> None:
        self._clock.stop()
        self._response.release()


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
        self.resolve = resolve
        self._session: aiohttp.ClientSession | None = None
        self._gate = HostGate(self.limits.concurrency, self.limits.per_host)
        self._clocks = Clocks(
            self.limits.total_seconds,
            self.limits.rate_window_seconds,
            self.limits.min_bytes_per_second,
        )

    @property
    def gate(self) -> HostGate:
        """Also for what is fetched beside aiohttp: a host's limits hold for all of it together."""
        return self._gate

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=CheckedConnector(self.policy, self.resolve),
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

    def open(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        unless: str | None = None,
        method: str = "GET",
        body: bytes | None = None,
        explain: Explain | None = None,
    ) -> AbstractAsyncContextManager[HttpStream]:
        """Opens `url` for streaming. `headers` go to its own host only, never along a redirect.

        `unless` is the `version` of a stream of before: NotModified is raised where it still holds.
        Methods other than GET are for reading too (PROPFIND, a search by POST): they may be sent
        again, and are never redirected. `explain` reads refusals before they become errors, as long
        as they come from the address's own host. Raises ForbiddenAddress, other PhotoRejected, and
        SourceUnavailable, all of them on entering.
        """
        sent = {**(headers or {}), **_condition(unless)}
        return _Opening(self, url, method, sent, body, explain)

    async def opened(self, request: _Request, origin: str) -> HttpStream:
        """Tries until there is a good response. The caller closes it, then leaves the gate."""
        limits, gate = self.limits, self._gate
        for attempt in range(1, limits.attempts + 1):
            if gate.wait_left(origin):
                await gate.wait(origin, limits.longest_wait_seconds)
            if not gate.enter_now(origin):
                await gate.enter(origin)
            clock = self._clocks.start()
            try:
                response, final = await self._answer(request, clock)
                return HttpStream(response, final, limits, clock)
            except BaseException as error:
                clock.stop()
                gate.leave(origin)
                if not isinstance(error, SourceUnavailable):
                    raise
                backoff = limits.first_backoff_seconds * 2 ** (attempt - 1)
                wait = backoff * random.random() if error.after is None else error.after  # noqa: S311
                if (
                    attempt == limits.attempts
                    or error.reason == "timeout"
                    or wait > limits.longest_wait_seconds
                ):
                    raise
            await asyncio.sleep(wait)
        raise SourceUnavailable("unreachable", f"{request.address} was not tried.")

    async def _answer(
        self, request: _Request, clock: RequestClock
    ) -> tuple[aiohttp.ClientResponse, WebAddress]:
        """Follows redirects by hand, each hop checked like the first."""
        address = request.address
        for _ in range(self.limits.redirects + 1):
            response = await self._request(request, clock)
            if response.status not in _REDIRECTS or request.method != "GET":
                try:
                    if request.explain is not None and response.status not in _ANSWERS:
                        await self._explained(request.explain, response, address)
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
            # A condition holds for the photo wherever it lies; nothing else travels on, and no host
            # can speak for another.
            explain = request.explain if address.origin == request.address.origin else None
            request = _Request("GET", address, request.conditions(), None, explain)
        raise PhotoRejected(
            "too-many-redirects", f"{address} redirects more than {self.limits.redirects} times."
        )

    async def _request(self, request: _Request, clock: RequestClock) -> aiohttp.ClientResponse:
        address = request.address
        if self._session is None:
            raise SourceUnavailable("closed", "The fetcher is closed.")
        try:
            with clock:
                return await self._session.request(
                    request.method,
                    address.for_client(),
                    headers=request.headers,
                    data=request.body,
                    allow_redirects=False,
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise _timed_out(str(address), self.limits.connect_seconds) from error
        except TimeoutError as error:
            raise _timed_out(str(address), self.limits.total_seconds) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(address, error) from error

    async def _explained(
        self, explain: Explain, response: aiohttp.ClientResponse, address: WebAddress
    ) -> None:
        error = explain(await read_refusal(response, str(address)))
        if error is None:
            return
        if isinstance(error, SourceUnavailable) and error.after is not None:
            self._gate.postpone(address.origin, error.after)
        raise error

    def _judge(self, response: aiohttp.ClientResponse, address: WebAddress) -> None:
        status = response.status
        if status in (200, 207):
            encoding = _encoding(response)
            if encoding not in _ENCODINGS:
                raise PhotoRejected(
                    "unsupported-encoding", f"{address} sends {encoding[:40]}-compressed data."
                )
            return
        if status == 304:
            raise NotModified
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


class _Opening:
    """What `Fetcher.open` returns."""

    def __init__(
        self,
        fetcher: Fetcher,
        url: str,
        method: str,
        headers: dict[str, str],
        body: bytes | None,
        explain: Explain | None,
    ) -> None:
        self._fetcher, self._url = fetcher, url
        self._method, self._headers, self._body = method, headers, body
        self._explain = explain

    async def __aenter__(self) -> HttpStream:
        address = self._fetcher.policy.check_url(self._url)
        self._origin = address.origin
        request = _Request(self._method, address, self._headers, self._body, self._explain)
        self._stream = await self._fetcher.opened(request, self._origin)
        return self._stream

    async def __aexit__(self, *_: object) -> None:
        self._stream.close()
        self._fetcher.gate.leave(self._origin)


class _Request(NamedTuple):
    method: str
    address: WebAddress
    headers: dict[str, str]
    body: bytes | None
    explain: Explain | None

    def __repr__(self) -> str:
        return f"<{self.method} {self.address}>"  # headers may sign in

    def conditions(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name in _CONDITIONS}


def _encoding(response: aiohttp.ClientResponse) -> str:
    """How the body is compressed; empty where it isn't."""
    encoding = response.headers.get("Content-Encoding")
    if not encoding or (encoding := encoding.strip().lower()) == "identity":
        return ""
    return encoding


def _condition(version: str | None) -> dict[str, str]:
    """The request header that asks for a body only where it is another version (RFC 9110, 13.1)."""
    if version is None:
        return {}
    is_tag = version.startswith(('"', 'W/"'))
    return {"If-None-Match" if is_tag else "If-Modified-Since": version}


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
