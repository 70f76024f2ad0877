"""Sitemaps: indexes, images, compression, and what breaks them."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import BadInput, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.sources.addresses import AddressPolicy
from app.sources.documents import MAX_SITEMAP_BYTES
from app.sources.gallery import GallerySource
from app.sources.http import Fetcher, FetchLimits
from app.sources.sitemap import MOST_ENTRIES, SitemapEntry, entries_of
from tests.origin import LOOPBACK, Answer, Listener, Origin

SPACES = (
    'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
    'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"'
)
HTML = {"Content-Type": "text/html"}


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(AddressPolicy(LOOPBACK), FetchLimits(attempts=1)) as fetcher:
        yield fetcher


def urlset(*pages: tuple[str, list[str]]) -> bytes:
    urls = "".join(
        f"<url><loc>{page}</loc><lastmod>2026-06-01</lastmod>"
        + "".join(f"<image:image><image:loc>{i}</image:loc></image:image>" for i in images)
        + "</url>"
        for page, images in pages
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset {SPACES}>{urls}</urlset>'.encode()


def index(*sitemaps: str) -> bytes:
    listed = "".join(f"<sitemap><loc>{each}</loc></sitemap>" for each in sitemaps)
    return f'<?xml version="1.0"?><sitemapindex {SPACES}>{listed}</sitemapindex>'.encode()


def xml(body: bytes) -> Answer:
    return Answer(body, headers={"Content-Type": "application/xml"})


async def entries(body: bytes) -> list[SitemapEntry]:
    return [entry async for entry in entries_of("https://h/sitemap.xml", body)]


async def found_at(url: str, fetcher: Fetcher, pages: int = 5) -> list[Locator | BadEntry]:
    return [entry async for entry in GallerySource(url, fetcher, pages=pages).discover()]


def paths(found: list[Locator | BadEntry]) -> list[str]:
    assert all(isinstance(entry, Locator) for entry in found), found
    return ["/" + entry.uri.split("/", 3)[3] for entry in found]


async def test_images_have_their_titles() -> None:
    body = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
    <!-- made by hand --><urlset {SPACES}>
      <url><loc> https://h/a?x=1&amp;y=2 </loc>
        <image:image><image:loc>https://h/1.jpg</image:loc><image:caption>The caf\xe9</image:caption>
          <image:title>Caf\xe9</image:title></image:image>
        <image:image><image:loc>https://h/2.jpg</image:loc><image:caption>Only &lt;b&gt;this&lt;/b&gt;
          </image:caption><image:license>https://l/</image:license></image:image>
        <image:image><image:title>No address</image:title></image:image>
      </url></urlset>""".encode("latin-1")
    (entry,) = await entries(body)
    assert entry.address == "https://h/a?x=1&y=2"
    assert [(each.address, each.title) for each in entry.images] == [
        ("https://h/1.jpg", "Café"), ("https://h/2.jpg", "Only this"),
    ]  # fmt: skip


async def test_other_extensions_are_read_over() -> None:
    video = 'xmlns:video="http://www.google.com/schemas/sitemap-video/1.1"'
    body = f"""<urlset {SPACES} {video}><url><loc>https://h/a</loc><video:video>
      <video:content_loc>https://h/v.mp4</video:content_loc><video:title>V</video:title></video:video>
      </url></urlset>""".encode()
    assert await entries(body) == [SitemapEntry("https://h/a")]


async def test_without_a_namespace_too() -> None:
    (entry,) = await entries(b"<urlset><url><loc>https://h/a</loc></url></urlset>")
    assert entry.address == "https://h/a"


@pytest.mark.parametrize(
    "body",
    [
        b"<urlset", b"", b"no xml", b"<urlset></url>", b"<urlset><url><loc>&nbsp;</loc></url></urlset>",
        b'<!DOCTYPE u [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><urlset><url><loc>&b;</loc></url></urlset>',
        b'<!DOCTYPE u [<!ENTITY x SYSTEM "file:///etc/passwd">]><urlset><url><loc>&x;</loc></url></urlset>',
        b'<!DOCTYPE urlset [<!ATTLIST url a CDATA "x">]><urlset><url/></urlset>',
        b'<!DOCTYPE u SYSTEM "http://127.0.0.1/x.dtd"><urlset/>',
        b'<?xml version="1.0" encoding="no-such"?><urlset/>', b"<urlset>\x00</urlset>",
    ],
)  # fmt: skip
async def test_what_is_broken_or_hostile_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput, match="no valid XML"):
        await entries(body)


async def test_a_file_has_at_most_as_many_entries_as_the_protocol_allows() -> None:
    body = b"<urlset>" + b"<url><loc>a</loc></url>" * (MOST_ENTRIES + 10) + b"</urlset>"
    assert len(await entries(body)) == MOST_ENTRIES


@given(st.lists(st.sampled_from(["<url>", "</url>", "<loc>", "</loc>", "<sitemap>", "</sitemap>",
                                 "<image:image>", "</image:image>", "<image:loc>", "</image:loc>",
                                 "<image:title>", "</image:title>", "x", "&amp;", "<![CDATA[y]]>"]),
                max_size=30))  # fmt: skip
@settings(deadline=None)
async def test_any_order_of_elements_is_entries_or_a_refusal(parts: list[str]) -> None:
    try:
        found = await entries(f"<urlset {SPACES}>{''.join(parts)}</urlset>".encode())
    except BadInput:
        return
    assert all(image.address for entry in found for image in entry.images)


@given(st.binary(max_size=200))
async def test_any_bytes_are_entries_or_a_refusal(body: bytes) -> None:
    try:
        await entries(body)
    except BadInput:
        return


async def test_an_index_leads_to_all_images(fetcher: Fetcher) -> None:
    with Origin() as origin:
        origin.answers |= {
            "/sitemap_index.xml": xml(
                index("/a.xml", origin.url("/b.xml.gz"), "/a.xml", "https://elsewhere.example/c.xml",
                      "/sitemap_index.xml", "/missing.xml", "/broken.xml", "/page.html")
            ),
            "/a.xml": xml(urlset(("/p", ["/1.jpg", "/2.jpg"]), ("/q", ["/2.jpg"]))),
            "/b.xml.gz": Answer(gzip.compress(urlset(("/r", ["/3.jpg?v=1", "ftp://h/x.jpg"]))),
                                headers={"Content-Type": "application/x-gzip"}),
            "/broken.xml": xml(b"<urlset><url>"),
            "/page.html": Answer(b"<html>", headers=HTML),
        }  # fmt: skip
        found = await found_at(origin.url("/sitemap_index.xml"), fetcher)
        photos = [entry for entry in found if isinstance(entry, Locator)]
        assert paths(photos) == ["/1.jpg", "/2.jpg", "/3.jpg?v=1"]
        assert photos[2].key == origin.url("/3.jpg")
        reasons = {entry.uri: entry.reason for entry in found if isinstance(entry, BadEntry)}
        assert reasons == {
            "ftp://h/x.jpg": "bad-address", origin.url("/missing.xml"): "not-found",
            origin.url("/broken.xml"): "bad-sitemap", origin.url("/page.html"): "bad-sitemap",
        }  # fmt: skip
        assert origin.requests["/a.xml"] == 1


async def test_without_images_its_pages_are_read(fetcher: Fetcher) -> None:
    with Origin() as origin:
        pages = [("/one", []), ("/two", []), ("https://elsewhere.example/x", []), ("/gone", [])]
        origin.answers |= {
            "/sitemap.xml": xml(urlset(*pages)),  # type: ignore[arg-type]
            "/one": Answer(b"<img src=/1.jpg><img src=/both.jpg>", headers=HTML),
            "/two": Answer(b"<img src=/both.jpg><a href=/2.jpg>x</a>", headers=HTML),
        }
        found = await found_at(origin.url("/sitemap.xml"), fetcher)
        assert paths(found[:3]) == ["/1.jpg", "/both.jpg", "/2.jpg"]
        (gone,) = found[3:]
        assert isinstance(gone, BadEntry)
        assert gone.reason == "not-found"


async def test_the_pages_it_lists_are_bounded_and_the_rest_is_said(fetcher: Fetcher) -> None:
    with Origin() as origin:
        pages = [(f"/{n}", []) for n in range(20)]
        origin.answers["/sitemap.xml"] = xml(urlset(*pages))  # type: ignore[arg-type]
        for number in range(20):
            origin.answers[f"/{number}"] = Answer(b"<img src=/%d.jpg>" % number, headers=HTML)
        found = await found_at(origin.url("/sitemap.xml"), fetcher, pages=7)
        assert len(found) == 8
        last = found[-1]
        assert isinstance(last, BadEntry)
        assert last.reason == "page-limit"


async def test_a_compression_bomb_is_refused(fetcher: Fetcher) -> None:
    bomb = gzip.compress(b"<urlset>" + b" " * (MAX_SITEMAP_BYTES + 1))
    with (
        Origin({"/sitemap.xml.gz": Answer(bomb)}) as origin,
        pytest.raises(BadInput, match="larger than"),
    ):
        await found_at(origin.url("/sitemap.xml.gz"), fetcher)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(status=404), BadInput), (Answer(status=503), SourceUnavailable),
        (xml(b"<urlset>"), BadInput), (xml(urlset()), BadInput), (xml(index()), BadInput),
        (xml(b"<rss version='2.0'></rss>"), BadInput), (Answer(b"\x1f\x8bbroken"), BadInput),
    ],
)  # fmt: skip
async def test_a_sitemap_that_cannot_be_had(
    answer: Answer, error: type[Exception], fetcher: Fetcher
) -> None:
    with Origin({"/sitemap.xml": answer}) as origin, pytest.raises(error):
        await found_at(origin.url("/sitemap.xml"), fetcher)


async def test_a_failing_part_fails_the_discovery(fetcher: Fetcher) -> None:
    """Photos that it names would be taken for vanished otherwise."""
    with Origin() as origin:
        origin.answers |= {
            "/s.xml": xml(index("/a.xml", "/b.xml")),
            "/a.xml": xml(urlset(("/p", ["/1.jpg"]))),
            "/b.xml": Answer(status=503),
        }
        with pytest.raises(SourceUnavailable):
            await found_at(origin.url("/s.xml"), fetcher)


async def test_a_front_page_without_photos_asks_robots_txt_for_sitemaps(fetcher: Fetcher) -> None:
    with Origin() as origin:
        origin.answers |= {
            "/": Answer(b"<h1>Welcome</h1>", headers=HTML),
            "/robots.txt": Answer(f"Sitemap: {origin.url('/deep/map.xml')}\n".encode()),
            "/deep/map.xml": xml(urlset(("/p", ["1.jpg"]))),
        }
        assert paths(await found_at(origin.url("/"), fetcher)) == ["/deep/1.jpg"]
        origin.answers["/about"] = Answer(b"<h1>About</h1>", headers=HTML)
        with pytest.raises(BadInput, match="No photos"):
            await found_at(origin.url("/about"), fetcher)


async def test_forbidden_addresses_make_no_connection() -> None:
    with Listener("127.0.0.2") as listener, Origin() as origin:
        closed = f"http://127.0.0.2:{listener.port}"
        origin.answers["/s.xml"] = xml(urlset(("/p", [f"{closed}/1.jpg", "/2.jpg"])))
        origin.answers["/i.xml"] = xml(index(f"{closed}/s.xml", "/s.xml"))
        async with Fetcher(AddressPolicy([ip_network("127.0.0.1/32")])) as fetcher:
            found = await found_at(origin.url("/i.xml"), fetcher)
        assert [getattr(entry, "reason", "photo") for entry in found] == [
            "forbidden-address", "photo",
        ]  # fmt: skip
        assert listener.accepted == 0
