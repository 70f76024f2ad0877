"""Buckets, beyond what the suite over all sources asks: listing and versions."""

from __future__ import annotations

import pytest

from app.core.errors import (
    BadInput,
    NotModified,
)
from app.core.photos import BadEntry, Locator
from app.core.sources import SourceSpec
from tests.origin import Answer, Origin
from tests.sources.bucket_sources import (
    HEADERS,
    at,
    everything,
    names_in,
    on_azure,
    on_gcs,
    opened,
    read,
)
from tests.sources.clouds import AzureServer, GcsServer, S3Server, StandIn

ODD_NAMES = [
    "a b.jpg", " lead.jpg", "trail .jpg", "Königs Hochzeit.jpg", "ニ.jpg", "😀.jpg", "100%.jpg",
    "%41%2F.jpg", "a+b.jpg", "a#b.jpg", "a?b=c&d.jpg", "{x}~^`[]|<>\"'*;,:@$!().jpg", "back\\slash.jpg",
    "line\u2028separator.jpg", "e\u0301.jpg", "\u00e9.jpg", "x" * 200 + ".jpg",
]  # fmt: skip


async def test_three_thousand_objects_by_pages(s3: S3Server) -> None:
    wanted = [f"party/{n:04}.jpg" for n in range(3000)]
    s3.fill(wanted)
    async with opened(at(s3, "party")) as source:
        found = source.discover()
        first = await anext(found)
        assert first.uri == "s3://photos/party/0000.jpg"
        # The storage answers a thousand at once; what follows is asked for when it is wanted.
        s3.delete("party/2999.jpg")
        rest = [entry async for entry in found]
        assert [entry.uri for entry in [first, *rest]] == [f"s3://photos/{n}" for n in wanted[:-1]]
        assert await read(source, rest[-1]) == b"party/2998.jpg"


@pytest.mark.parametrize("server", [GcsServer, AzureServer])
async def test_a_page_is_asked_for_when_it_is_wanted(server: type[GcsServer | AzureServer]) -> None:
    with server(page=1000) as storage:
        for n in range(3000):
            storage.put(f"{n:04}.jpg", b"x")
        spec = on_gcs(storage) if isinstance(storage, GcsServer) else on_azure(storage)
        async with opened(spec) as source:
            found = source.discover()
            await anext(found)
            assert storage.pages == 1
            assert len([entry async for entry in found]) == 2999
            assert storage.pages == 3


async def test_odd_names_survive(anywhere: tuple[S3Server | StandIn, SourceSpec]) -> None:
    server, spec = anywhere
    for name in ODD_NAMES:
        server.put(f"party/{name}", name.encode())
    async with opened(spec) as source:
        found = await everything(source)
        assert [await read(source, entry) for entry in found] == sorted(
            name.encode() for name in ODD_NAMES
        )
        for entry in found:
            assert entry.key == entry.uri
            assert entry.uri.isascii()
            assert entry.uri.isprintable()
            assert entry.uri.startswith(f"{spec.uri}/")


async def test_a_folder_is_no_beginning_of_a_name(
    anywhere: tuple[S3Server | StandIn, SourceSpec],
) -> None:
    server, spec = anywhere
    for name in ("party/1.jpg", "party-2/2.jpg", "party.jpg", "partying/3.jpg", "party/sub/4.jpg"):
        server.put(name, b"x")
    assert await names_in(spec) == ["1.jpg", "sub/4.jpg"]


async def test_an_empty_folder_has_no_photos(
    anywhere: tuple[S3Server | StandIn, SourceSpec],
) -> None:
    server, spec = anywhere
    server.put("other/1.jpg", b"x")
    assert await names_in(spec) == []


async def test_what_is_no_photo_of_an_event_is_left_out(s3: S3Server) -> None:
    for name in (
        "party/1.jpg", "party/notes.txt", "party/.hidden.jpg", "party/.git/2.jpg",
        "party/@eaDir/3.jpg/SYNOPHOTO_THUMB_M.jpg", "party/__MACOSX/._1.jpg", "party/2.JPEG",
        "party/movie.mp4", "party/jpg",
    ):  # fmt: skip
        s3.put(name, b"x")
    s3.client.put_object(Bucket="photos", Key="party/sub/")  # a folder as consoles make it
    assert await names_in(at(s3, "party")) == ["1.jpg", "2.JPEG"]


async def test_patterns_choose(s3: S3Server) -> None:
    for name in ("party/a/1.jpg", "party/a/2.png", "party/b/3.jpg", "party/b/out/4.jpg"):
        s3.put(name, b"x")
    spec = at(s3, "party", include="*.jpg, c/*", exclude="*/out/*")
    assert await names_in(spec) == ["a/1.jpg", "b/3.jpg"]


@pytest.mark.parametrize(
    "odd",
    ["party/b//x.jpg", "party//x.jpg", "party/b/../x.jpg", "party/./x.jpg", "party/b/\x7f.jpg"],
)
async def test_a_name_that_obstore_refuses_hides_no_others(s3: S3Server, odd: str) -> None:
    wanted = [f"party/{folder}/IMG_{n}.jpg" for folder in "abc" for n in range(3)]
    for name in [*wanted, "party/9.jpg", odd]:
        s3.put(name, b"x")
    async with opened(at(s3, "party")) as source:
        found = await everything(source)
    bad = [entry for entry in found if isinstance(entry, BadEntry)]
    assert [entry.reason for entry in bad] == ["bad-name"]
    uris = [entry.uri for entry in found if isinstance(entry, Locator)]
    lost = {f"s3://photos/party/b/IMG_{n}.jpg" for n in range(3)} if "\x7f" in odd else set()
    assert sorted(uris) == sorted({f"s3://photos/{n}" for n in [*wanted, "party/9.jpg"]} - lost)


async def test_odd_names_on_a_later_page_give_no_photo_twice(s3: S3Server) -> None:
    s3.fill([f"party/{n:04}.jpg" for n in range(1200)] + ["party/zzz//x.jpg"])
    async with opened(at(s3, "party")) as source:
        found = await everything(source)
    uris = [entry.uri for entry in found if isinstance(entry, Locator)]
    assert uris == [f"s3://photos/party/{n:04}.jpg" for n in range(1200)]
    assert len(found) == 1201


async def test_a_listing_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sources.buckets.MAX_OBJECTS", 100)
    with GcsServer(page=30) as storage:
        for n in range(200):
            storage.put(f"{n:04}.jpg", b"x")
        async with opened(on_gcs(storage)) as source:
            with pytest.raises(BadInput, match="more than 100 objects"):
                await everything(source)


async def test_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sources.buckets.PAGE_BYTES", 100_000)
    page = Answer(b"<ListBucketResult>" + b" " * 1_000_000 + b"</ListBucketResult>")
    with Origin({"/photos": page}) as origin:
        async with opened(at(origin)) as source:
            with pytest.raises(BadInput, match="too large"):
                await everything(source)


# Versions


async def test_versions_are_those_of_the_listing(
    anywhere: tuple[S3Server | StandIn, SourceSpec],
) -> None:
    server, spec = anywhere
    server.put("party/1.jpg", b"first")
    async with opened(spec) as source:
        (before,) = await everything(source)
        assert isinstance(before, Locator)
        async with source.open(before) as stream:
            assert (stream.version, stream.size) == (before.version, 5)
        with pytest.raises(NotModified):
            await read(source, before, unless=before.version)
        server.put("party/1.jpg", b"second")
        assert await read(source, before, unless=before.version) == b"second"
        (after,) = await everything(source)
        assert isinstance(after, Locator)
        assert after.version not in (None, before.version)
        assert after.size == 6


async def test_a_bucket_with_versions_shows_the_newest(s3: S3Server) -> None:
    s3.client.put_bucket_versioning(Bucket="photos", VersioningConfiguration={"Status": "Enabled"})
    for data in (b"one", b"two"):
        s3.put("party/1.jpg", data)
    s3.put("party/2.jpg", b"gone")
    s3.delete("party/2.jpg")
    async with opened(at(s3, "party")) as source:
        (entry,) = await everything(source)
        assert await read(source, entry) == b"two"
        s3.put("party/1.jpg", b"one")
        (again,) = await everything(source)
        assert isinstance(again, Locator)
        assert isinstance(entry, Locator)
        assert again.version != entry.version


@pytest.mark.parametrize("unless", ["12-34", 'a"b', "ü", "", '"quoted"'])
async def test_a_version_that_is_no_etag_just_gets_the_photo(s3: S3Server, unless: str) -> None:
    s3.put("party/1.jpg", b"data")
    async with opened(at(s3, "party")) as source:
        (entry,) = await everything(source)
        assert await read(source, entry, unless=unless) == b"data"


async def test_a_storage_without_etags_has_versions_too() -> None:
    only_time = {"Last-Modified": HEADERS["Last-Modified"]}
    page = (
        b"<ListBucketResult><Contents><Key>1.jpg</Key><Size>4</Size>"
        b"<LastModified>2015-10-21T07:28:00.000Z</LastModified></Contents></ListBucketResult>"
    )
    answers = {"/photos": Answer(page), "/photos/1.jpg": Answer(b"data", headers=only_time)}
    with Origin(answers) as origin:
        async with opened(at(origin)) as source:
            (entry,) = await everything(source)
            assert isinstance(entry, Locator)
            async with source.open(entry) as stream:
                assert stream.version == entry.version == "4-1445412480"
