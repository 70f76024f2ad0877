"""WebDAV servers as they are, against WsgiDAV."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.core.errors import (
    BadInput,
    NotModified,
    PhotoRejected,
)
from app.core.marks import HOME_MARK
from app.core.photos import Locator
from app.core.sources import SourceSpec
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.open import KINDS, SourceOpener, recognise
from app.sources.webdav import WebDavSource
from tests.contracts.places import jpeg
from tests.contracts.places.webdav import PASSWORD, USER, DavServer
from tests.origin import LOOPBACK
from tests.sources.dav_standin import DavStandIn, bytes_of, found_in, multistatus, names_in
from tests.sources.standin import Said

ODD_NAMES = [
    "a b.jpg", "ärger & ünicode.jpg", "写真.jpg", "100%.jpg", "%41.jpg", "a+b.jpg", "a#b.jpg",
    "a?b=c.jpg", "it's, [1] (2);v=3.jpg", 'quote".jpg', "back\\slash.jpg", "<&>.jpg", "@:$!*.jpg",
    "UPPER.JPG", "two..dots.jpeg", "e\u0301.jpg",
]  # fmt: skip


@pytest.fixture
async def tools() -> AsyncIterator[SourceTools]:
    limits = FetchLimits(attempts=1)
    async with (
        Fetcher(AddressPolicy(LOOPBACK), limits) as fetcher,
        SourceTools(fetcher) as tools,
    ):
        yield tools


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def server(root: Path) -> Iterator[DavServer]:
    with DavServer({"/dav": root}, {"/dav": {USER: PASSWORD}}, digest=True) as server:
        yield server


def spec(url: str, *, password: str = PASSWORD, **options: str) -> SourceSpec:
    return SourceSpec("webdav", url, (("user", USER), *options.items()), (("password", password),))


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(len(name)) + name.encode())


async def test_odd_names(root: Path, server: DavServer, tools: SourceTools) -> None:
    put(root, *ODD_NAMES, *(f"{name.removesuffix('.jpg')}/in.jpg" for name in ODD_NAMES[:13]))
    base = server.url("/dav/")
    found = await found_in(WebDavSource(spec(base), tools))
    assert len(found) == len(ODD_NAMES) + 13
    elsewhere = WebDavSource(spec(base), tools)
    contents = set()
    for entry in found:
        assert isinstance(entry, Locator), entry
        assert entry.uri.startswith(base)
        contents.add(await bytes_of(elsewhere, Locator(entry.key, entry.uri)))
    assert contents == {path.read_bytes() for path in root.rglob("*.*") if path.is_file()}


async def test_folder_by_folder_in_order_and_nothing_else(
    root: Path, server: DavServer, tools: SourceTools
) -> None:
    put(root, "b.jpg", "a.jpg", "z/2.jpg", "z/1.png", "c/deep/er/x.webp", "notes.txt", "film.mp4")
    put(root, ".hidden.jpg", ".git/x.jpg", "@eaDir/thumb.jpg", "#recycle/old.jpg", "no-suffix")
    put(root, "home/small.jpg", f"home/{HOME_MARK}")
    (root / "empty").mkdir()
    base = server.url("/dav/")
    names = await names_in(WebDavSource(spec(base), tools), base)
    assert names == ["a.jpg", "b.jpg", "c/deep/er/x.webp", "z/1.png", "z/2.jpg"]
    listings = [each for each in server.requests if each["REQUEST_METHOD"] == "PROPFIND"]
    assert {each["HTTP_DEPTH"] for each in listings} == {"1"}


async def test_an_empty_folder_holds_nothing(server: DavServer, tools: SourceTools) -> None:
    assert await found_in(WebDavSource(spec(server.url("/dav")), tools)) == []


async def test_filters(root: Path, server: DavServer, tools: SourceTools) -> None:
    put(root, "a.jpg", "b.png", "Party/a.jpg", "Party/private/c.jpg", "Dance/d.jpg")
    base = server.url("/dav/")

    async def names(**options: str) -> list[str]:
        return await names_in(WebDavSource(spec(base, **options), tools), base)

    assert await names(include="Party/*, *.png") == ["b.png", "Party/a.jpg", "Party/private/c.jpg"]
    assert await names(exclude="*/private/*,a.*") == ["b.png", "Dance/d.jpg", "Party/a.jpg"]
    assert await names(include="Party/*", exclude="*/c.jpg") == ["Party/a.jpg"]


# --- signing in


async def test_a_server_that_knows_digest_never_gets_the_password(
    root: Path, server: DavServer, tools: SourceTools
) -> None:
    put(root, "a.jpg", "b.jpg")
    source = WebDavSource(spec(server.url("/dav/")), tools)
    for entry in await found_in(source):
        assert isinstance(entry, Locator)
        await bytes_of(source, entry)
    sent = [each.get("HTTP_AUTHORIZATION", "") for each in server.requests]
    assert sent[0] == ""  # asked how, once
    assert len(sent) == 4
    assert all(each.startswith("Digest ") for each in sent[1:])
    assert len({each.partition("nc=")[2][:8] for each in sent[1:]}) == 3  # each counted on


async def test_a_nonce_that_ran_out_is_replaced(
    root: Path, server: DavServer, tools: SourceTools
) -> None:
    put(root, "a.jpg")
    source = WebDavSource(spec(server.url("/dav/")), tools)
    (entry,) = await found_in(source)
    assert isinstance(entry, Locator)
    fresh = 'Digest realm="/dav", nonce="fresh", qop="auth", stale=true'

    def only_fresh(environ: dict[str, str]) -> tuple[str, dict[str, str], bytes] | None:
        if 'nonce="fresh"' in environ.get("HTTP_AUTHORIZATION", ""):
            return None
        return "401 Unauthorized", {"WWW-Authenticate": fresh}, b""

    server.answer = only_fresh
    assert await bytes_of(source, entry) == (root / "a.jpg").read_bytes()


async def test_a_sign_in_that_ends_while_running(
    root: Path, server: DavServer, tools: SourceTools
) -> None:
    put(root, "a.jpg", "b/b.jpg")
    source = WebDavSource(spec(server.url("/dav/")), tools)
    walking_on = source.discover()
    entry = await anext(walking_on)
    assert isinstance(entry, Locator)
    server.set_password("/dav", USER, "another")
    with pytest.raises(BadInput, match="sign-in"):
        await anext(walking_on)
    with pytest.raises(PhotoRejected) as caught:
        await bytes_of(source, entry)
    assert caught.value.reason == "unauthorised"
    assert PASSWORD not in f"{caught.value!r} {caught.value.__cause__}"


async def test_a_token_goes_along(tools: SourceTools) -> None:
    with DavStandIn(multistatus(("/dav/", None))) as peer:
        given = SourceSpec("webdav", peer.url("/dav/"), (), (("token", "tok-123"),))
        assert await found_in(WebDavSource(given, tools)) == []
        assert peer.asked[0].headers["authorization"] == "Bearer tok-123"


@pytest.mark.parametrize(
    ("options", "credentials"),
    [
        ({"user": "ada"}, {}),
        ({}, {"password": "x"}),
        ({"user": "ada"}, {"password": "x", "token": "y"}),
        ({"user": "ada\r\nX: y"}, {"password": "x"}),
        ({"user": "ada"}, {"password": "hunter2\n"}),
        ({}, {"token": "hunter2\r\nX-Evil: 1"}),
        ({}, {"token": "hünter2"}),
    ],
)
def test_sign_ins_that_can_not_be(
    options: dict[str, str], credentials: dict[str, str], tools: SourceTools
) -> None:
    given = SourceSpec(
        "webdav", "https://h/dav/", tuple(options.items()), tuple(credentials.items())
    )
    with pytest.raises(BadInput) as caught:
        SourceOpener(tools)(given)
    assert "hunter2" not in str(caught.value)
    assert "hünter2" not in str(caught.value)


# --- versions


async def test_only_what_changed_is_sent_again(
    root: Path, server: DavServer, tools: SourceTools
) -> None:
    put(root, "a.jpg")
    source = WebDavSource(spec(server.url("/dav/")), tools)
    (entry,) = await found_in(source)
    assert isinstance(entry, Locator)
    with pytest.raises(NotModified):
        async with source.open(entry, unless=entry.version):
            pass
    put(root, "a.jpg")
    os.utime(root / "a.jpg", (1, 1))
    async with source.open(entry, unless=entry.version) as stream:
        assert stream.version != entry.version
        assert [stream.version] == [e.version for e in await found_in(source)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        ({"getetag": '"abc"'}, {"ETag": '"abc"'}),
        ({"getetag": "abc"}, {"ETag": '"abc"'}),
        ({"getetag": 'W/"abc"'}, {"ETag": '"abc"'}),
        ({"getetag": '"abc"'}, {"ETag": 'W/"abc"'}),
        ({"getetag": '"abc"', "getlastmodified": "Mon"}, {"ETag": '"abc"', "Last-Modified": "Mon"}),
        ({"getlastmodified": "Mon"}, {"Last-Modified": "Mon"}),
        ({"getlastmodified": "Mon"}, {"Last-Modified": "Mon", "ETag": '"only-here"'}),
    ],
)
async def test_what_is_opened_has_the_version_that_was_listed(
    listed: dict[str, str], sent: dict[str, str], tools: SourceTools
) -> None:
    photo = jpeg(1)
    listing = multistatus(
        ("/dav/", None), ("/dav/a.jpg", {"getcontentlength": str(len(photo)), **listed})
    )
    with DavStandIn(listing, Said(photo, headers=sent)) as peer:
        source = WebDavSource(SourceSpec("webdav", peer.url("/dav/")), tools)
        (entry,) = await found_in(source)
        assert isinstance(entry, Locator)
        async with source.open(Locator(entry.key, entry.uri, version=entry.version)) as stream:
            assert stream.version == entry.version
            assert entry.version is not None


# --- addresses


@pytest.mark.parametrize(
    "uri",
    [
        "dav://nas.local/photos", "davs://nas.local:8443/photos/", "webdavs://h/x", "DAVS://h/x/",
        "https://cloud.example.org/remote.php/dav/files/ada/Wedding/",
        "https://example.org/nc/remote.php/webdav/Photos", "https://h/webdav/", "https://h/dav",
        "https://h/seafdav/lib", "https://h/public.php/webdav",
    ],
)  # fmt: skip
def test_is_recognised(uri: str) -> None:
    assert recognise(uri)[0] == "webdav"


@pytest.mark.parametrize(
    "uri",
    ["https://h/davos/", "https://h/photos/dav/", "https://h/dav/list.csv", "https://h/?/dav/"],
)
def test_is_not_taken_for_webdav(uri: str) -> None:
    assert KINDS["webdav"].recognise(uri) is None


@pytest.mark.parametrize("uri", ["ftp://h/dav", "dav://", "davs://h/dav/?x=1", "davs://u:p@h/dav"])
def test_addresses_that_can_not_be(uri: str, tools: SourceTools) -> None:
    with pytest.raises(BadInput):
        WebDavSource(SourceSpec("webdav", uri), tools)
