"""Public links against WsgiDAV under Nextcloud's and ownCloud's paths. It is not the real thing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.core.errors import BadInput, ForbiddenAddress, PhotoRejected, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.core.sources import SourceSpec
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.memory import read_photo
from app.sources.nextcloud import NextcloudSource, _parsed
from app.sources.open import KINDS, recognise
from tests.contracts.places import jpeg
from tests.contracts.places.nextcloud import INFINITE, NEW, OLD, TOKEN, shared
from tests.contracts.places.webdav import DavServer
from tests.origin import LOOPBACK, Listener
from tests.sources.standin import Asked, Said, StandIn

PASSWORD = "pass word: ü"


@pytest.fixture
async def tools() -> AsyncIterator[SourceTools]:
    async with (
        Fetcher(AddressPolicy(LOOPBACK), FetchLimits(attempts=1)) as fetcher,
        SourceTools(fetcher) as tools,
    ):
        yield tools


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a b+c.jpg", "Täg 1/x#1.jpg", "Täg 1/deep/y.jpg", ".hidden/z.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(5) + name.encode())
    return folder


def spec(uri: str, password: str = "") -> SourceSpec:
    return SourceSpec("nextcloud", uri, (), (("password", password),) if password else ())


async def found_in(source: NextcloudSource) -> list[Locator]:
    found = [entry async for entry in source.discover()]
    assert not [entry for entry in found if isinstance(entry, BadEntry)]
    return [entry for entry in found if isinstance(entry, Locator)]


async def bytes_of(source: NextcloudSource, entry: Locator) -> bytes:
    async with source.open(entry) as stream:
        return await read_photo(stream, 1_000_000)


def listings(server: DavServer) -> list[str]:
    return [e["PATH_INFO"] for e in server.requests if e["REQUEST_METHOD"] == "PROPFIND"]


@pytest.mark.parametrize("way", [NEW, OLD, INFINITE])
async def test_each_way_is_found_once_and_kept(way: str, root: Path, tools: SourceTools) -> None:
    with ExitStack() as held:
        server = shared(held, root, way, PASSWORD)
        link = server.url(f"/s/{TOKEN}")
        source = NextcloudSource(spec(link, PASSWORD), tools)
        found = await found_in(source)
        assert [entry.uri.removeprefix(f"{link}/") for entry in found] == [
            "a%20b%2Bc.jpg", "b.jpg", "T%C3%A4g%201/x%231.jpg", "T%C3%A4g%201/deep/y.jpg",
        ]  # fmt: skip
        asked = len(server.requests)
        assert await found_in(source) == found
        assert len(server.requests) - asked == 3  # the folders, and no more looking for the way
        worker = NextcloudSource(spec(link, PASSWORD), tools)
        for entry in found:
            name = (await bytes_of(worker, Locator(entry.key, entry.uri)))[len(jpeg(5)) :].decode()
            assert (root / name).is_file()
        assert all(e["HTTP_X_REQUESTED_WITH"] == "XMLHttpRequest" for e in server.requests)


@pytest.mark.parametrize(
    ("rest", "names"),
    [
        ("?path=%2FT%C3%A4g%201", ["x%231.jpg", "deep/y.jpg"]),
        ("?dir=/Täg 1/deep", ["y.jpg"]),
        ("/download?path=%2FT%C3%A4g%201%2Fdeep&files=", ["y.jpg"]),
        ("?path=%2F#all", ["a%20b%2Bc.jpg", "b.jpg", "T%C3%A4g%201/x%231.jpg", "T%C3%A4g%201/deep/y.jpg"]),
    ],
)  # fmt: skip
async def test_folders_within_a_share_have_the_same_keys(
    rest: str, names: list[str], root: Path, tools: SourceTools
) -> None:
    with ExitStack() as held:
        link = shared(held, root, NEW).url(f"/index.php/s/{TOKEN}")
        whole = {entry.key for entry in await found_in(NextcloudSource(spec(link), tools))}
        source = NextcloudSource(spec(link + rest), tools)
        found = await found_in(source)
        assert {entry.key for entry in found} <= whole
        assert [entry.key.endswith(name) for entry, name in zip(found, names, strict=True)]
        for entry in found:
            assert await bytes_of(source, entry)


async def test_a_server_below_a_path(root: Path, tools: SourceTools) -> None:
    share = f"/cloud{NEW}"
    with DavServer({share: root}, {share: {"anonymous": ""}}) as server:
        found = await found_in(NextcloudSource(spec(server.url(f"/cloud/s/{TOKEN}")), tools))
        assert len(found) == 4
        assert set(listings(server)) == {
            f"{share}/", f"{share}/T\u00c3\u00a4g 1/", f"{share}/T\u00c3\u00a4g 1/deep/",
        }  # fmt: skip


@pytest.mark.parametrize("way", [NEW, OLD, INFINITE])
async def test_passwords_that_do_not_fit(way: str, root: Path, tools: SourceTools) -> None:
    with ExitStack() as held:
        link = shared(held, root, way, PASSWORD).url(f"/s/{TOKEN}")
        with pytest.raises(BadInput, match="wants a password, or has expired"):
            await found_in(NextcloudSource(spec(link), tools))
        with pytest.raises(BadInput, match="refuses the password") as caught:
            await found_in(NextcloudSource(spec(link, "hunter2"), tools))
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


async def test_a_share_that_ends_while_running(root: Path, tools: SourceTools) -> None:
    with ExitStack() as held:
        server = shared(held, root, NEW, PASSWORD)
        source = NextcloudSource(spec(server.url(f"/s/{TOKEN}"), PASSWORD), tools)
        walking = source.discover()
        entry = await anext(walking)
        await anext(walking)
        assert isinstance(entry, Locator)
        server.set_password(NEW, "anonymous", "another")
        with pytest.raises(BadInput, match="expired"):
            await anext(walking)
        with pytest.raises(PhotoRejected) as caught:
            await bytes_of(source, entry)
        assert caught.value.reason == "unauthorised"
        with pytest.raises(PhotoRejected) as caught:  # a worker that starts only now
            await bytes_of(NextcloudSource(spec(server.url(f"/s/{TOKEN}"), PASSWORD), tools), entry)
        assert caught.value.reason == "unauthorised"


class Always(StandIn):
    """Says the same to whatever comes, but for `paths`."""

    def __init__(self, status: int, paths: dict[str, Said] | None = None) -> None:
        super().__init__()
        self.status = status
        self.paths = paths or {}

    def respond(self, asked: Asked) -> Said:
        return self.paths.get(asked.path, Said(b"x", self.status))


@pytest.mark.parametrize(
    ("status", "error", "asked"),
    [
        (404, BadInput, 3),
        (405, BadInput, 3),
        (200, BadInput, 3),
        (401, BadInput, 1),
        (500, SourceUnavailable, 3),
        (503, SourceUnavailable, 3),
        (429, SourceUnavailable, 1),
    ],
)
async def test_what_is_no_share_is_said(
    status: int, error: type[Exception], asked: int, tools: SourceTools
) -> None:
    with Always(status) as peer:
        with pytest.raises(error):
            await found_in(NextcloudSource(spec(peer.url("/s/abcdefgh")), tools))
        assert len(peer.asked) == asked


async def test_a_link_to_one_photo(tools: SourceTools) -> None:
    path = "/public.php/dav/files/abcdefgh"
    listing = (
        f'<multistatus xmlns="DAV:"><response><href>{path}</href><propstat><prop><resourcetype/>'
        '<getetag>"1"</getetag><getcontentlength>633</getcontentlength></prop>'
        "<status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"
    )
    said = {f"{path}/": Said(listing.encode(), 207), path: Said(jpeg(9), headers={"ETag": '"1"'})}
    with Always(404, said) as peer:
        link = peer.url("/s/abcdefgh")
        source = NextcloudSource(spec(link), tools)
        (entry,) = await found_in(source)
        assert (entry.key, entry.version, entry.size) == (link, '"1"', 633)
        assert await bytes_of(source, entry) == jpeg(9)


async def test_photos_of_another_share_are_not_asked_for(tools: SourceTools) -> None:
    with ExitStack() as held:
        server = held.enter_context(Always(207))
        listing = Said(b'<multistatus xmlns="DAV:"/>', 207)
        server.paths = {"/public.php/dav/files/abcdefgh/": listing}
        source = NextcloudSource(spec(server.url("/s/abcdefgh")), tools)
        for uri in ("/s/abcdefghi/a.jpg", "/s/abcdefgh/../x/a.jpg", "/a.jpg"):
            with pytest.raises(ForbiddenAddress):
                await bytes_of(source, Locator("k", server.url(uri)))
        assert len(server.asked) == 1


async def test_a_private_server_is_not_connected_to() -> None:
    async with Fetcher(AddressPolicy()) as fetcher:
        with Listener() as forbidden:
            link = f"http://127.0.0.1:{forbidden.port}/s/abcdefgh"
            with pytest.raises(BadInput, match="CLAIR_ALLOWED_CIDRS"):
                await found_in(NextcloudSource(spec(link), SourceTools(fetcher)))
            assert forbidden.accepted == 0


SERVER = "https://cloud.example.org"


@pytest.mark.parametrize(
    ("uri", "server", "path"),
    [
        (f"{SERVER}/s/Kx7TqWZ3mPdN2Ls", SERVER, ""),
        (f"{SERVER}/index.php/s/Kx7TqWZ3mPdN2Ls/", SERVER, ""),
        (f"{SERVER}/nc/index.php/s/Kx7TqWZ3mPdN2Ls", f"{SERVER}/nc", ""),
        (f"{SERVER}/a/b/s/Kx7TqWZ3mPdN2Ls?path=%2FA%20b", f"{SERVER}/a/b", "/A%20b"),
        (f"{SERVER}/s/Kx7TqWZ3mPdN2Ls?dir=/%25&openfile=true", SERVER, "/%25"),
        (f"{SERVER}/s/Kx7TqWZ3mPdN2Ls/authenticate/showShare", SERVER, ""),
        (f"{SERVER}/s/Kx7TqWZ3mPdN2Ls/download", SERVER, ""),
        ("HTTPS://Cloud.Example.org:443/s/Kx7TqWZ3mPdN2Ls", SERVER, ""),
    ],
)
def test_links_are_recognised(uri: str, server: str, path: str) -> None:
    assert recognise(uri)[0] == "nextcloud"
    token = "Kx7TqWZ3mPdN2Ls"
    assert _parsed(uri) == (f"{server}/s/{token}", server, token, path)


@pytest.mark.parametrize(
    "uri",
    [
        f"{SERVER}/s/list.txt", f"{SERVER}/s/abc", f"{SERVER}/s/", f"{SERVER}/x/Kx7TqWZ3mPdN2Ls",
        f"{SERVER}/s/Kx7TqWZ3mPdN2Ls/a.csv", "https://www.dropbox.com/s/abcdefgh",
        "https://dropbox.com/s/abcdefgh", "/s/Kx7TqWZ3mPdN2Ls",
    ],
)  # fmt: skip
def test_other_addresses_are_not_taken_for_links(uri: str, tools: SourceTools) -> None:
    assert KINDS["nextcloud"].recognise(uri) is None
    with pytest.raises(BadInput):
        NextcloudSource(spec(uri), tools)


@pytest.mark.parametrize("path", ["/../x", "/a/../../x", "/%2e%2e/x"])
async def test_a_path_that_climbs_is_refused(path: str, tools: SourceTools) -> None:
    with Always(207) as peer:
        with pytest.raises(BadInput):
            await found_in(NextcloudSource(spec(peer.url(f"/s/abcdefgh?path={path}")), tools))
        assert peer.asked == []
