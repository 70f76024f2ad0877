"""Web galleries over a real server: paging, pages of single photos, signatures, robots, delegation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from itertools import count

import pytest

from app.core.errors import BadInput, NotModified, PhotoRejected, SourceUnavailable
from app.core.failures import CURES
from app.core.photos import BadEntry, Locator
from app.core.sources import SourceSpec, pairs
from app.sources.addresses import AddressPolicy
from app.sources.documents import MAX_PAGE_BYTES
from app.sources.gallery import GALLERY, GallerySource
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from app.sources.memory import read_photo
from app.sources.open import kind_of, recognise
from tests.contracts.places import jpeg
from tests.contracts.places.iiif import manifest_3
from tests.origin import LOOPBACK, Answer, Listener, Origin, redirect

HTML = {"Content-Type": "text/html; charset=utf-8"}
Found = list[Locator | BadEntry]


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(AddressPolicy(LOOPBACK), FetchLimits(attempts=1)) as fetcher:
        yield fetcher


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


def page(body: str, **headers: str) -> Answer:
    return Answer(f"<!doctype html>{body}".encode(), headers={**HTML, **headers})


async def found_in(source: GallerySource) -> Found:
    return [entry async for entry in source.discover()]


async def found_at(url: str, fetcher: Fetcher) -> Found:
    return await found_in(GallerySource(url, fetcher))


def paths(found: Found) -> list[str]:
    assert all(isinstance(entry, Locator) for entry in found), found
    return ["/" + entry.uri.split("/", 3)[3] for entry in found]


def reasons(found: Found) -> dict[str, str]:
    return {
        "/" + entry.uri.split("/", 3)[3]: entry.reason
        for entry in found
        if isinstance(entry, BadEntry)
    }


def photo(origin: Origin, path: str, data: bytes = b"photo", **headers: str) -> None:
    origin.answers[path] = Answer(data, headers={"ETag": '"1"', **headers})


async def test_pages_are_followed_once_each_and_loops_end(origin: Origin, fetcher: Fetcher) -> None:
    for number in (1, 2, 3):
        origin.answers["/g" if number == 1 else f"/g?page={number}"] = page(
            f"<img src=/{number}.jpg><img src=/all.jpg>"
            f'<a rel=next href="/g?page={number % 3 + 1}">next</a>'
        )
    # The third page leads to “page 1”, which the first didn't call itself.
    origin.answers["/g?page=1"] = page("<img src=/1.jpg><a rel=next href='/g?page=2'>next</a>")
    assert paths(await found_at(origin.url("/g"), fetcher)) == [
        "/1.jpg", "/all.jpg", "/2.jpg", "/3.jpg",
    ]  # fmt: skip
    assert origin.requests["/g"] == 4


async def test_the_link_header_and_the_text_of_links_lead_on(
    origin: Origin, fetcher: Fetcher
) -> None:
    origin.answers |= {
        "/g/": page("<img src=/1.jpg>", Link='</style.css>; rel="preload", <p2>; rel="next"'),
        "/g/p2": page("<img src=/2.jpg><nav><a href=/g/p3>Weiter</a></nav>"),
        "/g/p3": page("<img src=/3.jpg><a href=/g/p4>4</a>"),
    }
    assert paths(await found_at(origin.url("/g/"), fetcher)) == ["/1.jpg", "/2.jpg", "/3.jpg"]


async def test_pages_never_leave_the_host_but_photos_may(origin: Origin, fetcher: Fetcher) -> None:
    with Origin() as cdn:
        origin.answers |= {
            "/g": page(
                f"<a href='{cdn.url('/a.jpg')}'><img src=/t.jpg></a>"
                f"<a href='{cdn.url('/g/p')}'><img src=/b.jpg></a>"
                f"<a rel=next href='{cdn.url('/g?page=2')}'>next</a>"
                "<a href='/away'><img src=/c.jpg></a>"
            ),
            "/away": redirect(cdn.url("/page")),
            "/paged": page("<img src=/d.jpg><a rel=next href='/paged?page=2'>next</a>"),
            "/paged?page=2": redirect(cdn.url("/page")),
        }
        cdn.answers["/page"] = page("<img src=/other.jpg>")
        found = await found_at(origin.url("/g"), fetcher)
        assert [entry.uri for entry in found] == [
            cdn.url("/a.jpg"), origin.url("/b.jpg"), origin.url("/c.jpg"),
        ]  # fmt: skip
        assert set(cdn.requests) == {"/robots.txt", "/page"}
        assert paths(await found_at(origin.url("/paged"), fetcher)) == ["/d.jpg"]


async def test_paging_without_end_is_bounded_and_said(origin: Origin, fetcher: Fetcher) -> None:
    pages = count()

    def respond(_: object) -> Answer:
        n = next(pages)
        return page(f"<img src=/{n}.jpg><a rel=next href='/g?page={n + 2}'>next</a>")

    origin.answers["/g"] = respond
    found = await found_in(GallerySource(origin.url("/g"), fetcher, pages=9))
    assert len(found) == 11
    assert reasons(found) == {"/g?page=11": "page-limit"}


async def test_paging_that_shows_nothing_new_ends(origin: Origin, fetcher: Fetcher) -> None:
    pages = count(2)
    origin.answers["/g"] = lambda _: page(
        f"<img src=/same.jpg><a rel=next href='/g?cursor={next(pages)}'>next</a>"
    )
    assert paths(await found_at(origin.url("/g"), fetcher)) == ["/same.jpg"]
    assert origin.requests["/g"] == 4


@pytest.mark.parametrize(("status", "reason"), [(404, "not-found"), (403, "forbidden")])
async def test_a_page_that_is_refused_is_said_and_ends_the_paging(
    status: int, reason: str, origin: Origin, fetcher: Fetcher
) -> None:
    origin.answers |= {
        "/g": page("<img src=/1.jpg><a rel=next href='/g?page=2'>next</a>"),
        "/g?page=2": Answer(status=status),
    }
    found = await found_at(origin.url("/g"), fetcher)
    assert paths(found[:1]) == ["/1.jpg"]
    assert reasons(found) == {"/g?page=2": reason}


async def test_a_page_that_fails_now_fails_the_discovery(origin: Origin, fetcher: Fetcher) -> None:
    """What stands on it would be taken for vanished otherwise."""
    origin.answers |= {
        "/g": page("<img src=/1.jpg><a rel=next href='/g?page=2'>next</a>"),
        "/g?page=2": Answer(status=503, headers={"Retry-After": "7"}),
    }
    with pytest.raises(SourceUnavailable) as caught:
        await found_at(origin.url("/g"), fetcher)
    assert caught.value.after == 7


async def test_pages_of_single_photos_give_the_largest(origin: Origin, fetcher: Fetcher) -> None:
    thumbs = {
        "by-name": "DSC_1_thumb", "only-one": "t2", "stated": "t3", "shared": "t4", "file": "t5",
        "many": "t6", "gone": "t7", "script": "t8",
    }  # fmt: skip
    origin.answers |= {
        "/g/": page(
            "".join(
                f'<a href="/g/{p}"><img src="/{t}.jpg" alt="{p}"></a>' for p, t in thumbs.items()
            )
            + '<a href="/g/by-name"><img src="/s/DSC_1-S.jpg"></a>'
            + '<a href="/g/large"><img srcset="/l.jpg 2400w" src="/s.jpg"></a>'
        ),
        "/g/by-name": page(
            "<a href=/orig/DSC_1.jpg download>Original</a><img src=/m/DSC_1-L.jpg>"
            "<a href=/g/only-one><img src=/t2.jpg></a><a rel=next href=/g/only-one>next</a>"
        ),
        "/g/only-one": page("<img src=/full/two.jpg><img src=/logo.png>"),
        "/g/stated": page(
            '<script type="application/ld+json">{"@type":"ImageObject","contentUrl":"/full/3.jpg"}'
            "</script><img src=/x.jpg><img src=/y.jpg>"
        ),
        "/g/shared": page("<meta property=og:image content=/full/4.jpg><div id=app></div>"),
        "/g/file": Answer(jpeg(9), headers={"Content-Type": "image/jpeg"}),
        "/g/many": page("<img src=/u.jpg><img src=/v.jpg>"),
        "/g/gone": Answer(status=410),
        "/g/script": page("<div id=app></div>"),
    }
    found = await found_at(origin.url("/g/"), fetcher)
    assert paths(found) == [
        "/orig/DSC_1.jpg", "/full/two.jpg", "/full/3.jpg", "/full/4.jpg", "/g/file", "/t6.jpg",
        "/t7.jpg", "/t8.jpg", "/l.jpg",
    ]  # fmt: skip
    assert [entry.title for entry in found if isinstance(entry, Locator)][:2] == [
        "by-name", "only-one",
    ]  # fmt: skip
    assert origin.requests["/g/by-name"] == origin.requests["/g/only-one"] == 1
    assert not origin.requests["/g/large"]


async def test_thumbnails_that_lead_elsewhere_are_photos_themselves(
    origin: Origin, fetcher: Fetcher
) -> None:
    """A page that several share is not the page of one of them."""
    origin.answers |= {
        "/g/": page(
            "".join(f"<a href=/g/slideshow><img src=/{n}.jpg></a>" for n in range(5))
            + "<a href=/g/two><img src=/x.jpg></a><a href=/g/two><img src=/y.jpg></a>"
        ),
        "/g/slideshow": page("<img src=/cover.jpg>"),
        "/g/two": page("<img src=/x-large.jpg>"),
    }
    assert paths(await found_at(origin.url("/g/"), fetcher)) == [
        "/0.jpg", "/1.jpg", "/2.jpg", "/3.jpg", "/4.jpg", "/x-large.jpg", "/y.jpg",
    ]  # fmt: skip


async def test_a_neighbour_on_a_photos_page_is_not_taken_for_it(
    origin: Origin, fetcher: Fetcher
) -> None:
    origin.answers |= {
        "/g/": page('<a href="/g/77"><img src="/p/77/thumb.jpg"></a>'),
        "/g/77": page(
            '<img src="/p/78/thumb.jpg"><img src="/p/77/large.jpg"><img src="/p/76/thumb.jpg">'
        ),
    }
    assert paths(await found_at(origin.url("/g/"), fetcher)) == ["/p/77/large.jpg"]


async def test_one_level_down_and_no_further(origin: Origin, fetcher: Fetcher) -> None:
    origin.answers |= {
        "/g/": page('<a href="/g/a"><img src="/a1.jpg"></a>'),
        "/g/a": page('<a href="/g/a/b"><img src="/a2.jpg"></a>'),
        "/g/a/b": page('<img src="/a3.jpg">'),
    }
    assert paths(await found_at(origin.url("/g/"), fetcher)) == ["/a2.jpg"]
    assert not origin.requests["/g/a/b"]


async def test_what_a_page_shares_counts_where_it_shows_nothing(
    origin: Origin, fetcher: Fetcher
) -> None:
    origin.answers["/p"] = page("<meta property=og:image content=/big.jpg><div id=app></div>")
    assert paths(await found_at(origin.url("/p"), fetcher)) == ["/big.jpg"]


async def test_signed_addresses_are_taken_from_the_page_anew(
    origin: Origin, fetcher: Fetcher
) -> None:
    """The signature is good for a single second visit: an old one is refused."""
    now = {"signature": "a"}
    data = jpeg(50)

    def show(_: object) -> Answer:
        query = f"size=l&amp;Expires=1900000000&amp;Signature={now['signature']}&amp;Key-Pair-Id=K"
        return page(f'<img src="/p/one two.jpg?{query}"><img src="/p/2.jpg?{query}">')

    def serve(request) -> Answer:  # type: ignore[no-untyped-def]
        if request.query.get("Signature") != now["signature"]:
            return Answer(status=403)
        if request.headers.get("If-None-Match") == '"1"':
            return Answer(status=304)
        return Answer(data, headers={"ETag": '"1"'})

    origin.answers |= {"/client": show, "/p/one two.jpg": serve, "/p/2.jpg": serve}
    first, second = await found_at(origin.url("/client"), fetcher)
    assert first.key == origin.url("/p/one%20two.jpg?size=l")
    assert "Signature" not in first.uri
    assert first.uri.startswith(origin.url("/client#photo="))
    source = GallerySource(origin.url("/client"), fetcher)
    for signature in ("b", "c"):
        now["signature"] = signature
        for entry in (first, second):
            async with source.open(Locator(entry.key, entry.uri)) as stream:
                assert await read_photo(stream, 1_000_000) == data
    with pytest.raises(NotModified):
        async with source.open(Locator(first.key, first.uri), unless='"1"'):
            pass
    assert origin.requests["/client"] == 3  # the discovery, and once for each signature
    now["signature"] = "at once"

    async def again(entry: Locator | BadEntry) -> None:
        async with source.open(Locator(entry.key, entry.uri)):
            pass

    await asyncio.gather(*(again(entry) for entry in (first, second) * 4))
    assert origin.requests["/client"] == 4
    now["signature"] = "d"
    origin.answers["/client"] = page("<p>Nothing here any more</p>")
    with pytest.raises(PhotoRejected) as caught:
        async with source.open(Locator(first.key, first.uri)):
            pass
    assert caught.value.reason == "not-found"


async def test_keys_do_not_change_with_signatures_and_counters(
    origin: Origin, fetcher: Fetcher
) -> None:
    visits = count()
    origin.answers["/g"] = lambda _: page(
        f"<img src='/a.jpg?v={next(visits)}'>"
        f"<img src='/b.jpg?X-Amz-Date=1&amp;X-Amz-Signature={next(visits)}'>"
        "<img src='/c?id=7'>"
    )
    first = await found_at(origin.url("/g"), fetcher)
    second = await found_at(origin.url("/g"), fetcher)
    assert [entry.uri for entry in first] != [entry.uri for entry in second]
    keys = [entry.key for entry in first]
    assert keys == [origin.url("/a.jpg"), origin.url("/b.jpg"), origin.url("/c?id=7")]
    assert [entry.key for entry in second] == keys


async def test_odd_names_survive(origin: Origin, fetcher: Fetcher) -> None:
    names = [
        "a b.jpg",
        "ü.jpg",
        "100%25.jpg",
        "1+1.jpg",
        "x%23y.jpg",
        "q%3F.jpg",
        "日本.jpg",
        "'.jpg",
    ]
    links = "".join(f'<a href="/o/{name}">x</a>' for name in names)
    origin.answers["/o/"] = page(links)
    for name in ("a b", "ü", "100%", "1+1", "x#y", "q?", "日本", "'"):
        photo(origin, f"/o/{name}.jpg", name.encode())
    source = GallerySource(origin.url("/o/"), fetcher)
    contents = []
    for entry in await found_in(source):
        assert isinstance(entry, Locator)
        assert entry.uri.isascii()
        async with source.open(Locator(entry.key, entry.uri)) as stream:
            contents.append((await read_photo(stream, 100)).decode())
    assert contents == ["a b", "ü", "100%", "1+1", "x#y", "q?", "日本", "'"]


async def test_robots_are_obeyed_for_pages_and_photos(origin: Origin, fetcher: Fetcher) -> None:
    origin.answers |= {
        "/robots.txt": Answer(b"User-agent: *\nDisallow: /closed/\nDisallow: /*page=3"),
        "/g": page(
            "<img src=/1.jpg><img src=/closed/2.jpg><a href=/closed/p><img src=/3.jpg></a>"
            "<a rel=next href='/g?page=2'>next</a>"
        ),
        "/g?page=2": page("<img src=/4.jpg><a rel=next href='/g?page=3'>next</a>"),
    }
    photo(origin, "/closed/2.jpg")
    found = await found_at(origin.url("/g"), fetcher)
    assert paths([entry for entry in found if isinstance(entry, Locator)]) == [
        "/1.jpg", "/3.jpg", "/4.jpg",
    ]  # fmt: skip
    assert reasons(found) == {"/closed/2.jpg": "robots", "/g?page=3": "robots"}
    with pytest.raises(PhotoRejected) as caught:
        async with GallerySource(origin.url("/g"), fetcher).open(
            Locator("k", origin.url("/closed/2.jpg"))
        ):
            pass
    assert caught.value.reason == "robots"
    assert not origin.requests["/closed/2.jpg"] + origin.requests["/closed/p"]
    origin.answers["/short"] = redirect("/closed/album")
    origin.answers["/closed/album"] = page("<img src=/5.jpg>")
    with pytest.raises(BadInput, match="robots"):
        await found_at(origin.url("/short"), fetcher)
    with pytest.raises(BadInput, match="robots") as refused:
        await found_at(origin.url("/closed/"), fetcher)
    assert "ignore" in refused.value.cure


async def test_robots_of_the_photos_own_host_count(origin: Origin, fetcher: Fetcher) -> None:
    with Origin() as cdn:
        cdn.answers["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /")
        photo(cdn, "/1.jpg")
        origin.answers["/g"] = page(f"<img src='{cdn.url('/1.jpg')}'><img src=/2.jpg>")
        found = await found_at(origin.url("/g"), fetcher)
        assert [getattr(entry, "reason", None) for entry in found] == ["robots", None]
        ignoring = GallerySource(origin.url("/g"), fetcher, obey_robots=False)
        first, _ = await found_in(ignoring)
        assert isinstance(first, Locator)
        async with ignoring.open(first) as stream:
            assert await read_photo(stream, 100) == b"photo"


async def test_robots_that_fail_stop_pages_but_leave_photos_to_be_tried(
    origin: Origin, fetcher: Fetcher
) -> None:
    with Origin() as cdn:
        cdn.answers["/robots.txt"] = Answer(status=500)
        origin.answers["/g"] = page(f"<img src='{cdn.url('/1.jpg')}'>")
        (entry,) = await found_at(origin.url("/g"), fetcher)
        assert isinstance(entry, Locator)
        with pytest.raises(SourceUnavailable):
            async with GallerySource(origin.url("/g"), fetcher).open(entry):
                pass
        with pytest.raises(SourceUnavailable):
            await found_at(cdn.url("/g"), fetcher)


@pytest.mark.parametrize(
    "answer",
    [
        page("<meta name=robots content='noindex, NoImageIndex'><img src=/1.jpg>"),
        page("<meta name=ClairVision content=noimageindex><img src=/1.jpg>"),
        page("<img src=/1.jpg>", **{"X-Robots-Tag": "clairvision: noimageindex"}),
        page("<img src=/1.jpg>", **{"X-Robots-Tag": "unavailable_after: 2030, noimageindex"}),
    ],
)
async def test_pages_may_ask_that_their_images_are_left_out(
    answer: Answer, origin: Origin, fetcher: Fetcher
) -> None:
    origin.answers |= {
        "/g": answer,
        "/ok": page("<img src=/0.jpg><a href='/ok?page=2'>next</a>"),
        "/ok?page=2": answer,
    }
    with pytest.raises(BadInput, match="noimageindex"):
        await found_at(origin.url("/g"), fetcher)
    found = await found_at(origin.url("/ok"), fetcher)
    assert paths(found[:1]) == ["/0.jpg"]
    assert reasons(found) == {"/ok?page=2": "robots"}
    ignoring = GallerySource(origin.url("/g"), fetcher, obey_robots=False)
    assert paths(await found_in(ignoring)) == ["/1.jpg"]


@pytest.mark.parametrize(
    "answer",
    [
        page("<meta name=robots content='noindex, nofollow'><img src=/1.jpg>"),
        page("<meta name=otherbot content=noimageindex><img src=/1.jpg>"),
        page("<img src=/1.jpg>", **{"X-Robots-Tag": "otherbot: noimageindex, nofollow"}),
    ],
)
async def test_what_only_keeps_a_page_out_of_search_engines_is_no_refusal(
    answer: Answer, origin: Origin, fetcher: Fetcher
) -> None:
    """Photographers keep their clients' galleries out of search engines; that is not about us."""
    origin.answers["/g"] = answer
    assert paths(await found_at(origin.url("/g"), fetcher)) == ["/1.jpg"]


async def test_whatever_answers_is_taken_for_what_it_is(origin: Origin, fetcher: Fetcher) -> None:
    manifest = json.dumps(manifest_3(origin.url(""), [origin.url("/iiif/1")])).encode()
    origin.answers |= {
        "/csv": Answer(b"url,title\na.jpg,A\n", headers={"Content-Type": "text/csv"}),
        "/text": Answer(b"/a.jpg\n", headers={"Content-Type": "text/plain"}),
        "/json": Answer(b'["/a.jpg"]', headers={"Content-Type": "application/json"}),
        "/mislabelled": Answer(b"/a.jpg\n/b.jpg", headers=HTML),
        "/iiif": Answer(manifest, headers={"Content-Type": "application/ld+json"}),
        "/bare": Answer(b"<img src=/a.jpg>"),
        "/xhtml": Answer(b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><body>"
                         b"<img src='/a.jpg'/></body></html>",
                         headers={"Content-Type": "application/xhtml+xml"}),
        "/utf16": Answer("<html><img src='/a.jpg'>".encode("utf-16"), headers=HTML),
    }  # fmt: skip
    for path, expected in {
        "/csv": "/a.jpg", "/text": "/a.jpg", "/json": "/a.jpg", "/bare": "/a.jpg",
        "/xhtml": "/a.jpg", "/utf16": "/a.jpg", "/iiif": "/iiif/1/full/max/0/default.jpg",
        "/mislabelled": "/a.jpg",
    }.items():  # fmt: skip
        found = await found_at(origin.url(path), fetcher)
        assert paths(found)[0].partition("#")[0] == expected, path


async def test_iiif_pictures_found_this_way_come_in_the_size_needed(
    origin: Origin, fetcher: Fetcher
) -> None:
    document = manifest_3(origin.url(""), [origin.url("/iiif/1")])
    body = document["items"][0]["items"][0]["items"][0]["body"]
    body |= {"width": 4000, "height": 3000}
    origin.answers |= {
        "/m": Answer(json.dumps(document).encode()),
        "/iiif/1/full/1024,/0/default.jpg": Answer(b"small", headers={"ETag": '"s"'}),
    }
    (entry,) = await found_at(origin.url("/m"), fetcher)
    source = GallerySource(origin.url("/m"), fetcher)
    async with source.open(Locator(entry.key, entry.uri), long_side=1024) as stream:
        assert await read_photo(stream, 100) == b"small"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(jpeg(1), headers={"Content-Type": "image/jpeg"}), "one photo"),
        (Answer(jpeg(1)), "one photo"),
        (Answer(b"%PDF-1.7 ...", headers={"Content-Type": "application/pdf"}), "neither a page"),
        (Answer(b"<?xml version='1.0'?><rss/>", headers={"Content-Type": "text/xml"}), "neither a page"),
        (Answer(b"\x00\x01\x02"), "neither a page"),
        (page("<h1>Soon</h1>"), "No photos"),
        (page("<div id=root></div><script src=/app.js></script>"), "No photos"),
        (Answer(status=404), "can't be read"),
        (Answer(status=401), "can't be read"),
        (Answer(b"<html>" + b" " * MAX_PAGE_BYTES, headers=HTML), "larger than"),
        (Answer(b"<html>", headers={**HTML, "Content-Encoding": "compress"}), "compress"),
    ],
)  # fmt: skip
async def test_what_is_no_gallery_is_said(
    answer: Answer, says: str, origin: Origin, fetcher: Fetcher
) -> None:
    origin.answers["/g"] = answer
    with pytest.raises(BadInput, match=says):
        await found_at(origin.url("/g"), fetcher)


async def test_one_photo_is_not_downloaded_to_say_so(origin: Origin, fetcher: Fetcher) -> None:
    origin.answers["/g"] = Answer(
        b"\xff\xd8\xff", headers={"Content-Type": "image/jpeg"}, announced=150_000_000
    )
    with pytest.raises(BadInput, match="one photo"):
        await found_at(origin.url("/g"), fetcher)


async def test_forbidden_addresses_make_no_connection() -> None:
    with Listener("127.0.0.2") as listener, Origin() as origin:
        closed = f"http://127.0.0.2:{listener.port}"
        origin.answers |= {
            "/g": page(
                f"<img src='{closed}/1.jpg'><a href='{closed}/2.jpg'><img src=/t.jpg></a>"
                "<img src='http://169.254.169.254/latest/meta-data/x.jpg'>"
                f"<a href='/hop'><img src='/3.jpg'></a><a rel=next href='{closed}/g?page=2'>n</a>"
                "<a rel=next href='/g?page=2'>n</a>"
            ),
            "/hop": redirect(f"{closed}/p"),
            "/g?page=2": redirect(f"{closed}/g"),
        }
        policy = AddressPolicy([ip_network("127.0.0.1/32")])
        async with Fetcher(policy, FetchLimits(attempts=1)) as fetcher:
            found = await found_at(origin.url("/g"), fetcher)
            assert [getattr(entry, "reason", "photo") for entry in found] == [
                "forbidden-address", "forbidden-address", "forbidden-address", "photo",
                "forbidden-address",
            ]  # fmt: skip
            source = GallerySource(origin.url("/g"), fetcher)
            for uri in (f"{closed}/1.jpg", f"{closed}/g#photo=x"):
                with pytest.raises(PhotoRejected):
                    async with source.open(Locator("k", uri)):
                        pass
        assert listener.accepted == 0


async def test_photos_are_asked_for_as_from_the_gallerys_site(
    origin: Origin, fetcher: Fetcher
) -> None:
    photo(origin, "/1.jpg")
    source = GallerySource(origin.url("/private/page?secret=1"), fetcher)
    async with source.open(Locator("k", origin.url("/1.jpg"))):
        pass
    path, headers = origin.seen[-1]
    assert path == "/1.jpg"
    assert headers["Referer"] == origin.url("/")


async def test_a_large_gallery_streams(origin: Origin, fetcher: Fetcher) -> None:
    """3,000 photos on ten pages; the first are there before the second page is asked for."""
    for number in range(1, 11):
        thumbs = "".join(
            f'<a href="/p/{number}-{n}.jpg"><img src="/t/{number}-{n}.jpg" alt="{n}"></a>'
            for n in range(300)
        )
        address = "/g" if number == 1 else f"/g?page={number}"
        following = f'<a rel=next href="/g?page={number + 1}">Next</a>' if number < 10 else ""
        origin.answers[address] = page(thumbs + following)
    stream = GallerySource(origin.url("/g"), fetcher).discover()
    first = await anext(stream)
    assert origin.requests["/g"] == 1
    keys = {first.key, *[entry.key async for entry in stream]}
    assert len(keys) == 3_000


def spec(uri: str, **options: str) -> SourceSpec:
    return SourceSpec("gallery", uri, pairs(options))


async def test_options(origin: Origin, fetcher: Fetcher) -> None:
    origin.answers |= {
        "/robots.txt": Answer(b"User-agent: *\nDisallow: /"),
        "/g": page("<img src=/1.jpg><a rel=next href='/g?page=2'>next</a>"),
        "/g?page=2": page("<img src=/2.jpg>"),
    }
    tools = SourceTools(fetcher)
    for options, expected in (
        ({"robots": "ignore"}, ["/1.jpg", "/2.jpg"]),
        ({"robots": "ignore", "pages": "1"}, ["/1.jpg", "/g?page=2"]),
    ):
        source = kind_of("gallery").build(spec(origin.url("/g"), **options), tools)
        assert ["/" + entry.uri.split("/", 3)[3] async for entry in source.discover()] == expected
    for wrong in ({"pages": "many"}, {"pages": "-1"}, {"pages": "²"}):
        with pytest.raises(BadInput, match="number of pages"):
            GALLERY.build(spec("https://h/", **wrong), tools)
    for wrong in ({"robots": "maybe"}, {"depth": "3"}):
        with pytest.raises(BadInput):
            GALLERY.check(spec("https://h/", **wrong))


@pytest.mark.parametrize(
    ("uri", "kind", "says"),
    [
        ("https://h.com/photos", "gallery", "page"), ("https://h.com", "gallery", "page"),
        ("https://h.com/g/?list=x.csv", "gallery", "page"), ("HTTPS://H.com/a.html", "gallery", "page"),
        ("https://h.com/sitemap.xml", "gallery", "sitemap"),
        ("https://h.com/wp-sitemap-posts-1.xml.gz", "gallery", "sitemap"),
        ("https://h.com/list.csv?token=1", "list", "list"), ("https://h.com/a.JSON", "list", "list"),
        ("https://h.com/a.ndjson#x", "list", "list"), ("https://h.com/x/manifest.json", "iiif", "IIIF"),
        ("https://h.com/iiif/2/abc/manifest", "iiif", "IIIF"),
        ("https://iiif.h.com/collection/top", "iiif", "IIIF"),
        ("https://h.com/presentation/iiif/abc.json", "iiif", "IIIF"), ("https://[bad", "gallery", "page"),
    ],
)  # fmt: skip
def test_recognition(uri: str, kind: str, says: str) -> None:
    found, sentence = recognise(uri)
    assert found == kind
    assert says in sentence


def test_every_reason_of_these_sources_has_a_cure() -> None:
    assert {"robots", "page-limit", "bad-sitemap", "bad-manifest"} <= set(CURES)
