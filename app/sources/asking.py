"""Requests to servers whose refusals say more than their status: a challenge to sign in, a reason
in JSON. The fetcher does the work; here its refusals are read before they become errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from app.core.errors import BadInput, ClairError, PhotoRejected, SourceUnavailable
from app.core.sources import SourceField, SourceSpec
from app.sources.addresses import WebAddress, parse_url
from app.sources.hosts import retry_after
from app.sources.http import Fetcher, HttpStream

if TYPE_CHECKING:
    from app.sources.clock import RequestClock
    from app.sources.http import _Request

MAX_REFUSAL_BYTES = 64_000
REFUSAL_SECONDS = 5.0
MAX_PAGE_BYTES = 64_000_000
_ANSWERS = frozenset({200, 207, 304})
COMPRESSED = {"Accept-Encoding": "gzip, deflate"}
"""Asks for a listing that is compressed on its way; photos are not."""

API_ADDRESS = SourceField(
    "api", "API address", "Another one than usual, for proxies and tests.", leads=True
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than the wanted one.

    `after`: seconds to wait, where it says so. `challenges`: how to sign in. `location`: where the
    thing is instead. `body`: the first 64 kB.
    """

    status: int
    address: str
    after: float | None = None
    challenges: tuple[str, ...] = ()
    location: str = ""
    body: bytes = b""

    def json(self) -> dict[str, object]:
        """The body's JSON object, empty where it is none."""
        return json_object(self.body) or {}


Explain = Callable[[Refusal], ClairError | None]
"""What a refusal means for a photo or a listing; None where its status says it all.

A SourceUnavailable is tried again by the fetcher, like any other passing fault."""


@dataclass(frozen=True, slots=True)
class Answered:
    stream: HttpStream
    headers: Mapping[str, str]


class _Asker(Fetcher):
    """The process's fetcher, with its session, limits and gate, for one request."""

    def __init__(self, fetcher: Fetcher, explain: Explain) -> None:
        vars(self).update(vars(fetcher))
        self.headers: Mapping[str, str] = {}
        self._explain = explain

    def _judge(self, response: aiohttp.ClientResponse, address: WebAddress) -> None:
        if response.status in _ANSWERS:
            super()._judge(response, address)

    async def _answer(
        self, request: _Request, clock: RequestClock
    ) -> tuple[aiohttp.ClientResponse, WebAddress]:
        response, address = await super()._answer(request, clock)
        if response.status in _ANSWERS:
            self.headers = response.headers
            return response, address
        try:
            error: ClairError | None = None
            if address.origin == request.address.origin:  # another host can't speak for this one
                error = self._explain(await _refusal(response, str(address)))
            if error is not None:
                if isinstance(error, SourceUnavailable) and error.after is not None:
                    self.gate.postpone(address.origin, error.after)
                raise error
            super()._judge(response, address)
        finally:
            response.release()
        raise PhotoRejected(f"http-{response.status}", f"{address} answered {response.status}.")


async def _refusal(response: aiohttp.ClientResponse, address: str) -> Refusal:
    headers = response.headers
    body = b""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            while len(body) < MAX_REFUSAL_BYTES and (part := await response.content.readany()):
                body += part
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the status counts then, and what came of the body
    return Refusal(
        response.status,
        address,
        retry_after(headers.get("Retry-After")),
        tuple(headers.getall("WWW-Authenticate", ())),
        headers.get("Location", ""),
        body[:MAX_REFUSAL_BYTES],
    )


@asynccontextmanager
async def ask(
    fetcher: Fetcher,
    url: str,
    explain: Explain,
    *,
    headers: Mapping[str, str] | None = None,
    unless: str | None = None,
    method: str = "GET",
    body: bytes | None = None,
) -> AsyncIterator[Answered]:
    """Opens `url` as Fetcher.open does, with its errors and those that `explain` makes."""
    asker = _Asker(fetcher, explain)
    async with asker.open(url, headers=headers, unless=unless, method=method, body=body) as stream:
        yield Answered(stream, asker.headers)


async def ask_json(
    fetcher: Fetcher,
    url: str,
    explain: Explain,
    *,
    headers: Mapping[str, str],
    body: dict[str, object] | None = None,
) -> dict[str, object]:
    """One page of a listing: a GET, or a POST where there is a `body`, answered by a JSON object.

    Raises PhotoRejected(bad-listing) for anything else, or for more than 64 MB.
    """
    sent = {**headers, **COMPRESSED}
    data = None
    if body is not None:
        sent["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    parts: list[bytes] = []
    total = 0
    async with ask(fetcher, url, explain, headers=sent, method=method, body=data) as answered:
        async for chunk in answered.stream.chunks():
            total += len(chunk)
            if total > MAX_PAGE_BYTES:
                raise bad_listing(f"A listing is larger than {MAX_PAGE_BYTES // 10**6} MB.")
            parts.append(chunk)
    found = json_object(b"".join(parts))
    if found is None:
        raise bad_listing(f"{url.partition('?')[0]} does not answer as its API does.")
    return found


def json_object(data: bytes) -> dict[str, object] | None:
    """None where `data` is no JSON object."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def bad_listing(message: str) -> PhotoRejected:
    """A listing that can't be used, of a folder or of the whole source."""
    return PhotoRejected("bad-listing", message)


def wrong_place(error: PhotoRejected) -> BadInput:
    """A refusal that concerns the source itself rather than one photo."""
    return BadInput(error.message, cure=error.cure)


def byte_count(value: object) -> int | None:
    """A size that a listing states, as a number or as text; None where it is no size."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < 10**15 else None


def api_address(spec: SourceSpec, default: str) -> str:
    """Where the API is, without a "/" at its end. Raises BadInput for what is no web address."""
    try:
        return str(parse_url(spec.option(API_ADDRESS.name) or default)).rstrip("/")
    except PhotoRejected as error:
        raise wrong_place(error) from error


def checked_secret(name: str, value: str | None) -> str | None:
    """A credential that travels in a header. Raises BadInput, without the value, where it can't."""
    if value is None:
        return None
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise BadInput(
            f"The {name} holds characters that none has.", cure="Copy it again, as one line."
        )
    return value
