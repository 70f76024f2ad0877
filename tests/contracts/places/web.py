"""Web galleries: lightboxes, pages of pages, pages of single photos, signed addresses, sitemaps."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count
from pathlib import Path

from app.core.sources import SourceSpec
from tests.contracts.places import PHOTOS, Place
from tests.contracts.places.local import changer, served
from tests.origin import Answer, Origin

HTML = {"Content-Type": "text/html; charset=utf-8"}
XML = {"Content-Type": "application/xml"}


def place(origin: Origin, path: str) -> Place:
    return Place(
        SourceSpec("gallery", origin.url(path)),
        gone=lambda name: origin.answers.__setitem__(f"/{name}", Answer(status=404)),
        change=changer(origin),
        nowhere=SourceSpec("gallery", origin.url("/missing/")),
    )


def page(body: str) -> Answer:
    return Answer(f"<!doctype html><title>Wedding</title>{body}".encode(), headers=HTML)


def lightbox(_: Path, held: ExitStack) -> Place:
    origin = held.enter_context(served())
    origin.answers["/album/"] = page(
        "".join(f'<a href="/{n}"><img src="/thumbs/{n}" alt="{n}"></a>' for n in PHOTOS)
    )
    return place(origin, "/album/")


def pages(_: Path, held: ExitStack) -> Place:
    """One photo a page, the last page linking back to the first."""
    origin = held.enter_context(served())
    for number, name in enumerate(PHOTOS, 1):
        following = number % len(PHOTOS) + 1
        address = "/album/" if number == 1 else f"/album/?page={number}"
        origin.answers[address] = page(
            f'<img src="/{name}" width=800 height=600><a href="?page={following}">Next ›</a>'
        )
    return place(origin, "/album/")


def details(_: Path, held: ExitStack) -> Place:
    """Thumbnails that lead to a page each."""
    origin = held.enter_context(served())
    thumbs = (f'<a href="photo/{n}.html"><img src="/t/{n}"></a>' for n in range(len(PHOTOS)))
    origin.answers["/album/index.html"] = page("".join(thumbs))
    for number, name in enumerate(PHOTOS):
        origin.answers[f"/album/photo/{number}.html"] = page(f'<h1>P</h1><img src="/{name}">')
    return place(origin, "/album/index.html")


def signed(_: Path, held: ExitStack) -> Place:
    """Every visit gives addresses with another signature."""
    origin = held.enter_context(served())
    visits = count(1_900_000_000)

    def respond(_: object) -> Answer:
        query = f"Expires={next(visits)}&amp;Signature=s{next(visits)}&amp;Key-Pair-Id=K1"
        return page("".join(f'<img src="/{n}?{query}" width=900 height=600>' for n in PHOTOS))

    origin.answers["/client/42"] = respond
    return place(origin, "/client/42")


def sitemap(_: Path, held: ExitStack) -> Place:
    origin = held.enter_context(served())
    images = "".join(
        f"<image:image><image:loc>{origin.url(f'/{n}')}</image:loc></image:image>" for n in PHOTOS
    )
    origin.answers["/sitemap.xml"] = Answer(
        f"""<?xml version="1.0" encoding="UTF-8"?>
        <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
                xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
          <url><loc>{origin.url("/album/")}</loc>{images}</url>
        </urlset>""".encode(),
        headers=XML,
    )
    return place(origin, "/sitemap.xml")


def a_list_without_suffix(_: Path, held: ExitStack) -> Place:
    origin = held.enter_context(served())
    text = "url,title\n" + "".join(f"{n},A\n" for n in PHOTOS)
    origin.answers["/photos"] = Answer(text.encode(), headers={"Content-Type": "text/csv"})
    return place(origin, "/photos")


PLACES = {
    "gallery with lightbox": lightbox,
    "gallery of many pages": pages,
    "gallery with a page a photo": details,
    "gallery with signed addresses": signed,
    "sitemap": sitemap,
    "list without suffix": a_list_without_suffix,
}
