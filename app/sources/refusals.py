"""What a server says when it refuses: a challenge to sign in, a reason in JSON, another place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from app.core.errors import ClairError
from app.sources.hosts import retry_after

MAX_REFUSAL_BYTES = 64_000
REFUSAL_SECONDS = 5.0


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


async def read_refusal(response: aiohttp.ClientResponse, address: str) -> Refusal:
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


def json_object(data: bytes) -> dict[str, object] | None:
    """None where `data` is no JSON object."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
