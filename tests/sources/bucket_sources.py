"""Sources that read the storages of clouds.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.errors import ClairError
from app.core.photos import BadEntry, Locator
from app.core.ports import Source
from app.core.sources import SourceSpec, pairs
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.memory import read_photo
from app.sources.open import kind_of
from tests.origin import LOOPBACK, Origin
from tests.sources.clouds import REGION, AzureServer, GcsServer, S3Server

QUICK = FetchLimits(
    first_backoff_seconds=0.001, rate_window_seconds=0.2, total_seconds=1.5, connect_seconds=1.0
)
HEADERS = {"ETag": '"1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}


@asynccontextmanager
async def opened(
    spec: SourceSpec, limits: FetchLimits = QUICK, policy: AddressPolicy | None = None
) -> AsyncIterator[Source]:
    policy = policy or AddressPolicy(LOOPBACK)
    async with Fetcher(policy, limits) as fetcher, SourceTools(fetcher) as tools:
        kind = kind_of(spec.kind)
        kind.check(spec)
        yield kind.build(spec, tools)


async def everything(source: Source) -> list[Locator | BadEntry]:
    return [entry async for entry in source.discover()]


async def names_in(spec: SourceSpec) -> list[str]:
    async with opened(spec) as source:
        return [entry.uri.removeprefix(f"{spec.uri}/") for entry in await everything(source)]


async def read(source: Source, entry: Locator | BadEntry, unless: str | None = None) -> bytes:
    assert isinstance(entry, Locator)
    async with source.open(Locator(entry.key, entry.uri), unless=unless) as stream:
        return await read_photo(stream, 10_000_000)


def at(server: S3Server | Origin, folder: str = "", **more: str) -> SourceSpec:
    """An S3 source: of moto, or of an origin that misbehaves."""
    keys = server.keys if isinstance(server, S3Server) else {}
    url = server.url if isinstance(server, S3Server) else server.url("")
    uri = f"s3://photos/{folder}" if folder else "s3://photos"
    return SourceSpec("s3", uri, pairs({"endpoint": url, "region": REGION} | more), pairs(keys))


def on_gcs(server: GcsServer, folder: str = "") -> SourceSpec:
    keys = pairs({"service_account_key": server.key})
    uri = f"gs://photos/{folder}" if folder else "gs://photos"
    return SourceSpec("gcs", uri, pairs({"endpoint": server.url("")}), keys)


def on_azure(server: AzureServer, folder: str = "", **keys: str) -> SourceSpec:
    options = pairs({"endpoint": server.url(server.namespace)})
    uri = f"az://account1/photos/{folder}" if folder else "az://account1/photos"
    return SourceSpec("azure", uri, options, pairs(keys or {"account_key": server.key}))


def assert_tells_no_secret(error: ClairError, spec: SourceSpec) -> None:
    told = f"{error!r} {error} {error.cure} {error.__cause__!r}"
    for _, secret in spec.credentials:
        assert secret not in told
        assert secret not in repr(spec)
