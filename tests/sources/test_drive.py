"""Google Drive, against a stand-in for its API."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.errors import BadInput, ClairError, PhotoRejected, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.core.sources import SourceSpec
from app.sources import drive as drive_module
from app.sources import walking
from app.sources.addresses import AddressPolicy
from app.sources.drive import DriveSource
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.memory import read_photo
from tests.contracts.places import jpeg
from tests.contracts.places.drive import (
    API_KEY,
    FOLDER,
    ROOT,
    SHORTCUT,
    TOKEN,
    DriveApi,
    DriveFile,
    error,
)
from tests.origin import LOOPBACK, Listener
from tests.sources.standin import Said, said_json


@pytest.fixture
async def tools() -> AsyncIterator[SourceTools]:
    limits = FetchLimits(attempts=2, first_backoff_seconds=0.01)
    async with (
        Fetcher(AddressPolicy(LOOPBACK), limits) as fetcher,
        SourceTools(fetcher) as tools,
    ):
        yield tools


@pytest.fixture
def api() -> Iterator[DriveApi]:
    with DriveApi() as api:
        yield api


async def all_in(source: DriveSource) -> list[Locator | BadEntry]:
    return [entry async for entry in source.discover()]


async def titles_in(source: DriveSource) -> list[str | None]:
    found = await all_in(source)
    assert all(isinstance(entry, Locator) for entry in found), found
    return [entry.title for entry in found if isinstance(entry, Locator)]


async def bytes_of(source: DriveSource, entry: Locator) -> bytes:
    async with source.open(Locator(entry.key, entry.uri, version=entry.version)) as stream:
        return await read_photo(stream, 1_000_000)


def shortcut(target: str, media: str, key: str | None = None) -> dict[str, object]:
    details = {"targetId": target, "targetMimeType": media}
    return {"shortcutDetails": details | ({"targetResourceKey": key} if key else {})}


async def test_folders_below_and_pages(api: DriveApi, tools: SourceTools) -> None:
    api.files |= {f"1top{n}": DriveFile(f"{n:04}.jpg", ROOT, b"x") for n in range(2500)}
    api.files["1sub"] = DriveFile("zz Party", ROOT, media=FOLDER)
    api.files["1deep"] = DriveFile("deep", "1sub", media=FOLDER)
    api.files["1empty"] = DriveFile("empty", "1sub", media=FOLDER)
    api.files["1x"] = DriveFile("x.png", "1deep", jpeg(1), "image/png")
    api.files["1y"] = DriveFile("y.jpg", "1sub", jpeg(2))
    titles = await titles_in(DriveSource(api.spec(), tools))
    assert titles == [
        *(f"{n:04}.jpg" for n in range(2500)), "zz Party/y.jpg", "zz Party/deep/x.png",
    ]  # fmt: skip
    assert len([e for e in api.asked if e.path == "/drive/v3/files"]) == 3 + 3
    assert all(API_KEY not in f"{e.path}{e.query}" for e in api.asked)


async def test_what_is_known_of_a_photo(api: DriveApi, tools: SourceTools) -> None:
    more: dict[str, object] = {
        "imageMediaMetadata": {"time": "2026:05:01 20:15:00", "width": 4000, "height": 3000}
    }
    api.files["1a"] = DriveFile("First dance.jpg", ROOT, jpeg(1), more=more)
    (entry,) = await all_in(DriveSource(api.spec(), tools))
    assert entry == Locator(
        key="https://drive.google.com/file/d/1a/view",
        uri="https://drive.google.com/file/d/1a/view",
        title="First dance.jpg",
        taken_at=datetime(2026, 5, 1, 20, 15),  # noqa: DTZ001
        version=hashlib.md5(jpeg(1)).hexdigest(),
        size=len(jpeg(1)),
    )


async def test_only_photos_that_are_wanted(api: DriveApi, tools: SourceTools) -> None:
    for n, (name, media) in enumerate(
        [
            ("a.jpg", "image/jpeg"), ("IMG_1", "image/heif"), ("raw.jpg", "application/octet-stream"),
            ("notes.txt", "text/plain"), ("sheet", "application/vnd.google-apps.spreadsheet"),
            (".hidden.jpg", "image/jpeg"), ("icon.svg", "image/svg+xml"), ("film.mp4", "video/mp4"),
        ]
    ):  # fmt: skip
        api.files[f"1f{n}"] = DriveFile(name, ROOT, b"x", media)
    api.files["1trash"] = DriveFile("@eaDir", ROOT, media=FOLDER)
    api.files["1in"] = DriveFile("thumb.jpg", "1trash")
    assert await titles_in(DriveSource(api.spec(), tools)) == ["IMG_1", "a.jpg", "raw.jpg"]
    only = DriveSource(api.spec(include="*.jpg", exclude="raw*"), tools)
    assert await titles_in(only) == ["a.jpg"]


@pytest.mark.parametrize(
    "name", ["a/b.jpg", "100% #1?.jpg", "写真 'x'.jpg", 'q"\\.jpg', "nul\x00.jpg", "half\ud800.jpg"]
)
async def test_odd_names(name: str, api: DriveApi, tools: SourceTools) -> None:
    api.files["1odd"] = DriveFile(name, ROOT, jpeg(7))
    source = DriveSource(api.spec(), tools)
    (entry,) = await all_in(source)
    assert isinstance(entry, Locator)
    assert entry.title is not None
    assert "\x00" not in entry.title
    entry.title.encode()
    assert await bytes_of(source, entry) == jpeg(7)


async def test_shortcuts_and_loops(api: DriveApi, tools: SourceTools) -> None:
    api.files |= {
        "1sub": DriveFile("sub", ROOT, media=FOLDER),
        "1a": DriveFile("a.jpg", "1sub", jpeg(1)),
        "1back": DriveFile("back", "1sub", media=SHORTCUT, more=shortcut(ROOT, FOLDER)),
        "1self": DriveFile("self", "1sub", media=SHORTCUT, more=shortcut("1sub", FOLDER)),
        "1far": DriveFile("far", "elsewhere", media=FOLDER),
        "1b": DriveFile("b.jpg", "1far", jpeg(2)),
        "1tofar": DriveFile("to far", ROOT, media=SHORTCUT, more=shortcut("1far", FOLDER)),
        "1c": DriveFile("c.jpg", "elsewhere", jpeg(3), key="0-key"),
        "1toc": DriveFile(
            "z to c.jpg", ROOT, media=SHORTCUT, more=shortcut("1c", "image/jpeg", "0-key")
        ),
        "1toa": DriveFile("z a.jpg", ROOT, media=SHORTCUT, more=shortcut("1a", "image/jpeg")),
        "1lost": DriveFile("z lost.jpg", ROOT, media=SHORTCUT, more=shortcut("1no", "image/jpeg")),
    }
    source = DriveSource(api.spec(), tools)
    found = await all_in(source)
    good = {entry.title: entry for entry in found if isinstance(entry, Locator)}
    assert list(good) == ["z a.jpg", "z to c.jpg", "to far/b.jpg"]  # a.jpg once only
    assert good["z to c.jpg"].uri.endswith("/1c/view?resourcekey=0-key")
    assert good["z to c.jpg"].key.endswith("/1c/view")
    for entry, shade in (("z a.jpg", 1), ("z to c.jpg", 3), ("to far/b.jpg", 2)):
        assert good[entry].size == len(jpeg(shade))
        assert await bytes_of(source, good[entry]) == jpeg(shade)
    (bad,) = [entry for entry in found if isinstance(entry, BadEntry)]
    assert (bad.reason, bad.key) == ("not-found", "https://drive.google.com/file/d/1no/view")


async def test_folders_that_open_with_a_resource_key(api: DriveApi, tools: SourceTools) -> None:
    api.files[ROOT].key = "0-root"
    api.files["1sub"] = DriveFile("sub", ROOT, media=FOLDER, key="0-sub")
    api.files["1a"] = DriveFile("a.jpg", "1sub", jpeg(1), key="0-a")
    link = f"https://drive.google.com/drive/u/0/folders/{ROOT}?usp=sharing&resourcekey=0-root"
    source = DriveSource(api.spec(link), tools)
    (entry,) = await all_in(source)
    assert isinstance(entry, Locator)
    assert await bytes_of(source, entry) == jpeg(1)
    with pytest.raises(BadInput, match="no such"):
        await all_in(DriveSource(api.spec(), tools))


async def test_the_version_is_of_what_came(api: DriveApi, tools: SourceTools) -> None:
    api.files["1a"] = DriveFile("a.jpg", ROOT, jpeg(1))
    source = DriveSource(api.spec(), tools)
    (before,) = await all_in(source)
    assert isinstance(before, Locator)
    api.files["1a"].data = jpeg(2)
    async with source.open(before) as stream:
        assert await read_photo(stream, 1_000_000) == jpeg(2)
    (after,) = await all_in(source)
    assert isinstance(after, Locator)
    assert stream.version == after.version != before.version


# --- credentials and refusals


async def test_a_token_goes_along(api: DriveApi, tools: SourceTools) -> None:
    api.files["1a"] = DriveFile("a.jpg", ROOT, jpeg(1))
    source = DriveSource(api.spec(secret=TOKEN), tools)
    (entry,) = await all_in(source)
    assert isinstance(entry, Locator)
    await bytes_of(source, entry)
    assert {each.headers["authorization"] for each in api.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "credentials",
    [(), (("api_key", "a"), ("token", "b")), (("api_key", "hunter2 x"),), (("token", "hunter2\n\r1"),)],
)  # fmt: skip
def test_credentials_that_can_not_be(
    credentials: tuple[tuple[str, str], ...], tools: SourceTools
) -> None:
    link = f"https://drive.google.com/drive/folders/{ROOT}"
    with pytest.raises(BadInput) as caught:
        DriveSource(SourceSpec("drive", link, (), credentials), tools)
    assert "hunter2" not in str(caught.value)


SUSPENDED = "Permission denied: Consumer 'api_key:AIzaSyTest-key_123' has been suspended."
REFUSALS: dict[str, tuple[Said, type[ClairError], str | None]] = {
    "key": (error(400, "keyInvalid", "Bad Request"), BadInput, None),
    "token": (error(401, "authError", "Invalid Credentials"), BadInput, None),
    "scope": (error(403, "insufficientPermissions", "Insufficient Permission"), BadInput, None),
    "api off": (error(403, "accessNotConfigured", "Drive API has not been used"), BadInput, None),
    "suspended": (
        said_json({"error": {"details": [{"reason": "CONSUMER_SUSPENDED"}], "message": SUSPENDED}}, 403),
        BadInput,
        None,
    ),
    "forbidden": (error(403, "insufficientFilePermissions", "No"), BadInput, None),
    "gone": (error(404, "notFound", "File not found"), BadInput, None),
    "quota": (error(403, "dailyLimitExceeded", "Daily"), SourceUnavailable, "quota-exceeded"),
    "html": (Said(b"<html>Sorry...</html>", 403), BadInput, None),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusals_of_the_folder(name: str, api: DriveApi, tools: SourceTools) -> None:
    said, kind, reason = REFUSALS[name]
    api.next = [said]
    with pytest.raises(kind) as caught:
        await all_in(DriveSource(api.spec(), tools))
    assert getattr(caught.value, "reason", None) == reason
    assert API_KEY not in f"{caught.value} {caught.value.__cause__}"
    assert len(api.asked) == 1


@pytest.mark.parametrize("reason", ["rateLimitExceeded", "userRateLimitExceeded"])
async def test_slowing_down_is_no_refusal(reason: str, api: DriveApi, tools: SourceTools) -> None:
    api.files["1a"] = DriveFile("a.jpg", ROOT, jpeg(1))
    slow = error(403, reason, "Rate Limit Exceeded")
    api.next = [slow]
    source = DriveSource(api.spec(), tools)
    (entry,) = await all_in(source)  # it was tried again
    assert isinstance(entry, Locator)
    api.next = [slow, slow]
    with pytest.raises(SourceUnavailable) as caught:
        await bytes_of(source, entry)
    assert caught.value.reason == "rate-limited"
    api.next = [said_json({}, 429, Retry_After="40")]
    with pytest.raises(SourceUnavailable) as caught:
        await bytes_of(source, entry)
    assert (caught.value.reason, caught.value.after) == ("rate-limited", 40.0)


async def test_a_credential_that_ends_while_running(api: DriveApi, tools: SourceTools) -> None:
    api.files["1a"] = DriveFile("a.jpg", ROOT, jpeg(1))
    api.files["1sub"] = DriveFile("sub", ROOT, media=FOLDER)
    source = DriveSource(api.spec(secret=TOKEN), tools)
    walking_on = source.discover()
    entry = await anext(walking_on)
    assert isinstance(entry, Locator)
    ended = error(401, "authError", "Invalid Credentials")
    api.next = [ended]
    with pytest.raises(BadInput, match="API key or token"):
        await anext(walking_on)
    api.next = [ended]
    with pytest.raises(PhotoRejected) as caught:
        await bytes_of(source, entry)
    assert caught.value.reason == "unauthorised"
    assert TOKEN not in f"{caught.value!r} {caught.value.__cause__}"


async def test_folders_below_that_are_refused(api: DriveApi, tools: SourceTools) -> None:
    api.files["1sub"] = DriveFile("sub", ROOT, media=FOLDER)
    root = said_json({"id": ROOT, "name": "W", "mimeType": FOLDER})
    listing = said_json({"files": [{"id": "1sub", "name": "sub", "mimeType": FOLDER}]})
    api.next = [root, listing, error(403, "insufficientFilePermissions", "No")]
    (entry,) = await all_in(DriveSource(api.spec(), tools))
    assert isinstance(entry, BadEntry)
    assert (entry.reason, entry.uri) == ("forbidden", "https://drive.google.com/drive/folders/1sub")


async def test_a_file_is_no_folder(api: DriveApi, tools: SourceTools) -> None:
    api.files["1a"] = DriveFile("a.jpg", ROOT, jpeg(1))
    with pytest.raises(BadInput, match="file"):
        await all_in(DriveSource(api.spec("https://drive.google.com/open?id=1a"), tools))


# --- answers that make no sense


async def test_listings_that_do_not_end(
    api: DriveApi, tools: SourceTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive_module, "MAX_PAGES", 5)
    again = said_json({"files": [], "nextPageToken": "again"})
    api.next = [said_json({"id": ROOT, "name": "W", "mimeType": FOLDER}), *[again] * 5]
    with pytest.raises(BadInput, match="does not end"):
        await all_in(DriveSource(api.spec(), tools))
    assert len(api.asked) == 6


async def test_folders_without_end(
    api: DriveApi, tools: SourceTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "MAX_DEPTH", 3)
    for n in range(9):
        api.files[f"1d{n}"] = DriveFile("d", f"1d{n - 1}" if n else ROOT, media=FOLDER)
    (entry,) = await all_in(DriveSource(api.spec(), tools))
    assert isinstance(entry, BadEntry)
    assert entry.reason == "too-deep"


_KEYS = st.sampled_from(
    ["id", "name", "mimeType", "md5Checksum", "size", "resourceKey", "shortcutDetails", "targetId",
     "targetMimeType", "imageMediaMetadata", "time", "x"]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=20,
)
_FILE = st.fixed_dictionaries(
    {"id": st.just("1a"), "name": st.just("a.jpg")},
    optional={"size": _JSON, "md5Checksum": _JSON, "mimeType": _JSON | st.just(SHORTCUT),
              "imageMediaMetadata": _JSON, "shortcutDetails": _JSON, "resourceKey": _JSON},
)  # fmt: skip


@given(page=st.dictionaries(st.just("files"), _JSON | st.lists(_FILE | _JSON, max_size=3)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_page_is_read_or_refused(
    api: DriveApi, tools: SourceTools, page: dict[str, object]
) -> None:
    root = said_json({"id": ROOT, "name": "W", "mimeType": FOLDER})
    api.next = [root, Said(json.dumps(page).encode())]
    try:
        found = await all_in(DriveSource(api.spec(), tools))
    except BadInput:
        return
    assert all(entry.key.startswith("https://drive.google.com/") for entry in found)


async def test_a_private_api_is_not_connected_to(api: DriveApi) -> None:
    async with Fetcher(AddressPolicy()) as fetcher:
        with Listener() as forbidden:
            given_spec = SourceSpec(
                "drive",
                f"https://drive.google.com/drive/folders/{ROOT}",
                (("api", f"http://127.0.0.1:{forbidden.port}"),),
                (("api_key", API_KEY),),
            )
            with pytest.raises(BadInput, match="CLAIR_ALLOWED_CIDRS"):
                await all_in(DriveSource(given_spec, SourceTools(fetcher)))
            assert forbidden.accepted == 0


async def test_other_addresses_are_not_asked_for(api: DriveApi, tools: SourceTools) -> None:
    source = DriveSource(api.spec(), tools)
    for uri in ("https://example.org/a.jpg", "https://drive.google.com/file/d/a%2Fb/view", ""):
        with pytest.raises(PhotoRejected):
            await bytes_of(source, Locator(uri, uri))
    assert api.asked == []
