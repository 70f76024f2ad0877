"""IIIF manifests and collections: pictures of libraries, museums and archives."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from app.core.errors import BadInput, PhotoRejected
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.core.sources import SourceSpec
from app.sources.addresses import parse_url
from app.sources.http import Fetcher
from app.sources.iiif_image import Images
from app.sources.iiif_manifest import (
    Json,
    Painted,
    is_collection,
    is_image_information,
    is_manifest,
    parts_of,
    pictures_of,
)
from app.sources.kinds import Kind, SourceTools
from app.sources.listing import is_web
from app.sources.paging import path_of_url

MAX_BYTES = 64_000_000
MOST_DOCUMENTS = 5_000
"""Manifests and collections that one discovery reads."""
_HEADERS = {
    "Accept-Encoding": "gzip, deflate",
    # Without a profile, many servers answer in version 2, which is understood too.
    "Accept": 'application/ld+json;profile="http://iiif.io/api/presentation/3/context.json",'
    "application/ld+json;q=0.9, application/json;q=0.8, */*;q=0.1",
}


class IiifSource:
    """All pictures of a manifest, or of all manifests below a collection, in their order.

    The key is the image service's address, which neither size nor token changes, else that of the
    file. Manifests that can't be read are BadEntries.
    """

    kind = "iiif"
    revalidates = True
    scales = True

    def __init__(self, uri: str, fetcher: Fetcher) -> None:
        self.uri = uri
        self._fetcher = fetcher
        self._images = Images(fetcher)

    async def discover(self) -> AsyncIterator[Locator | BadEntry]:
        """Raises BadInput where it is no manifest, SourceUnavailable where it fails now."""
        try:
            url = str(self._fetcher.policy.check_url(self.uri))
            first = await self._document(url)
        except PhotoRejected as error:
            raise BadInput(f"The manifest can't be read: {error}") from error
        seen: set[bytes] = set()
        known = {url}
        waiting: list[tuple[str, Json | None]] = [(url, first)]
        while waiting:
            address, found = waiting.pop()
            if found is None:
                try:
                    found = await self._document(address)
                except (PhotoRejected, BadInput) as error:
                    reason = getattr(error, "reason", "bad-manifest")
                    yield _bad(address, reason, error.message, hides=True)
                    continue
            for entry in self._entries(found, address, seen):
                yield entry
            if is_collection(found):
                parts = self._parts(found, address, known)
                waiting.extend(reversed(parts[: MOST_DOCUMENTS - len(known)]))
                known.update(part for part, _ in parts)
                if len(known) > MOST_DOCUMENTS:
                    message = f"More than {MOST_DOCUMENTS} manifests."
                    yield _bad(address, "page-limit", message, hides=True)

    def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AbstractAsyncContextManager[PhotoStream]:
        return self._images.open(locator.uri, unless=unless, long_side=long_side)

    def _parts(
        self, collection: Json, address: str, known: set[str]
    ) -> list[tuple[str, Json | None]]:
        """What was not met before, with its document where that is embedded."""
        parts: dict[str, Json | None] = {}
        for part, embedded in parts_of(collection):
            try:
                url = str(parse_url(part, address))
            except PhotoRejected:
                continue
            if url not in known:
                whole = any(name in embedded for name in ("items", "sequences", "manifests"))
                parts[url] = embedded if whole else None
        return list(parts.items())

    def _entries(self, found: Json, address: str, seen: set[bytes]) -> list[Locator | BadEntry]:
        entries: list[Locator | BadEntry] = []
        for painted in pictures_of(found) if not is_collection(found) else ():
            entry = self._entry(painted, address)
            digest = hashlib.blake2b(entry.key.encode("utf-8", "replace"), digest_size=16).digest()
            if digest not in seen:
                seen.add(digest)
                entries.append(entry)
        return entries

    def _entry(self, painted: Painted, manifest: str) -> Locator | BadEntry:
        service = painted.service
        stated = service.base if service is not None else painted.address
        try:
            key = str(self._fetcher.policy.check_url(stated, manifest))
        except PhotoRejected as error:
            shown = stated.replace("\x00", "")[:500]
            return _bad(shown, error.reason, str(error))
        return Locator(
            key,
            service.at(key) if service is not None else key,
            title=painted.title,
            width=painted.width,
            height=painted.height,
        )

    async def _document(self, url: str) -> Json:
        """Raises PhotoRejected, SourceUnavailable, and BadInput where it is nothing of IIIF."""
        parts: list[bytes] = []
        total = 0
        async with self._fetcher.open(url, headers=_HEADERS) as stream:
            async for chunk in stream.chunks():
                parts.append(chunk)
                total += len(chunk)
                if total > MAX_BYTES:
                    raise PhotoRejected("too-large", f"{url} is larger than 64 MB.")
        try:
            found = await asyncio.to_thread(json.loads, b"".join(parts))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{url} is no JSON, so no IIIF manifest.") from error
        if isinstance(found, dict) and (is_manifest(found) or is_collection(found)):
            return found
        if isinstance(found, dict) and is_image_information(found):
            raise BadInput(f"{url} describes one picture.", cure="Give the manifest that shows it.")
        raise BadInput(
            f"{url} is neither an IIIF manifest nor a collection.",
            cure="Look for the IIIF logo beside the pictures: it links to the manifest.",
        )


def _bad(address: str, reason: str, message: str, *, hides: bool = False) -> BadEntry:
    return BadEntry(key=address, uri=address, reason=reason, message=message, hides=hides)


def _is_iiif(uri: str) -> str | None:
    if not is_web(uri):
        return None
    path = path_of_url(uri).lower()
    named = "iiif" in uri.partition("?")[0].lower()
    if path.endswith("/manifest.json") or (
        named and re.search(r"\.json$|/(?:manifest|collection)(?:/|$)", path)
    ):
        return f"All pictures of the IIIF manifest or collection {uri}."
    return None


def _build(spec: SourceSpec, tools: SourceTools) -> IiifSource:
    return IiifSource(spec.uri, tools.fetcher)


IIIF = Kind(
    "iiif", "An IIIF manifest", "https://example.org/iiif/wedding/manifest.json", _is_iiif, _build
)
