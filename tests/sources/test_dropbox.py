"""Dropbox, against a stand-in for its API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.errors import (
    BadInput,
    ClairError,
    ForbiddenAddress,
    NotModified,
    PhotoRejected,
    SourceUnavailable,
)
from app.core.marks import HOME_MARK
from app.core.photos import BadEntry, Locator
from app.core.sources import SourceSpec
from app.sources import dropbox as dropbox_module
from app.sources.addresses import AddressPolicy
from app.sources.dropbox import DropboxSource
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.memory import read_photo
from app.sources.open import KINDS, recognise
from tests.contracts.places import jpeg
from tests.contracts.places.dropbox import BASE, LINK, TOKEN, DropboxApi, refusal
from tests.origin import LOOPBACK, Listener
from tests.sources.standin import Said, said_json
from tests.sources.test_webdav import ODD_NAMES


@pytest.fixture
async def tools() -> AsyncIterator[SourceTools]:
    limits = FetchLimits(attempts=2, first_backoff_seconds=0.01)
    async with (
        Fetcher(AddressPolicy(LOOPBACK), limits) as fetcher,
        SourceTools(fetcher) as tools,
    ):
        yield tools


@pytest.fixture
def api() -> Iterator[DropboxApi]:
    with DropboxApi() as api:
        yield api


async def all_in(source: DropboxSource) -> list[Locator | BadEntry]:
    return [entry async for entry in source.discover()]


async def paths_in(source: DropboxSource) -> list[str]:
    found = await all_in(source)
    assert all(isinstance(entry, Locator) for entry in found), found
    return [entry.uri.removeprefix(BASE) for entry in found]


async def bytes_of(source: DropboxSource, entry: Locator) -> bytes:
    async with source.open(Locator(entry.key, entry.uri, version=entry.version)) as stream:
        return await read_photo(stream, 1_000_000)


async def test_folders_below_and_pages(api: DropboxApi, tools: SourceTools) -> None:
    api.page = 7
    for n in range(30):
        api.put(f"/{n:02}.jpg", b"x")
    for path in ("/Party/b.jpg", "/Party/a.jpg", "/A/deep/x.png", "/.git/x.jpg", "/a.txt"):
        api.put(path, b"x")
    api.put(f"/home/{HOME_MARK}", b"")
    api.put("/home/small.jpg", b"x")
    assert await paths_in(DropboxSource(api.spec(), tools)) == [
        *(f"/{n:02}.jpg" for n in range(30)), "/A/deep/x.png", "/Party/a.jpg", "/Party/b.jpg",
    ]  # fmt: skip
    asked = [each.path.removeprefix("/2/files/list_folder") for each in api.asked]
    assert asked[:6] == ["", "/continue", "/continue", "/continue", "/continue", ""]


async def test_odd_names(api: DropboxApi, tools: SourceTools) -> None:
    names = [*ODD_NAMES, "del\x7f.jpg"]
    for n, name in enumerate(names):
        api.put(f"/{name}", jpeg(n))
        api.put(f"/{name} folder/{name}", jpeg(100 + n))
    found = await all_in(DropboxSource(api.spec(), tools))
    assert len({entry.key for entry in found}) == 2 * len(names)
    worker = DropboxSource(api.spec(), tools)
    contents = {await bytes_of(worker, entry) for entry in found if isinstance(entry, Locator)}
    assert contents == {data for _, data in api.files.values()}


async def test_a_folder_within_the_link_has_the_same_keys(
    api: DropboxApi, tools: SourceTools
) -> None:
    api.put("/Täg 1/a.jpg", jpeg(1))
    api.put("/b.jpg", jpeg(2))
    whole = await all_in(DropboxSource(api.spec(), tools))
    source = DropboxSource(api.spec(f"{BASE}/T%C3%A4g%201?rlkey=q3rqx0zvh1&st=ab1c&dl=0"), tools)
    (entry,) = await all_in(source)
    assert entry in whole
    assert isinstance(entry, Locator)
    assert await bytes_of(source, entry) == jpeg(1)
    assert "rlkey" not in f"{entry}"


async def test_an_empty_folder_holds_nothing(api: DropboxApi, tools: SourceTools) -> None:
    assert await all_in(DropboxSource(api.spec(), tools)) == []


async def test_the_version_is_the_revision(api: DropboxApi, tools: SourceTools) -> None:
    api.put("/a.jpg", jpeg(1))
    source = DropboxSource(api.spec(), tools)
    (before,) = await all_in(source)
    assert isinstance(before, Locator)
    assert before.size == len(jpeg(1))
    with pytest.raises(NotModified):
        async with source.open(before, unless=before.version):
            pass
    api.put("/a.jpg", jpeg(2))
    async with source.open(before, unless=before.version) as stream:
        assert stream.version not in (None, before.version)
        assert [stream.version] == [e.version for e in await all_in(source)]  # type: ignore[union-attr]


@pytest.mark.parametrize("password", ["", "wrong"])
async def test_a_link_with_a_password(password: str, api: DropboxApi, tools: SourceTools) -> None:
    api.put("/a.jpg", jpeg(1))
    api.password = "pässword"
    source = DropboxSource(api.spec(password="pässword"), tools)
    (entry,) = await all_in(source)
    assert isinstance(entry, Locator)
    assert await bytes_of(source, entry) == jpeg(1)
    other = DropboxSource(api.spec(password=password), tools)
    with pytest.raises(BadInput, match="password"):
        await all_in(other)
    with pytest.raises(PhotoRejected) as caught:
        await bytes_of(other, entry)
    assert caught.value.reason == "forbidden"


REFUSALS: dict[str, tuple[Said, type[ClairError], str]] = {
    "token": (refusal("invalid_access_token/", 401), BadInput, "not accepted"),
    "expired": (refusal("expired_access_token/", 401), BadInput, "has expired"),
    "scope": (refusal("missing_scope/", 401), BadInput, "files.metadata.read"),
    "malformed": (
        Said(b'Invalid authorization value in HTTP header "Authorization": "Bearer sl.test-token"', 400),
        BadInput,
        "not accepted",
    ),
    "link": (refusal("path/not_found/"), BadInput, "no such link"),
    "file": (refusal("path/not_folder/"), BadInput, "no folder"),
    "denied": (refusal("shared_link_access_denied/"), BadInput, "refuses"),
    "reset": (refusal("reset/"), SourceUnavailable, "lost its place"),
    "failing": (Said(status=500), SourceUnavailable, "500"),
    "other": (Said(b"\xff\xfe<html>", 409), BadInput, "refuses"),
    "moved": (Said(status=302, headers={"Location": "http://127.0.0.1/"}), BadInput, "302"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusals_of_the_link(name: str, api: DropboxApi, tools: SourceTools) -> None:
    said, kind, words = REFUSALS[name]
    api.next = [said, said]
    with pytest.raises(kind, match=words) as caught:
        await all_in(DropboxSource(api.spec(), tools))
    assert TOKEN not in f"{caught.value} {caught.value.__cause__}"


async def test_slowing_down(api: DropboxApi, tools: SourceTools) -> None:
    api.put("/a.jpg", jpeg(1))
    api.next = [refusal("too_many_requests/", 429, Retry_After="0")]
    source = DropboxSource(api.spec(), tools)
    (entry,) = await all_in(source)  # it was asked again
    assert isinstance(entry, Locator)
    api.next = [refusal("too_many_requests/", 429, Retry_After="300")]
    with pytest.raises(SourceUnavailable) as caught:
        await bytes_of(source, entry)
    assert (caught.value.reason, caught.value.after) == ("rate-limited", 300.0)


async def test_a_token_that_ends_while_running(api: DropboxApi, tools: SourceTools) -> None:
    api.put("/a.jpg", jpeg(1))
    api.put("/b/b.jpg", jpeg(1))
    source = DropboxSource(api.spec(), tools)
    walking = source.discover()
    entry = await anext(walking)
    assert isinstance(entry, Locator)
    ended = refusal("expired_access_token/", 401)
    api.next = [ended]
    with pytest.raises(BadInput, match="has expired"):
        await anext(walking)
    api.next = [ended]
    with pytest.raises(PhotoRejected) as caught:
        await bytes_of(source, entry)
    assert caught.value.reason == "unauthorised"


async def test_folders_below_that_are_refused(api: DropboxApi, tools: SourceTools) -> None:
    listing = said_json({"entries": [{".tag": "folder", "name": "Sub"}], "has_more": False})
    api.next = [listing, refusal("path/restricted_content/")]
    (entry,) = await all_in(DropboxSource(api.spec(), tools))
    assert isinstance(entry, BadEntry)
    assert (entry.reason, entry.uri) == ("forbidden", f"{BASE}/Sub")
    api.next = [listing, refusal("path/not_found/")]
    assert await all_in(DropboxSource(api.spec(), tools)) == []


async def test_listings_that_do_not_end(
    api: DropboxApi, tools: SourceTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropbox_module, "MAX_PAGES", 5)
    api.next = [said_json({"entries": [], "cursor": "c", "has_more": True})] * 5
    with pytest.raises(BadInput, match="does not end"):
        await all_in(DropboxSource(api.spec(), tools))
    assert len(api.asked) == 5


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([".tag", "name", "rev", "size", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)
_ENTRY = st.fixed_dictionaries(
    {".tag": st.just("file"), "name": st.text(max_size=5).map(lambda name: f"{name}.jpg")},
    optional={"rev": _JSON, "size": _JSON},
)


@given(entries=_JSON | st.lists(_ENTRY | _JSON, max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_page_is_read_or_refused(
    api: DropboxApi, tools: SourceTools, entries: object
) -> None:
    api.next = [Said(json.dumps({"entries": entries}).encode())]
    try:
        found = await all_in(DropboxSource(api.spec(), tools))
    except BadInput:
        return
    assert all(entry.key.startswith(f"{BASE}/") for entry in found)
    assert all(entry.key.isascii() and entry.key.isprintable() for entry in found)


@pytest.mark.parametrize(
    "uri", ["https://www.dropbox.com/scl/fo/other/AAA/a.jpg", f"{BASE}x/a.jpg", BASE, "", "/a.jpg"]
)
async def test_photos_of_other_links_are_not_asked_for(
    uri: str, api: DropboxApi, tools: SourceTools
) -> None:
    with pytest.raises(ForbiddenAddress):
        await bytes_of(DropboxSource(api.spec(), tools), Locator(uri, uri))
    assert api.asked == []


async def test_a_private_api_is_not_connected_to() -> None:
    async with Fetcher(AddressPolicy()) as fetcher:
        with Listener() as forbidden:
            options = (("api", f"http://127.0.0.1:{forbidden.port}"),)
            given_spec = SourceSpec("dropbox", LINK, options, (("token", TOKEN),))
            with pytest.raises(BadInput, match="CLAIR_ALLOWED_CIDRS"):
                await all_in(DropboxSource(given_spec, SourceTools(fetcher)))
            assert forbidden.accepted == 0


def test_a_token_is_needed(tools: SourceTools) -> None:
    for credentials in ((), (("token", "two words"),)):
        with pytest.raises(BadInput, match="token"):
            DropboxSource(SourceSpec("dropbox", LINK, (), credentials), tools)


@pytest.mark.parametrize(
    "uri",
    [
        LINK, f"{LINK}&st=1&dl=0", "https://www.dropbox.com/sh/abc123/AADxyz?dl=0",
        "https://dropbox.com/sh/abc123/AADxyz/Sub%20folder", f"{BASE}/a/b/c?rlkey=x#y",
    ],
)  # fmt: skip
def test_links_are_recognised(uri: str) -> None:
    kind, sentence = recognise(uri)
    assert kind == "dropbox"
    assert "rlkey" not in sentence


@pytest.mark.parametrize(
    "uri",
    [
        "https://www.dropbox.com/s/abc123/photos.csv?dl=1", "https://www.dropbox.com/home/Photos",
        "https://www.dropbox.com/scl/fi/abc/photos.csv", "https://dropbox.com.evil.example/sh/a/b",
        "https://www.dropbox.com/scl/fo/onlyone",
    ],
)  # fmt: skip
def test_other_links_are_not_folders(uri: str, tools: SourceTools) -> None:
    assert KINDS["dropbox"].recognise(uri) is None
    with pytest.raises(BadInput):
        DropboxSource(SourceSpec("dropbox", uri, (), (("token", "x"),)), tools)
