"""Pages as site builders make them, and as nobody should: what is found on them, and how fast."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sources.markup import MOST_ATTRIBUTES, Tag, decoded, tokens
from app.sources.pages import MOST_PICTURES, Page, read_page
from app.sources.paging import NextLinks, is_detail
from app.sources.renditions import bare_name, candidates, stable_key, stem
from app.sources.structured import of_json_ld

GALLERIES = Path(__file__).parent / "galleries"


def read(name: str, url: str) -> Page:
    return read_page((GALLERIES / f"{name}.html").read_text("utf-8"), url)


def largest(page: Page) -> list[str]:
    return [picture.best.url for picture in page.pictures]


def titles(page: Page) -> list[str | None]:
    return [picture.title for picture in page.pictures]


def shown(body: str, url: str = "https://h.example/g/") -> list[str]:
    return largest(read_page(body, url))


def test_wordpress_blocks_and_tiled_galleries() -> None:
    page = read("wordpress", "https://studio.example/anna-ben/")
    uploads = "https://studio.example/wp-content/uploads/2026/06/anna-ben"
    assert largest(page) == [
        f"{uploads}-001-scaled.jpg", f"{uploads}-002-2048x1365.jpg", f"{uploads}-003-1365x2048.jpg",
        f"{uploads}-004.jpg",
    ]  # fmt: skip
    assert titles(page) == ["The veil", "Vows", "First dance", "Cake"]
    assert page.next is None  # the next post is no page of this one


def test_lightboxes() -> None:
    page = read("lightbox", "https://run.example/")
    full = "https://run.example/2026/photos/img/full"
    assert largest(page) == [
        f"{full}/run_0001.jpg", f"{full}/run_0002.jpg", f"{full}/run_0003.jpg",
        "https://run.example/download?id=4", f"{full}/run%200005.jpg", f"{full}/run_0006.JPG",
        f"{full}/%C3%BCr%C3%BCn+%237.jpg",
    ]  # fmt: skip
    assert titles(page) == ["Start", "At 5 km", "Finish", "Medals", None, 'Team "Blue"', None]


def test_srcsets_and_picture_elements() -> None:
    page = read("srcset", "https://gala.example/2026")
    assert largest(page) == [
        "https://gala.example/i/gala-1-2400.jpg",
        "https://res.cloudinary.com/demo/image/upload/w_1200,h_900,c_fill/gala-2.jpg",
        "https://cdn.example/gala-3.jpg?w=1800&auto=format",
        "https://gala.example/i/gala-4.jpg",
    ]
    assert titles(page) == ["Red carpet", "Speech", "Band", "Crowd"]


def test_lazy_loaders() -> None:
    page = read("lazy", "https://fair.example/p/")
    assert [url.rpartition("/photos/")[2] for url in largest(page)[:7]] == [
        "fair-1.jpg", "fair-2.jpg", "fair-3-1800x1200.jpg", "big/fair-4.jpg", "mid/fair-5.jpg",
        "fair-6.jpg", "big/fair-7.jpg",
    ]  # fmt: skip
    assert largest(page)[7].endswith("/fair-8.jpg")
    assert len(page.pictures) == 8
    assert titles(page)[5:7] == ["Drones", "Prize giving"]


def test_json_ld_says_more_of_the_pictures_that_are_shown() -> None:
    page = read("jsonld", "https://photos.example/marathon")
    assert [url.rpartition("/")[2] for url in largest(page)] == [
        "M-001-X5.jpg", "M-002-X5.jpg", "M-003-X5.jpg",
    ]  # fmt: skip
    assert titles(page) == ["Start", "At 10 km", "Finish"]
    first = page.pictures[0]
    assert first.photographer == "Ada"
    assert first.taken_at is not None
    assert first.taken_at.isoformat() == "2026-05-01T09:00:00+02:00"


def test_words_can_be_stored() -> None:
    """PostgreSQL takes neither NUL nor a lone surrogate."""
    page = read_page(
        '<meta property=og:title content="a\x00b"><meta property=og:image content=/o.jpg>'
        '<img src=/1.jpg alt="x\x00y &#0; &#xD800; z"><script type="application/ld+json">'
        '{"@type":"ImageObject","contentUrl":"/2.jpg","name":"\\ud800\\u0000 n",'
        '"creator":{"name":"A\\udfff"}}</script>',
        "https://h.example/",
    )
    first, second = page.pictures
    told = [first.title, second.title, second.photographer, page.shared[0].title]
    assert all(each for each in told)
    for each in told:
        assert "\x00" not in str(each)
        str(each).encode("utf-8")


def test_json_ld_alone_stands_for_the_thumbnails_beside_it() -> None:
    page = read("stated_only", "https://party.example/x")
    assert largest(page) == [f"https://cdn.example/f/p{n}.jpg" for n in (1, 2, 3, 4)]


def test_one_stated_picture_does_not_hide_those_that_are_shown() -> None:
    body = "".join(f'<img src="/p/{n}.jpg">' for n in range(9))
    stated = '<script type="application/ld+json">{"@type":"ImageObject","contentUrl":"/lead.jpg"}'
    assert len(shown(f"{body}{stated}</script>")) == 10


def test_what_others_share_of_a_page_is_kept_apart() -> None:
    page = read("shared", "https://party.example/x")
    assert not page.pictures
    (picture,) = page.shared
    assert picture.best.url == "https://cdn.example/p/77/large.jpg"
    assert picture.title == "Toast to the couple"


def test_an_index_of_files() -> None:
    page = read("autoindex", "https://h.example/party/")
    assert largest(page) == [
        "https://h.example/party/DSC%200001.JPG", "https://h.example/party/caf%c3%a9.png",
    ]  # fmt: skip


def test_thumbnails_lead_to_their_pages_below_and_beside_only() -> None:
    page = read("details", "https://club.example/club/night")
    links = {bare_name(each.best.url): each.link for each in page.pictures}
    assert links == {
        "dsc-0001": "https://club.example/club/night/photo/1",
        "dsc-0002": "https://club.example/club/night/photo/2",
        "dsc-0003": None, "partner": None, "everything": None, "c1": None, "c2": None,
    }  # fmt: skip
    assert titles(page)[:2] == ["Entrance", "Bar"]
    assert page.next == "https://club.example/club/night?page=2"


def test_a_wikis_file_page_is_no_file() -> None:
    (picture,) = read("commons", "https://commons.example/wiki/Category:Parade").pictures
    assert picture.best.url.endswith("/240px-Parade_2026_%281%29.jpg")
    assert picture.link == "https://commons.example/wiki/File:Parade_2026_(1).jpg"


@pytest.mark.parametrize(
    "body",
    [
        '<img src="/t.gif" width=1 height=1>', '<img src="/logo.jpg">', '<img src="/site-logo.png">',
        '<img src="/a.jpg" class="user-avatar">', '<img src="/a/icons/b.png">', '<img src="/x.svg">',
        '<img src="/a.jpg" width="48" height="48">', '<img srcset="/a.jpg 16w, /b.jpg 32w">',
        '<img src="data:image/png;base64,AAAA">', '<img src="blob:https://h/1">', "<img>",
        '<img src="javascript:alert(1)">', '<img src="">', '<img src="http://[::1/x.jpg">',
        '<nav><img src="/a.jpg"></nav>', '<video><img src="/a.jpg"></video>',
        '<footer><a href="/a.jpg">a</a></footer>', '<a href="/"><img src="/name.jpg"></a>',
        '<!-- <img src="/a.jpg"> -->', '<script>"<img src=/a.jpg>"</script>',
        '<template><img src="/a.jpg"></template>', '<a href="/a.zip">x</a>', "<style><img src=/a.jpg>",
        '<img src="https://user:pw@h.example/a.jpg">', '<img data-src="{json}" data-full="true">',
    ],
)  # fmt: skip
def test_the_dress_of_a_page_is_no_photo(body: str) -> None:
    assert shown(body) == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('<img src="photo.jpg">', "/g/photo.jpg"),
        ('<img src="images\\photo one.jpg">', "/g/images/photo%20one.jpg"),
        ('<img src=" /a\nb.jpg ">', "/ab.jpg"),
        ('<img src="//cdn.example/a.jpg">', "//cdn.example/a.jpg"),
        ('<IMG SRC=/A.JPG ALT=x>', "/A.JPG"),
        ('<img src="/image?id=5&amp;w=9">', "/image?id=5&w=9"),
        ('<img src="/logo-reveal.jpg" width="1200" height="800">', "/logo-reveal.jpg"),
        ('<a href="/party-logo.jpg"><img src="/t.jpg"></a>', "/party-logo.jpg"),
        ('<a href="/big.jpg"><img src="/t.jpg" width=40 height=40></a>', "/big.jpg"),
        ('<a href="/p.jpg?x=1#y">photo</a>', "/p.jpg?x=1"),
        ('<base href="/b/"><base href="/c/"><img src="a.jpg">', "/b/a.jpg"),
        ('<article><footer><img src="/a.jpg"></footer></article>', "/a.jpg"),
        ('<noscript><img src="/a.jpg"></noscript>', "/a.jpg"),
        ('<amp-img src="/a.jpg" width=900 height=600></amp-img>', "/a.jpg"),
        ('<a href="/1.jpg"><img src="/t.jpg">', "/1.jpg"),
        ('<div data-full="/f.jpg"><a href="/page"><img src="/t.jpg"></a></div>', "/f.jpg"),
    ],
)  # fmt: skip
def test_photos_in_odd_markup(body: str, path: str) -> None:
    (url,) = shown(body)
    assert url in (f"https://h.example{path}", f"https:{path}")


def test_sizes_of_one_picture_are_one_photo() -> None:
    assert shown('<img src="/a-300x200.jpg"><img src="/a.jpg?w=300"><a href="/a.jpg">x</a>') == [
        "https://h.example/a.jpg"
    ]
    assert len(shown('<img src="/i.php?id=1&w=300"><img src="/i.php?id=2&w=300">')) == 2


def test_a_placeholder_that_all_share_does_not_make_them_one() -> None:
    body = "".join(f'<img src="/wait.jpg" data-src="/p{n}.jpg">' for n in range(5))
    assert len(shown(body)) == 5


@pytest.mark.parametrize(
    ("page", "link", "follows"),
    [
        ("/g/", '<link rel="next" href="/g/?page=2">', "/g/?page=2"),
        ("/g/", '<a rel="next" href="page/2/">›</a>', "/g/page/2/"),
        ("/g/page/2/", '<a href="/g/page/3/">Next page</a>', "/g/page/3/"),
        ("/g/index.html", '<a href="page2.html">»</a>', "/g/page2.html"),
        ("/g/wedding.html", '<a class="next" href="wedding-2.html">more to see</a>', "/g/wedding-2.html"),
        ("/g?page=4", '<a href="?page=3">3</a><a href="?page=5">5</a>', "/g?page=5"),
        ("/g", '<a href="/g?cursor=abc">Load more</a>', "/g?cursor=abc"),
        ("/g", '<a aria-label="Next" href="/g?start=40"><i></i></a>', "/g?start=40"),
        ("/g", '<a href="/g?page=2">Weiter ›</a>', "/g?page=2"),
        ("/g/a", '<a rel="next" href="/g/b">Next album</a>', None),
        ("/2026/06/fair", '<a rel="next" href="/2026/06/gala">Next</a>', None),
        ("/g/", '<a rel="next" href="https://other.example/g/?page=2">Next</a>', None),
        ("/g/", '<a class="carousel-next" href="#">Next</a>', None),
        ("/g/", '<a class="next" href="javascript:next()">Next</a>', None),
        ("/g/?page=2", '<a href="/g/?page=1">1</a><a href="/g/?page=9">9</a>', None),
        ("/", '<a href="/about">more</a>', None),
    ],
)  # fmt: skip
def test_the_next_page(page: str, link: str, follows: str | None) -> None:
    found = read_page(link, f"https://h.example{page}").next
    assert found == (f"https://h.example{follows}" if follows else None)


def test_the_header_names_the_next_page_too() -> None:
    assert read_page("", "https://h.example/g", "?page=2").next == "https://h.example/g?page=2"
    assert read_page("", "https://h.example/g", "javascript:x").next is None


@pytest.mark.parametrize(
    ("srcset", "expected"),
    [
        ("a.jpg 300w, b.jpg 600w", [("a.jpg", 300, 0), ("b.jpg", 600, 0)]),
        ("a.jpg, b.jpg 1.5x", [("a.jpg", 0, 0), ("b.jpg", 0, 1.5)]),
        ("a,b.jpg 1x,c.jpg 2x", [("a,b.jpg", 0, 1), ("c.jpg", 0, 2)]),
        (" ,, a.jpg 10w 20h ,", [("a.jpg", 10, 0)]),
        ("a.jpg 9999999w, b.jpg x", [("a.jpg", 0, 0), ("b.jpg", 0, 0)]),
        ("", []), (",", []),
    ],
)  # fmt: skip
def test_srcset(srcset: str, expected: list[tuple[str, int, float]]) -> None:
    assert list(candidates(srcset)) == expected


@pytest.mark.parametrize(
    ("url", "key", "signed"),
    [
        ("https://h/a.jpg", "https://h/a.jpg", False),
        ("https://h/a.jpg?v=123", "https://h/a.jpg", False),
        ("https://h/a.jpg?v=large", "https://h/a.jpg?v=large", False),
        ("https://h/i?v=2", "https://h/i?v=2", False),
        ("https://h/i?id=5&utm_source=x", "https://h/i?id=5", False),
        ("https://h/a.jpg?token=abc", "https://h/a.jpg?token=abc", False),
        ("https://b.s3.amazonaws.com/a.jpg?X-Amz-Algorithm=A&X-Amz-Date=1&X-Amz-Signature=f&w=5",
         "https://b.s3.amazonaws.com/a.jpg?w=5", True),
        ("https://b/a.jpg?AWSAccessKeyId=A&Expires=1900000000&Signature=x%3D", "https://b/a.jpg", True),
        ("https://d.cloudfront.net/a.jpg?Policy=p&Signature=s&Key-Pair-Id=k",
         "https://d.cloudfront.net/a.jpg", True),
        ("https://storage.googleapis.com/b/a.jpg?X-Goog-Expires=9&X-Goog-Signature=ab",
         "https://storage.googleapis.com/b/a.jpg", True),
        ("https://a.blob.core.windows.net/c/a.jpg?sv=2024&se=2026-01-01&sr=b&sp=r&sig=x",
         "https://a.blob.core.windows.net/c/a.jpg", True),
        ("https://h/a.jpg?size=2&md5=abc&expires=1900000000", "https://h/a.jpg?size=2", True),
        ("https://h/a.jpg?s=abc&e=1900000000", "https://h/a.jpg", True),
        ("https://h/a.jpg?s=abc&e=5", "https://h/a.jpg?s=abc&e=5", False),
        ("https://fb/a.jpg?stp=x&_nc_cat=1&oh=00_a&oe=68", "https://fb/a.jpg?stp=x", True),
        ("https://h/a.jpg?hdnts=exp=1~hmac=2", "https://h/a.jpg", True),
    ],
)  # fmt: skip
def test_keys_leave_out_what_surely_changes_and_nothing_else(
    url: str, key: str, signed: bool
) -> None:
    assert stable_key(url) == (key, signed)
    assert stable_key(key)[0] == key


def test_stems_tell_pictures_from_sizes() -> None:
    assert (
        stem("https://h/a-1024x683.jpg") == stem("https://h/a.jpg") == stem("https://h/a.jpg?w=3")
    )
    assert stem("https://h/a-1.jpg") != stem("https://h/a-2.jpg")
    assert bare_name("https://h/t/IMG_0001_thumb.jpg") == bare_name("https://h/o/IMG_0001-X3.JPG")
    assert bare_name("https://h/IMG_0001.jpg") != bare_name("https://h/IMG_0002.jpg")
    assert bare_name("https://h/77/thumb.jpg") == bare_name("https://h/77/original_large.jpg")
    assert bare_name("https://h/77/thumb.jpg") != bare_name("https://h/78/thumb.jpg")
    assert bare_name("https://h/b.jpg") != bare_name("https://h/c.jpg")


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("https://h/g/", "https://h/g/p1", True), ("https://h/g/", "https://h/photo/1", True),
        ("https://h/g/a", "https://h/g/p1", True), ("https://h/x/g/", "https://h/y/1", False),
        ("https://h/g/", "https://other/g/1", False), ("https://h/g/", "https://h/g/", False),
        ("https://h/g/", "http://h/g/1", True), ("https://h/g/", "https://h:8443/g/1", False),
        ("https://h/g/", "https://h/g/film.mp4", False), ("https://h/", "https://h/?photo=1", True),
    ],
)  # fmt: skip
def test_detail_pages(page: str, link: str, expected: bool) -> None:
    assert is_detail(page, link) is expected


def test_tokens_follow_the_standard_where_it_matters() -> None:
    text = """a<!-- <b> --><IMG SRC='x"y' ALT=p&amp;q/ data-z><!--><p>1 < 2</P
        x=">"><title>A <b></title><script>if (a<b) "</scripts>"</script ><?x?><![CDATA[<i>]]>"""
    assert [token for token in tokens(text) if isinstance(token, Tag) and not token.closes] == [
        Tag("img", attributes={"src": 'x"y', "alt": "p&q/", "data-z": ""}),
        Tag("p"), Tag("title"), Tag("script"),
    ]  # fmt: skip
    assert 'if (a<b) "</scripts>"' in list(tokens(text))


def test_broken_tags_end_with_the_text() -> None:
    for text in (
        "<",
        "<a",
        "<a b",
        "<a b=",
        '<a b="c',
        "<!--",
        "<!",
        "</",
        "</a",
        "<script>x",
        "<?",
    ):
        assert all(isinstance(token, str | Tag) for token in tokens(text))
    (tag,) = (token for token in tokens(f"<a {'x ' * 500}>") if isinstance(token, Tag))
    assert len(tag.attributes) == 1
    many = " ".join(f"a{n}=1" for n in range(500))
    (tag,) = (token for token in tokens(f"<a {many}>") if isinstance(token, Tag))
    assert len(tag.attributes) == MOST_ATTRIBUTES


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("ü".encode(), None, "ü"), ("ü".encode("latin-1"), None, "ü"),
        ("ü".encode("latin-1"), "ISO-8859-1", "ü"), ("ü".encode("utf-16"), None, "ü"),
        (b"\xef\xbb\xbf" + "ü".encode(), "iso-8859-1", "ü"),
        (b'<meta charset="shift_jis">' + "写真".encode("shift_jis"), None,
         '<meta charset="shift_jis">写真'),
        (b"a", "punycode", "a"), (b"a", "no-such", "a"), (b"a", "cp99999", "a"), (b"", None, ""),
    ],
)  # fmt: skip
def test_charsets(body: bytes, charset: str | None, text: str) -> None:
    assert decoded(body, charset) == text


HOSTILE = {
    "nested": "<div>" * 150_000,
    "unclosed links": "<a href=x.jpg>" * 5_000,
    "comments": "<!--" * 300_000,
    "quotes": "<a b=\"'" * 200_000,
    "captions": "<div>" * 2_000 + "<figcaption>x" * 50_000,
    "figures": "<figure>" * 2_000 + "<img src=a.jpg><figcaption>x</figcaption>" * 5_000,
    "srcset": f'<img srcset="{",a 1w " * 200_000}">',
    "reference": f'<img src=a.jpg alt="&#{"1" * 5_000};">',
    "json": f'<script type="application/ld+json">{"[" * 200_000}</script>',
    "number": f'<script type="application/ld+json">{"9" * 6_000}</script>',
    "tiles": "<div data-full=a.jpg>" * 30_000,
    "pictures": "<picture>" * 50_000 + "<source srcset=a>" * 5_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_pages_built_to_exhaust_their_readers_are_read(name: str) -> None:
    """In quadratic time, each of these would take minutes to hours."""
    page = read_page(HOSTILE[name], "https://h.example/")
    assert len(page.pictures) <= MOST_PICTURES


def test_pictures_are_bounded() -> None:
    body = "".join(f"<img src=/{n}.jpg>" for n in range(MOST_PICTURES + 500))
    assert len(shown(body)) == MOST_PICTURES


MARKUP = st.lists(
    st.sampled_from(
        ["<a href=", "<img ", "src=", "srcset=", "data-src=", "data-full=", "'", '"', ">", "</a>", "<",
         "x.jpg", "y.jpg 300w,", "//[", "http://[::1", "<picture>", "</picture>", "<source ", "<figure>",
         "<figcaption>", "</figure>", "<base href=", "&#", "&#xD800;", "\\", "\x00", "<!--", "-->",
         "<script type=application/ld+json>", '{"@type":"ImageObject","contentUrl":', "}", "</script>",
         "<meta property=og:image content=", "<li data-src=", "</li>", "rel=next ", "?page=2", "javascript:",
         "itemprop=contentUrl ", "<nav>", "\ud800", "é"]
    )
    | st.text(max_size=12),
    max_size=60,
)  # fmt: skip


@given(MARKUP)
@settings(max_examples=400, deadline=None)
def test_any_markup_is_read_without_an_exception(parts: list[str]) -> None:
    page = read_page("".join(parts), "https://h.example/g/")
    for picture in (*page.pictures, *page.shared):
        assert picture.best.url.startswith(("http://", "https://"))
        assert picture.best.url.isascii()
        stable_key(picture.best.url)
    assert len({stem(picture.best.url) for picture in page.pictures}) == len(page.pictures)


@given(st.binary(max_size=300), st.none() | st.text(max_size=12))
def test_any_bytes_are_text(body: bytes, charset: str | None) -> None:
    assert isinstance(decoded(body, charset), str)


@given(st.text(alphabet=st.sampled_from("ab.,/ 019wx(){}\n\t"), max_size=80))
def test_any_srcset_gives_whole_addresses(srcset: str) -> None:
    for address, width, density in candidates(srcset):
        assert address in srcset
        assert not any(each.isspace() for each in address)
        assert width >= 0
        assert density >= 0


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
                    lambda inner: st.lists(inner) | st.dictionaries(
                        st.sampled_from(["@type", "@graph", "contentUrl", "url", "name", "width",
                                         "thumbnailUrl", "dateCreated", "creator", "@id"]) | st.text(),
                        inner | st.just("ImageObject"))))  # fmt: skip
@settings(deadline=None)
def test_any_json_ld_is_pictures_or_nothing(value: object) -> None:
    import json

    for picture in of_json_ld(json.dumps(value), lambda text: f"https://h/{len(text)}"):
        assert picture.best.url


@given(st.lists(st.text(alphabet=st.sampled_from("/page2?=&.html-_x"), max_size=30), max_size=6))
def test_next_links_never_leave_the_host(paths: list[str]) -> None:
    links = NextLinks("https://h/g/")
    for path in paths:
        links.relation(f"https://other/{path}")
        links.anchor(f"https://h/{path}", "next", "", "")
    assert links.best is None or links.best.startswith("https://h/")
