"""What sources that speak an API have in common: pages of JSON, addresses, credentials, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping

from app.core.errors import BadInput, PhotoRejected
from app.core.sources import SourceField, SourceSpec
from app.sources.addresses import parse_url
from app.sources.http import Fetcher
from app.sources.refusals import Explain, json_object

MAX_PAGE_BYTES = 64_000_000
COMPRESSED = {"Accept-Encoding": "gzip, deflate"}
"""Asks for a listing that is compressed on its way; photos are not."""

API_ADDRESS = SourceField(
    "api", "API address", "Another one than usual, for proxies and tests.", leads=True
)


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
    asked = fetcher.open(url, headers=sent, method=method, body=data, explain=explain)
    async with asked as stream:
        async for chunk in stream.chunks():
            total += len(chunk)
            if total > MAX_PAGE_BYTES:
                raise bad_listing(f"A listing is larger than {MAX_PAGE_BYTES // 10**6} MB.")
            parts.append(chunk)
    found = json_object(b"".join(parts))
    if found is None:
        raise bad_listing(f"{url.partition('?')[0]} does not answer as its API does.")
    return found


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
