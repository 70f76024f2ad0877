"""WebDAV servers as they might be, against a stand-in that misbehaves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.core.errors import BadInput, ForbiddenAddress, PhotoRejected, SourceUnavailable
from app.core.failures import CURES
from app.core.photos import BadEntry, Locator
from app.core.sources import SourceSpec
from app.sources import dav, walking
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.webdav import WebDavSource
from tests.contracts.places import jpeg
from tests.origin import LOOPBACK, Answer, Listener, Origin
from tests.sources.dav_standin import (
    DavStandIn,
    anonymous,
    bytes_of,
    found_in,
    multistatus,
    names_in,
)
from tests.sources.standin import Said


@pytest.fixture
async def tools() -> AsyncIterator[SourceTools]:
    limits = FetchLimits(attempts=1)
    async with (
        Fetcher(AddressPolicy(LOOPBACK), limits) as fetcher,
        SourceTools(fetcher) as tools,
    ):
        yield tools


def locked(url: str) -> SourceSpec:
    return SourceSpec("webdav", url, (("user", "ada"),), (("password", "s3cret"),))


async def test_a_folder_that_holds_itself_ends(tools: SourceTools) -> None:
    listing = multistatus(("{path}", None), ("{path}loop/", None), ("{path}a.jpg", {}))
    with DavStandIn(listing) as peer:
        found = await found_in(anonymous(peer, tools))
        assert len(peer.asked) == walking.MAX_DEPTH + 1
    assert len(found) == walking.MAX_DEPTH + 2
    last = found[-1]
    assert isinstance(last, BadEntry)
    assert last.reason == "too-deep"


async def test_too_many_folders_are_said(
    tools: SourceTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "MAX_FOLDERS", 20)
    listing = multistatus(("{path}", None), ("{path}a/", None), ("{path}b/", None))
    with DavStandIn(listing) as peer:
        found = await found_in(anonymous(peer, tools))
        assert len(peer.asked) == 20
    (entry,) = found
    assert isinstance(entry, BadEntry)
    assert entry.reason == "too-many-folders"


async def test_a_listing_that_repeats_or_goes_deeper_changes_nothing(tools: SourceTools) -> None:
    listing = multistatus(
        ("/dav", None), ("/dav/", None), ("/dav//", None), ("/dav/x/", {}), ("/dav/a.jpg", {}),
        ("/dav/%61.jpg", {}), ("/dav/sub/deeper.jpg", {}), ("a.jpg", {}), ("/dav/b.jpg", {}),
    )  # fmt: skip
    with DavStandIn(listing) as peer:
        base = peer.url("/dav/")
        assert await names_in(anonymous(peer, tools), base) == ["a.jpg", "b.jpg"]


async def test_hrefs_that_lead_elsewhere_are_said_and_never_followed(tools: SourceTools) -> None:
    with Listener() as forbidden, DavStandIn("") as peer:
        port = forbidden.port
        elsewhere = [
            f"http://127.0.0.2:{port}/dav/x.jpg", f"//127.0.0.3:{port}/dav/y.jpg",
            "http://169.254.169.254/latest/meta.jpg", "/other/x.jpg", "/dav/../secret.jpg",
            "/dav/%2e%2e/secret.jpg", "http://user:pw@127.0.0.1/dav/x.jpg", "ftp://h/dav/x.jpg",
            "http://h:99999999/dav/x.jpg", "/davros/x.jpg", "..",
        ]  # fmt: skip
        same = peer.url("/dav/same.jpg")
        other_port = f"http://127.0.0.1:{port}/dav/port.jpg"
        hrefs = [*elsewhere, same, other_port]
        peer.listing = multistatus(*((href, {"getcontentlength": "5"}) for href in hrefs))
        source = anonymous(peer, tools)
        found = await found_in(source)
        bad = [entry for entry in found if isinstance(entry, BadEntry)]
        assert [entry.key for entry in bad] == elsewhere
        assert {entry.reason for entry in bad} == {"outside-folder"}
        good = [entry for entry in found if isinstance(entry, Locator)]
        # Of an href only the path counts: servers behind proxies know neither scheme nor port.
        assert [entry.uri for entry in good] == [peer.url("/dav/port.jpg"), same]
        for entry in good:
            await bytes_of(source, entry)
        assert forbidden.accepted == 0


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/other/a.jpg", "http://127.0.0.2/dav/a.jpg", "{base}../a.jpg", "{base}%2e%2e/a",
        "{base}x/../../a.jpg", "file:///etc/passwd", "",
    ],
)  # fmt: skip
async def test_photos_outside_the_folder_are_not_asked_for(uri: str, tools: SourceTools) -> None:
    with DavStandIn("") as peer:
        uri = uri.format(base=peer.url("/dav/"))
        with pytest.raises(ForbiddenAddress):
            await bytes_of(anonymous(peer, tools), Locator(uri, uri))
        assert peer.asked == []


async def test_a_sign_in_is_not_sent_along_a_redirect(tools: SourceTools) -> None:
    with Origin({"/real.jpg": Answer(jpeg(3))}) as other, DavStandIn("") as peer:
        peer.photo = Said(status=302, headers={"Location": other.url("/real.jpg")})
        given = SourceSpec("webdav", peer.url("/dav/"), (), (("token", "tok-123"),))
        source = WebDavSource(given, tools)
        uri = peer.url("/dav/a.jpg")
        assert await bytes_of(source, Locator(uri, uri)) == jpeg(3)
        assert peer.asked[0].headers["authorization"] == "Bearer tok-123"
        ((_, headers),) = other.seen
        assert "Authorization" not in headers


async def test_another_host_can_not_ask_for_the_password(tools: SourceTools) -> None:
    asks = Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with Origin({"/real.jpg": asks}) as other, DavStandIn("") as peer:
        peer.photo = Said(status=302, headers={"Location": other.url("/real.jpg")})
        source = WebDavSource(locked(peer.url("/dav/")), tools)
        uri = peer.url("/dav/a.jpg")
        with pytest.raises(PhotoRejected) as caught:
            await bytes_of(source, Locator(uri, uri))
        assert caught.value.reason == "unauthorised"
        assert ["authorization" in each.headers for each in peer.asked] == [False]


async def test_a_private_server_is_not_connected_to() -> None:
    async with Fetcher(AddressPolicy()) as fetcher:
        with Listener() as forbidden:
            for host in ("127.0.0.1", "localhost"):
                url = f"http://{host}:{forbidden.port}/dav/"
                with pytest.raises(BadInput, match="CLAIR_"):
                    await found_in(WebDavSource(locked(url), SourceTools(fetcher)))
            assert forbidden.accepted == 0


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (Said(b"<html>hello</html>"), BadInput, "not a WebDAV listing"),
        (Said(b"", 207), BadInput, "not a WebDAV listing"),
        (Said(b'<d:multistatus xmlns:d="DAV:"><d:resp', 207), BadInput, "not a WebDAV listing"),
        (Said(b"", 405), BadInput, "no WebDAV folder"),
        (Said(b"", 501), BadInput, "no WebDAV folder"),
        (Said(b"", 404), BadInput, "nothing at"),
        (Said(b"", 403), BadInput, "refuses"),
        (Said(b"", 401), BadInput, "sign-in"),
        (Said(b"", 301, {"Location": "https://new.example.org/dav/"}), BadInput, "new.example"),
        (Said(b"", 503), SourceUnavailable, "503"),
        (Said(b"", 429, {"Retry-After": "30"}), SourceUnavailable, "429"),
    ],
)
async def test_what_is_no_folder_is_said(
    said: Said, error: type[Exception], words: str, tools: SourceTools
) -> None:
    with DavStandIn("") as peer:
        peer.next = [said]
        with pytest.raises(error, match=words):
            await found_in(anonymous(peer, tools))


async def test_a_refusal_that_breaks_off_is_still_one(tools: SourceTools) -> None:
    broken = Answer(b"x" * 1000, status=403, announced=5000, cut=10)
    with Origin({"/dav/": broken}) as origin:
        given = SourceSpec("webdav", origin.url("/dav/"))
        with pytest.raises(BadInput, match="refuses"):
            await found_in(WebDavSource(given, tools))


async def test_folders_below_that_fail(tools: SourceTools) -> None:
    top = multistatus(("/dav/", None), ("/dav/a.jpg", {}), ("/dav/b/", None), ("/dav/c/", None))
    rest = multistatus(("{path}", None), ("{path}c.jpg", {}))
    for said, expected in [
        (Said(status=403), ["a.jpg", "forbidden", "c/c.jpg"]),
        (Said(b"<html/>"), ["a.jpg", "bad-listing", "c/c.jpg"]),
        (Said(status=404), ["a.jpg", "c/c.jpg"]),
    ]:
        with DavStandIn(rest) as peer:
            peer.next = [Said(top.encode(), 207), said]
            base = peer.url("/dav/")
            found = await found_in(anonymous(peer, tools))
            assert [
                entry.uri.removeprefix(base) if isinstance(entry, Locator) else entry.reason
                for entry in found
            ] == expected
    with DavStandIn(rest) as peer:
        peer.next = [Said(top.encode(), 207), Said(status=500)]
        with pytest.raises(SourceUnavailable):
            await found_in(anonymous(peer, tools))


async def test_listings_are_bounded(tools: SourceTools, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [(f"/dav/{n}.jpg", {"getetag": "x"}) for n in range(300)]
    with DavStandIn(multistatus(*members)) as peer:
        assert len(await found_in(anonymous(peer, tools))) == 300
        monkeypatch.setattr(dav, "MAX_MEMBERS", 299)
        with pytest.raises(BadInput, match="more than 299"):
            await found_in(anonymous(peer, tools))
        monkeypatch.setattr(dav, "MAX_MEMBERS", 300)
        monkeypatch.setattr(dav, "MAX_PAGE_BYTES", 1_000)
        with pytest.raises(BadInput, match="larger than"):
            await found_in(anonymous(peer, tools))


async def test_a_photo_that_the_server_lists_as_refused(tools: SourceTools) -> None:
    listing = (
        '<multistatus xmlns="DAV:"><response><href>/dav/a.jpg</href><status>HTTP/1.1 403 No'
        "</status></response><response><href>/dav/b.jpg</href><status>HTTP/1.1 404 Not Found"
        "</status></response></multistatus>"
    )
    with DavStandIn(listing) as peer:
        (entry,) = await found_in(anonymous(peer, tools))
    assert isinstance(entry, BadEntry)
    assert entry.reason == "forbidden"


def test_reasons_have_cures() -> None:
    assert {"bad-listing", "too-deep", "too-many-folders", "outside-folder", "bad-redirect"} <= set(
        CURES
    )
