"""IIIF: manifests of versions 2 and 3 as institutions write them, and image services of all levels."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import BadInput, NotModified, PhotoRejected, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.iiif import IiifSource
from app.sources.iiif_image import service_of
from app.sources.iiif_manifest import parts_of, pictures_of
from app.sources.memory import read_photo
from tests.contracts.places.iiif import answer, manifest_2, manifest_3
from tests.origin import LOOPBACK, Answer, Listener, Origin

Json = dict[str, Any]
Found = list[Locator | BadEntry]


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(AddressPolicy(LOOPBACK), FetchLimits(attempts=1)) as fetcher:
        yield fetcher


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


async def found_at(url: str, fetcher: Fetcher) -> Found:
    return [entry async for entry in IiifSource(url, fetcher).discover()]


async def found_in(document: Json, origin: Origin, fetcher: Fetcher) -> Found:
    origin.answers["/manifest.json"] = answer(document)
    return await found_at(origin.url("/manifest.json"), fetcher)


def canvas_3(body: object, **more: object) -> Json:
    annotation = {"type": "Annotation", "motivation": "painting", "body": body}
    page = {"type": "AnnotationPage", "items": [annotation]}
    return {"type": "Canvas", "width": 4000, "height": 3000, "items": [page], **more}


def manifest(*canvases: Json, **more: object) -> Json:
    context = "http://iiif.io/api/presentation/3/context.json"
    return {"@context": context, "type": "Manifest", "items": list(canvases), **more}


def image(address: str, **more: object) -> Json:
    return {"id": address, "type": "Image", "format": "image/jpeg", **more}


def canvas_2(resource: object, **more: object) -> Json:
    return {"@type": "sc:Canvas", "width": 4000, "height": 3000,
            "images": [{"motivation": "sc:painting", "resource": resource}], **more}  # fmt: skip


def manifest_of(*canvases: Json) -> Json:
    return {"@context": "http://iiif.io/api/presentation/2/context.json", "@type": "sc:Manifest",
            "label": "M", "sequences": [{"canvases": list(canvases)}, {"canvases": []}]}  # fmt: skip


IMAGE_2 = "http://iiif.io/api/image/2"


def service_2(base: str, level: object) -> Json:
    return {"@context": f"{IMAGE_2}/context.json", "@id": base, "profile": level}


async def test_version_3_with_an_image_service(origin: Origin, fetcher: Fetcher) -> None:
    """The cookbook's recipe 0005."""
    document = manifest_3(origin.url(""), [origin.url("/iiif/a%2Fb"), origin.url("/iiif/c")])
    first, second = await found_in(document, origin, fetcher)
    assert isinstance(first, Locator)
    assert first.key == origin.url("/iiif/a%2Fb")
    assert first.uri == origin.url("/iiif/a%2Fb/full/max/0/default.jpg#level1,8x6")
    assert (first.title, first.width, first.height) == ("Photo 0", 8, 6)
    assert second.uri.startswith(origin.url("/iiif/c/full/max/0/default.jpg"))


async def test_version_2_with_and_without_a_service(origin: Origin, fetcher: Fetcher) -> None:
    base = origin.url("/i/1")
    found = await found_in(
        manifest_of(
            canvas_2({"@id": f"{base}/full/full/0/default.jpg", "@type": "dctypes:Image",
                      "width": 6000, "height": 4000,
                      "service": service_2(f"{base}/", f"{IMAGE_2}/level2.json")}, label="1r"),
            canvas_2({"@id": "files/two.png", "@type": "dctypes:Image"}, label=["2r", "zwei"]),
            canvas_2({"@id": f"{base}3/full/600,/0/default.jpg", "width": 600, "height": 400,
                      "service": [service_2(f"{base}3", [f"{IMAGE_2}/level1.json", {"maxWidth": 9}])]}),
            canvas_2({"@id": "x", "service": {"@id": origin.url("/old"), "profile":
                      "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level1"}}),
        ),
        origin, fetcher,
    )  # fmt: skip
    assert [entry.uri for entry in found] == [
        f"{base}/full/full/0/default.jpg#level2,6000x4000",
        origin.url("/files/two.png"),
        f"{base}3/full/full/0/default.jpg",
        origin.url("/old/full/full/0/native.jpg"),
    ]
    assert [(e.title, e.width) for e in found if isinstance(e, Locator)] == [
        ("1r", 6000), ("2r", 4000), (None, 4000), (None, 4000),
    ]  # fmt: skip


async def test_choices_selectors_and_what_is_no_picture(origin: Origin, fetcher: Fetcher) -> None:
    choice_3 = {"type": "Choice", "items": [image("/natural.jpg"), image("/x-ray.jpg")]}
    choice_2 = {"@type": "oa:Choice", "default": {"@id": "/front.jpg", "@type": "dctypes:Image"},
                "item": [{"@id": "/uv.jpg"}]}  # fmt: skip
    selected = {"type": "SpecificResource", "source": image("/whole.jpg"), "selector": {}}
    part_2 = {
        "@type": "oa:SpecificResource",
        "full": {"@id": "/page.jpg", "@type": "dctypes:Image"},
    }
    found = await found_in(
        manifest(
            canvas_3(choice_3), canvas_3(selected), canvas_3({"id": "/v.mp4", "type": "Video"}),
            canvas_3({"type": "TextualBody", "value": "x"}), canvas_3([image("/l.jpg"), image("/r.jpg")]),
            canvas_3({"id": "/a.pdf", "type": "Image", "format": "application/pdf"}),
            {"type": "Canvas", "items": [{"type": "AnnotationPage", "items": [
                {"motivation": "commenting", "body": image("/note.jpg")}]}]},
            canvas_2(choice_2), canvas_2(part_2), canvas_2({"@id": "/front.jpg"}),
        ),
        origin, fetcher,
    )  # fmt: skip
    assert [entry.uri.rpartition("/")[2] for entry in found] == [
        "natural.jpg", "whole.jpg", "l.jpg", "r.jpg", "front.jpg", "page.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ({"de": ["Tanz"], "en": ["Dance"], "none": ["IMG 1"]}, "IMG 1"),
        ({"de": ["Tanz"], "en": ["Dance", "Ball"]}, "Dance"),
        ({"de": ["Tanz"], "fr": ["Danse"]}, "Tanz"),
        ("Plain", "Plain"), (["First", "Second"], "First"),
        ([{"@value": "Tanz", "@language": "de"}, {"@value": "Dance", "@language": "en"}], "Dance"),
        ({"@value": "Tanz", "@language": "de"}, "Tanz"), ({"@value": ["x"]}, None),
        ("<b>Bold</b> &amp; more", "Bold & more"), ({}, None), (None, None), (7, None), ({"en": []}, None),
        ("x" * 2_000, "x" * 500), ("\ud800\x00 y", "? y"),
    ],
)  # fmt: skip
async def test_labels(label: object, title: str | None, origin: Origin, fetcher: Fetcher) -> None:
    two = manifest(canvas_3(image("/1.jpg"), label=label), canvas_3(image("/2.jpg")), label="M")
    (first, second) = await found_in(two, origin, fetcher)
    assert isinstance(first, Locator)
    assert isinstance(second, Locator)
    assert (first.title, second.title) == (title, None)
    (only,) = await found_in(manifest(canvas_3(image("/1.jpg")), label=label), origin, fetcher)
    assert isinstance(only, Locator)
    assert only.title == title


async def test_collections_nest_repeat_and_break(origin: Origin, fetcher: Fetcher) -> None:
    base = origin.url("")
    origin.answers |= {
        "/top.json": answer({"type": "Collection", "items": [
            {"id": f"{base}/one.json", "type": "Manifest"}, {"id": "/deep.json", "type": "Collection"},
            {"id": "/missing.json", "type": "Manifest"}, {"id": "/page.html", "type": "Manifest"},
            {"id": "/top.json", "type": "Collection"}, {"id": "ftp://h/x", "type": "Manifest"},
            {"type": "Manifest"}, "junk",
        ]}),
        "/one.json": answer(manifest_3(base, [f"{base}/i/1", f"{base}/i/2"])),
        "/deep.json": answer({"@type": "sc:Collection", "manifests": [
            {"@id": "/two.json", "@type": "sc:Manifest"}], "collections": [
            {"@id": "/top.json", "@type": "sc:Collection"}], "members": [
            {"@id": "/one.json", "@type": "sc:Manifest"}], "first": "/paged.json"}),
        "/two.json": answer(manifest_2(base, [f"{base}/f/3.jpg"])),
        "/paged.json": answer({"@type": "sc:Collection", "next": {"@id": "/more.json"}}),
        "/more.json": answer({"@type": "sc:Collection", "manifests": [
            {"@id": "/inline.json", "@type": "sc:Manifest", "sequences": manifest_2(
                base, [f"{base}/f/4.jpg", f"{base}/f/3.jpg"])["sequences"]}]}),
        "/page.html": Answer(b"<html>"),
    }  # fmt: skip
    found = await found_at(origin.url("/top.json"), fetcher)
    assert [entry.key.removeprefix(base) for entry in found] == [
        "/i/1", "/i/2", "/f/3.jpg", "/f/4.jpg", "/missing.json", "/page.html",
    ]  # fmt: skip
    assert [entry.reason for entry in found if isinstance(entry, BadEntry)] == [
        "not-found", "bad-manifest",
    ]  # fmt: skip
    assert max(origin.requests.values()) == 1
    assert not origin.requests["/inline.json"]


async def test_a_collection_without_end_is_bounded(
    origin: Origin, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.sources.iiif.MOST_DOCUMENTS", 5)
    for number in range(12):
        origin.answers[f"/{number}.json"] = answer(
            {"type": "Collection", "items": [{"id": f"/{number + 1}.json", "type": "Collection"}]}
        )
    found = await found_at(origin.url("/0.json"), fetcher)
    (entry,) = found
    assert isinstance(entry, BadEntry)
    assert entry.reason == "page-limit"
    assert sum(origin.requests.values()) <= 6


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (Answer(status=404), BadInput, "can't be read"), (Answer(status=401), BadInput, "can't be read"),
        (Answer(status=503), SourceUnavailable, "503"), (Answer(b"<html>"), BadInput, "no JSON"),
        (Answer(b""), BadInput, "no JSON"), (Answer(b"[" * 100_000), BadInput, "no JSON"),
        (Answer(b"{}"), BadInput, "neither"), (Answer(b"[]"), BadInput, "neither"),
        (Answer(b'{"type": "Canvas"}'), BadInput, "neither"),
        (Answer(b'{"protocol": "http://iiif.io/api/image", "width": 1}'), BadInput, "one picture"),
        (Answer(b'{"type": "Manifest"', announced=100), SourceUnavailable, "ended before"),
    ],
)  # fmt: skip
async def test_what_is_no_manifest_is_said(
    reply: Answer, error: type[Exception], says: str, origin: Origin, fetcher: Fetcher
) -> None:
    origin.answers["/m"] = reply
    with pytest.raises(error, match=says):
        await found_at(origin.url("/m"), fetcher)


async def test_an_empty_manifest_has_no_pictures(origin: Origin, fetcher: Fetcher) -> None:
    assert await found_in(manifest(), origin, fetcher) == []


async def test_a_part_that_fails_now_fails_the_discovery(origin: Origin, fetcher: Fetcher) -> None:
    origin.answers |= {
        "/top.json": answer(
            {"type": "Collection", "items": [{"id": "/1.json", "type": "Manifest"}]}
        ),
        "/1.json": Answer(status=502),
    }
    with pytest.raises(SourceUnavailable):
        await found_at(origin.url("/top.json"), fetcher)


async def test_a_thousand_canvases_keep_their_order(origin: Origin, fetcher: Fetcher) -> None:
    services = [origin.url(f"/i/{n}") for n in range(3_000)]
    found = await found_in(manifest_3(origin.url(""), services), origin, fetcher)
    assert [entry.key for entry in found] == services


SIZES = {"sizes": [{"width": w, "height": w * 3 // 4} for w in (250, 1000, 2000)]}


def info(base: str, version: int, level: int | None, **more: object) -> Json:
    profile: object = f"level{level}" if version == 3 else [f"{IMAGE_2}/level{level}.json"]
    return {"@context": f"http://iiif.io/api/image/{version}/context.json", "id": base,
            "protocol": "http://iiif.io/api/image", "profile": profile, "width": 4000,
            "height": 3000, **more}  # fmt: skip


TALL = {"width": 3000, "height": 4000}
ASKED = [
    # (version, info.json, long side wanted, sizes that the server is asked for, in this order)
    (3, {"level": 2}, 1024, ["!1024,1024"]),
    (3, {"level": 1}, 1024, ["1024,"]),
    (3, {"level": 1, **TALL}, 1024, [",1024"]),
    (3, {"level": 1, "extraFeatures": ["sizeByConfinedWh"]}, 1024, ["!1024,1024"]),
    (3, {"level": 0, **SIZES}, 900, ["1000,750"]),
    (3, {"level": 0, **SIZES}, 1000, ["1000,750"]),
    (3, {"level": 0, **SIZES}, 2500, ["max"]),
    (3, {"level": 0}, 1024, ["max"]),
    (3, {"level": 2}, 4000, ["max"]),
    (3, {"level": 2, "maxWidth": 800}, 1024, ["!800,800"]),
    (3, {"level": 2, "maxArea": 250_000}, 1024, ["!500,500"]),
    (2, {"level": 2}, 1024, ["!1024,1024"]),
    (2, {"level": 1}, 1024, ["1024,"]),
    (2, {"level": 0, **SIZES}, 900, ["1000,"]),
    (2, {"level": 1, "profile": [f"{IMAGE_2}/level1.json", {"supports": ["sizeByConfinedWh"]}]}, 700,
     ["!700,700"]),
    (2, {"level": 2, "profile": [f"{IMAGE_2}/level2.json", {"maxWidth": 600}]}, 700, ["!600,600"]),
    (2, {"level": None, "profile": 7}, 700, ["full"]),
    (1, {"level": None, "profile":
         "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2"}, 700, ["!700,700"]),
]  # fmt: skip
FULL = {1: "full/0/native", 2: "full/0/default", 3: "max/0/default"}


@pytest.mark.parametrize(("version", "facts", "long_side", "sizes"), ASKED)
async def test_the_size_asked_for_follows_from_info_json(
    version: int, facts: Json, long_side: int, sizes: list[str], origin: Origin, fetcher: Fetcher
) -> None:
    base = origin.url("/i/1")
    quality = "native" if version == 1 else "default"
    known = dict(facts)
    origin.answers["/i/1/info.json"] = answer(info(base, version, known.pop("level"), **known))
    for size in sizes:
        origin.answers[f"/i/1/full/{size}/0/{quality}.jpg"] = Answer(b"ok", headers={"ETag": '"1"'})
    source = IiifSource(origin.url("/m"), fetcher)
    locator = Locator(base, f"{base}/full/{FULL[version]}.jpg")
    for _ in range(3):
        async with source.open(locator, long_side=long_side) as stream:
            assert await read_photo(stream, 10) == b"ok"
            assert stream.version == '"1"'
    paths = [path for path, _ in origin.seen]
    photo = f"/i/1/full/{sizes[0]}/0/{quality}.jpg"
    assert paths == ["/i/1/info.json", photo, photo, photo]


async def test_what_the_manifest_said_saves_the_question(origin: Origin, fetcher: Fetcher) -> None:
    base = origin.url("/i/1")
    source = IiifSource(origin.url("/m"), fetcher)
    for facts, size in (
        ("level2,4000x3000", "!1024,1024"), ("level1,4000x3000", "1024,"),
        ("level1,3000x4000", ",1024"), ("level2,900x600", "max"),
    ):  # fmt: skip
        path = f"/i/1/full/{size}/0/default.jpg"
        origin.answers[path] = Answer(b"ok", headers={"ETag": '"1"'})
        locator = Locator(base, f"{base}/full/max/0/default.jpg#{facts}")
        async with source.open(locator, long_side=1024) as stream:
            assert await read_photo(stream, 10) == b"ok"
        origin.answers[path] = Answer(status=304)
        with pytest.raises(NotModified):
            async with source.open(locator, long_side=1024, unless='"1"'):
                pass
        assert origin.seen[-1][0] == path
    assert not origin.requests["/i/1/info.json"]


async def test_a_server_that_does_less_than_its_manifest_says(
    origin: Origin, fetcher: Fetcher
) -> None:
    base = origin.url("/i/1")
    origin.answers |= {
        "/i/1/full/!1024,1024/0/default.jpg": Answer(status=400),
        "/i/1/info.json": answer(info(base, 3, 0, **SIZES)),
        "/i/1/full/2000,1500/0/default.jpg": Answer(status=404),
        "/i/1/full/2000,/0/default.jpg": Answer(b"other spelling"),
    }
    source = IiifSource(origin.url("/m"), fetcher)
    locator = Locator(base, f"{base}/full/max/0/default.jpg#level2,4000x3000")
    async with source.open(locator, long_side=1024) as stream:
        assert await read_photo(stream, 100) == b"other spelling"
    origin.answers["/i/1/full/2000,/0/default.jpg"] = Answer(status=403)
    origin.answers["/i/1/full/max/0/default.jpg"] = Answer(b"whole")
    async with source.open(locator, long_side=1024) as stream:
        assert await read_photo(stream, 100) == b"whole"
    assert origin.requests["/i/1/info.json"] == 1


@pytest.mark.parametrize(
    "reply", [Answer(status=404), Answer(b"<html>"), Answer(b"[]"), Answer(b"x" * 2_000_000)]
)
async def test_without_info_json_the_whole_picture_comes(
    reply: Answer, origin: Origin, fetcher: Fetcher
) -> None:
    base = origin.url("/i/1")
    origin.answers |= {
        "/i/1/info.json": reply,
        "/i/1/full/full/0/default.jpg": Answer(b"whole"),
    }
    source = IiifSource(origin.url("/m"), fetcher)
    locator = Locator(base, f"{base}/full/full/0/default.jpg")
    for _ in range(2):
        async with source.open(locator, long_side=1024) as stream:
            assert await read_photo(stream, 100) == b"whole"
    assert origin.requests["/i/1/info.json"] == 1


async def test_files_without_a_service_come_as_they_are(origin: Origin, fetcher: Fetcher) -> None:
    origin.answers["/f/1.jpg"] = Answer(b"file")
    source = IiifSource(origin.url("/m"), fetcher)
    async with source.open(Locator("k", origin.url("/f/1.jpg")), long_side=1024) as stream:
        assert await read_photo(stream, 100) == b"file"
    assert [path for path, _ in origin.seen] == ["/f/1.jpg"]


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "not-found"), (410, "gone"), (401, "unauthorised")]
)
async def test_a_picture_that_is_refused(
    status: int, reason: str, origin: Origin, fetcher: Fetcher
) -> None:
    base = origin.url("/i/1")
    for path in ("!1024,1024", "max"):
        origin.answers[f"/i/1/full/{path}/0/default.jpg"] = Answer(status=status)
    origin.answers["/i/1/info.json"] = Answer(status=status)
    source = IiifSource(origin.url("/m"), fetcher)
    locator = Locator(base, f"{base}/full/max/0/default.jpg#level2,4000x3000")
    with pytest.raises(PhotoRejected) as caught:
        async with source.open(locator, long_side=1024):
            pass
    assert caught.value.reason == reason


async def test_a_service_that_fails_now_is_no_refusal(origin: Origin, fetcher: Fetcher) -> None:
    base = origin.url("/i/1")
    origin.answers["/i/1/info.json"] = Answer(status=503)
    source = IiifSource(origin.url("/m"), fetcher)
    with pytest.raises(SourceUnavailable):
        async with source.open(Locator("k", f"{base}/full/max/0/default.jpg"), long_side=9):
            pass


async def test_forbidden_addresses_make_no_connection() -> None:
    with Listener("127.0.0.2") as listener, Origin() as origin:
        closed = f"http://127.0.0.2:{listener.port}"
        parts = [{"id": each, "type": "Manifest"} for each in (f"{closed}/m.json", "/m.json")]
        origin.answers["/top.json"] = answer({"type": "Collection", "items": parts})
        origin.answers["/m.json"] = answer(
            manifest(canvas_3(image(f"{closed}/1.jpg")), canvas_3(image("/2.jpg", service=[
                {"id": f"{closed}/i/2", "type": "ImageService3", "profile": "level2"}])))
        )  # fmt: skip
        policy = AddressPolicy([ip_network("127.0.0.1/32")])
        async with Fetcher(policy, FetchLimits(attempts=1)) as fetcher:
            found = await found_at(origin.url("/top.json"), fetcher)
            assert {entry.reason for entry in found if isinstance(entry, BadEntry)} == {
                "forbidden-address"
            }
            assert len(found) == 3
            source = IiifSource(origin.url("/top.json"), fetcher)
            uri = f"{closed}/i/2/full/max/0/default.jpg"
            with pytest.raises(PhotoRejected):
                async with source.open(Locator("k", uri), long_side=100):
                    pass
        assert listener.accepted == 0


WORDS = st.sampled_from(
    ["type", "@type", "id", "@id", "items", "body", "service", "profile", "label", "images", "resource",
     "sequences", "canvases", "width", "sizes", "Choice", "Manifest", "Canvas", "ImageService3", "none",
     "motivation", "painting", "default", "@value", "first", "manifests", "level2", "https://h/i", "en"]
)  # fmt: skip
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=30,
)


@given(st.dictionaries(WORDS, TREES, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_document_is_pictures_or_nothing(document: Json) -> None:
    for painted in pictures_of({"items": [{"type": "Canvas", "items": [document]}], **document}):
        assert painted.address or painted.service
        if painted.service is not None:
            assert painted.service.at("https://h/i").startswith("https://h/i/full/")
    assert all(address for address, _ in parts_of(document))


@given(st.dictionaries(WORDS | st.just("maxWidth"), TREES, max_size=8), st.integers(1, 10_000))
@settings(deadline=None)
def test_any_info_json_gives_addresses_of_its_service(facts: Json, long_side: int) -> None:
    service = service_of("https://h/i", 3, json.loads(json.dumps(facts)))
    for address in service.smaller(long_side):
        assert address.startswith("https://h/i/full/")
        assert address.endswith("/0/default.jpg")
