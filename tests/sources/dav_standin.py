"""A WebDAV server that says what a test makes it say."""

from __future__ import annotations

from app.core.photos import BadEntry, Locator
from app.core.sources import SourceSpec
from app.sources.kinds import SourceTools
from app.sources.memory import read_photo
from app.sources.webdav import WebDavSource
from tests.contracts.places import jpeg
from tests.sources.standin import Asked, Said, StandIn


class DavStandIn(StandIn):
    """Says `listing` of every folder (`{path}` is the folder's), `photo` to every GET."""

    def __init__(self, listing: str, photo: Said | None = None) -> None:
        super().__init__()
        self.listing = listing
        self.photo = photo or Said(jpeg(1))

    def respond(self, asked: Asked) -> Said:
        if asked.method == "GET":
            return self.photo
        assert asked.headers["depth"] == "1"
        return Said(self.listing.replace("{path}", asked.path).encode(), 207)


def multistatus(*members: tuple[str, dict[str, str] | None]) -> str:
    """(href, properties of a file or None for a folder) → a listing."""
    lines = []
    for href, props in members:
        inner = "<d:resourcetype><d:collection/></d:resourcetype>" if props is None else ""
        inner += "".join(f"<d:{name}>{text}</d:{name}>" for name, text in (props or {}).items())
        lines.append(
            f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{inner}</d:prop>"
            "<d:status>HTTP/1.1 200 OK</d:status></d:propstat><d:propstat><d:prop>"
            "<d:getetag>not this</d:getetag></d:prop><d:status>HTTP/1.1 404 Not Found</d:status>"
            "</d:propstat></d:response>"
        )
    return f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{"".join(lines)}</d:multistatus>'


def anonymous(peer: StandIn, tools: SourceTools, path: str = "/dav/") -> WebDavSource:
    return WebDavSource(SourceSpec("webdav", peer.url(path)), tools)


async def found_in(source: WebDavSource) -> list[Locator | BadEntry]:
    return [entry async for entry in source.discover()]


async def names_in(source: WebDavSource, base: str) -> list[str]:
    return [entry.uri.removeprefix(base) for entry in await found_in(source)]


async def bytes_of(source: WebDavSource, entry: Locator) -> bytes:
    async with source.open(entry) as stream:
        return await read_photo(stream, 1_000_000)
