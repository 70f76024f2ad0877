"""Photos in buckets: S3-compatible storage, Google Cloud Storage, Azure Blob Storage.

obstore speaks to them, through the egress proxy. Its own retries are kept to a couple of quick
ones; bounds of time, rate and size are those of the fetcher, whose gate counts these requests too.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import InvalidPathError

from app.core.errors import BadInput, ClairError, NotModified, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.core.sources import SourceSpec
from app.sources.bucket_faults import Fault, fault_of, odd_path
from app.sources.bucket_places import BucketPlace, azure_place, gcs_place, s3_place
from app.sources.bucket_stores import (
    AZURE_FIELDS,
    GCS_FIELDS,
    S3_FIELDS,
    Bucket,
    azure_bucket,
    client_options,
    gcs_bucket,
    retry_config,
    s3_bucket,
)
from app.sources.bucket_stream import ERRORS, ObjectStream, timed_out, version_of
from app.sources.egress import Lane
from app.sources.http import FetchLimits
from app.sources.kinds import Kind, SourceTools
from app.sources.walking import MAX_FOLDERS, Wanted, is_hidden, shown

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

PAGE = 1000
"""Objects that are held at once; also what S3 and Google send at once, Azure sends 5,000."""
PAGE_BYTES = 64_000_000
MAX_OBJECTS = 5_000_000
"""A storage that never ends its listing must not keep a worker for ever."""
SPARE_BYTES = 4_000_000
"""Encryption and heads, beside the largest photo."""

_SIZE_AND_TIME = re.compile(r"[0-9]+-[0-9]+")
_TAG = re.compile(r"[\x21\x23-\x7e]+")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Client:
    store: ObjectStore
    lane: Lane


class BucketSource:
    """All photos of a bucket or of a folder of it, in the storage's order, which is that of their
    names in UTF-8.

    Hidden names and folders are left out. The version is the ETag, else size and time.
    """

    revalidates = False
    scales = False

    def __init__(self, kind: str, spec: SourceSpec, bucket: Bucket, tools: SourceTools) -> None:
        self.kind = kind
        self._bucket = bucket
        self._place: BucketPlace = bucket.place
        self._tools = tools
        self._wanted = Wanted(spec)
        self._limits: FetchLimits = tools.fetcher.limits
        self._origin = bucket.endpoint.origin
        self._clients: tuple[_Client, _Client] | None = None
        self._opening = asyncio.Lock()

    async def discover(self) -> AsyncIterator[Locator | BadEntry]:
        """Raises BadInput and SourceUnavailable where the bucket can't be listed."""
        count = 0
        async for found in self._objects():
            count += 1
            if count > MAX_OBJECTS:
                raise BadInput(
                    f"{self._place.base} holds more than {MAX_OBJECTS:,} objects.",
                    cure="Add its folders one by one.",
                )
            if isinstance(found, BadEntry):
                yield found
                continue
            path = found["path"]
            relative = path[len(self._place.folder) :].lstrip("/")
            names = relative.split("/")
            if self._wanted(relative) and not any(map(is_hidden, names)):
                uri = self._place.uri_of(path)
                yield Locator(key=uri, uri=uri, version=version_of(found), size=found["size"])
        if not count:
            await self._check_that_it_stores()

    @asynccontextmanager
    async def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AsyncIterator[ObjectStream]:
        path = self._place.path_of(locator.uri)
        client = (await self._ready())[1]
        explain = partial(self._of_photo, client, locator.uri)
        options: GetOptions = {} if unless is None else _condition(unless)
        gate = self._tools.fetcher.gate
        await gate.wait(self._origin, self._limits.longest_wait_seconds)
        async with gate.slot(self._origin):
            deadline = asyncio.get_running_loop().time() + self._limits.total_seconds
            try:
                async with asyncio.timeout_at(deadline):
                    result = await obstore.get_async(client.store, path, options=options)
            except TimeoutError:
                raise timed_out(locator.uri, self._limits.total_seconds) from None
            except ERRORS as error:
                raise explain(error) from None
            yield ObjectStream(result, locator.uri, self._limits, deadline, explain)

    async def _objects(self) -> AsyncIterator[ObjectMeta | BadEntry]:
        """Page by page. Where obstore gives up over a name that it can't express, the rest is
        walked folder by folder, so that only that name's neighbours are lost."""
        folder = self._place.folder or None
        last, sorted_so_far = "", True
        try:
            async for found in self._listed(folder):
                sorted_so_far = sorted_so_far and _after(found["path"], last)
                last = found["path"]
                yield found
        except InvalidPathError:
            pass
        else:
            return
        async for entry in self._walked(folder or ""):
            if isinstance(entry, BadEntry) or not sorted_so_far or _after(entry["path"], last):
                yield entry

    async def _listed(
        self, folder: str | None, offset: str | None = None
    ) -> AsyncIterator[ObjectMeta]:
        client = (await self._ready())[0]
        pages = obstore.list(client.store, folder, offset=offset, chunk_size=PAGE)
        with suppress(StopAsyncIteration):
            while True:
                for found in await self._asked(client, anext(pages)):
                    yield found

    async def _walked(self, base: str) -> AsyncIterator[ObjectMeta | BadEntry]:
        client = (await self._ready())[0]
        waiting, read = [base], 0
        while waiting:
            folder = waiting.pop()
            read += 1
            if read > MAX_FOLDERS:
                raise BadInput(
                    f"{self._place.base} holds more than {MAX_FOLDERS:,} folders.",
                    cure="Rename the objects whose names hold an empty folder, or a dot alone.",
                )
            try:
                asked = obstore.list_with_delimiter_async(client.store, folder or None)
                result = await self._asked(client, asked)
            except InvalidPathError as error:
                async for entry in self._behind(folder, error):
                    yield entry
                continue
            for found in result["objects"]:
                yield found
            below = [name for name in result["common_prefixes"] if len(name) > len(folder)]
            waiting.extend(reversed(below))

    async def _behind(self, folder: str, error: Exception) -> AsyncIterator[ObjectMeta | BadEntry]:
        """A folder that can't be listed as a whole: what stands behind "/" in it, where nearly all
        names begin, photos that are called ".", "#" and the like excepted."""
        uri = self._place.uri_of(f"{folder}/" if folder else "/")
        name = shown(odd_path(error))
        yield BadEntry(
            uri,
            uri,
            "bad-name",
            f"An object's name can't be used here, and may hide others: {name}",
            hides=True,
        )
        with suppress(InvalidPathError, BadInput):
            async for found in self._listed(folder or None, f"{folder}/0" if folder else "0"):
                yield found

    async def _asked(self, client: _Client, answer: Awaitable[_T]) -> _T:
        """One page. InvalidPathError and StopAsyncIteration pass through."""
        gate = self._tools.fetcher.gate
        seconds = self._limits.total_seconds
        async with gate.slot(self._origin):
            try:
                async with asyncio.timeout(seconds):
                    return await answer
            except TimeoutError:
                raise timed_out(self._place.base, seconds) from None
            except InvalidPathError:
                raise
            except ERRORS as error:
                fault = fault_of(error, client.lane)
                if client.lane.overrun:
                    client.lane.overrun = False
                    fault = Fault("bad-listing", "a page of it is too large")
        if fault is None:
            raise SourceUnavailable("server-error", f"{self._origin} answered 304 to a listing.")
        raise fault.of_listing(self._place.base, self._origin, self._bucket.cures)

    async def _check_that_it_stores(self) -> None:
        """To obstore, some web pages are empty listings; but they answer everything, even this."""
        client = (await self._ready())[0]
        name = f".clairvision-{secrets.token_hex(8)}"
        path = f"{self._place.folder}/{name}" if self._place.folder else name
        with suppress(TimeoutError, *ERRORS):
            async with asyncio.timeout(self._limits.total_seconds):
                await obstore.get_async(client.store, path)
            fault = Fault("bad-listing")
            raise fault.of_listing(self._place.base, self._origin, self._bucket.cures)

    def _of_photo(self, client: _Client, uri: str, error: Exception) -> ClairError:
        fault = fault_of(error, client.lane)
        return NotModified() if fault is None else fault.of_photo(uri, self._origin)

    async def _ready(self) -> tuple[_Client, _Client]:
        """Clients for listings and for photos, whose answers have different bounds."""
        if self._bucket.identity is not None:
            await self._bucket.identity.ready()
        async with self._opening:
            if self._clients is None:
                self._clients = (
                    await self._client(PAGE_BYTES),
                    await self._client(self._limits.max_bytes + SPARE_BYTES),
                )
        return self._clients

    async def _client(self, answer_bytes: int) -> _Client:
        endpoint = self._bucket.endpoint
        lane = (await self._tools.egress()).lane([endpoint], answer_bytes)
        try:
            store = self._bucket.make(
                client_options(self._limits, lane.url, endpoint), retry_config(self._limits)
            )
        except ERRORS:
            raise BadInput(
                f"obstore can't open {self._place.base} as it is described.",
                cure="Check the options, and the environment for settings of the cloud's tools.",
            ) from None
        return _Client(store, lane)


def _condition(version: str) -> GetOptions:
    """Asks for a body only where it is another version; nothing where none can be asked by."""
    is_tag = _TAG.fullmatch(version) and not _SIZE_AND_TIME.fullmatch(version)
    return {"if_none_match": f'"{version}"'} if is_tag else {}


def _after(path: str, other: str) -> bool:
    return path.encode() > other.encode()


def _recognises(
    place: Callable[[str], BucketPlace | None], what: str
) -> Callable[[str], str | None]:
    def recognise(uri: str) -> str | None:
        found = place(uri)
        return None if found is None else found.sentence(what)

    return recognise


S3 = Kind(
    "s3",
    "An S3-compatible bucket",
    "s3://bucket/wedding",
    _recognises(s3_place, "bucket"),
    lambda spec, tools: BucketSource("s3", spec, s3_bucket(spec, tools), tools),
    S3_FIELDS,
)
GCS = Kind(
    "gcs",
    "A Google Cloud Storage bucket",
    "gs://bucket/wedding",
    _recognises(gcs_place, "bucket"),
    lambda spec, tools: BucketSource("gcs", spec, gcs_bucket(spec, tools), tools),
    GCS_FIELDS,
)
AZURE = Kind(
    "azure",
    "An Azure Blob Storage container",
    "az://account/container/wedding",
    _recognises(azure_place, "container"),
    lambda spec, tools: BucketSource("azure", spec, azure_bucket(spec, tools), tools),
    AZURE_FIELDS,
)
