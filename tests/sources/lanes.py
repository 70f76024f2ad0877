"""Speaking to the egress proxy by hand, and through obstore."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

from app.sources.egress import EgressProxy, Lane

HEADERS = {"ETag": '"1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
ENOUGH = 10_000_000


class Everywhere(frozenset[str]):
    """Origins of a lane that allows all, so that only the address can be the reason."""

    def __contains__(self, origin: object) -> bool:
        return True


def open_lane(proxy: EgressProxy, answer_bytes: int = ENOUGH) -> Lane:
    lane = proxy.lane([], answer_bytes)
    lane.origins = Everywhere()
    return lane


def authorised(lane: Lane) -> bytes:
    parts = urlsplit(lane.url)
    encoded = base64.b64encode(f"{parts.username}:{parts.password}".encode())
    return b"Proxy-Authorization: Basic " + encoded + b"\r\n"


async def said(lane: Lane, data: bytes) -> bytes:
    """What the proxy answers until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(lane.url).port)
    writer.write(data)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def status_of(lane: Lane, first: str, more: bytes = b"") -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(lane.url).port)
    writer.write(first.encode() + b" HTTP/1.1\r\n" + authorised(lane) + more + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return int(head.split(b" ", 2)[1])


def store(endpoint: str, lane: Lane, **options: object) -> S3Store:
    return S3Store(
        "photos",
        config={"endpoint": endpoint, "skip_signature": True, "region": "x"},
        client_options={"allow_http": True, "proxy_url": lane.url, **options},  # type: ignore[typeddict-item]
        retry_config={"max_retries": 0},
    )


async def got(opened: S3Store, name: str = "a.jpg") -> bytes:
    return bytes(await (await obstore.get_async(opened, name)).bytes_async())
