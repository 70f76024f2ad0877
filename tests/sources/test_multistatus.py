"""Listings of WebDAV servers, as written, as cut, and as an attacker writes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import PhotoRejected
from app.sources.multistatus import MultistatusReader, Resource, entity_tag
from tests.sources.dav_standin import multistatus


def read(data: bytes, step: int = 1 << 16) -> list[Resource]:
    reader = MultistatusReader()
    found: list[Resource] = []
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        found += reader.take()
    reader.close()
    return found + reader.take()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "laughs": lambda: (
        b'<!DOCTYPE m [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;">]>'
        b'<m:multistatus xmlns:m="DAV:"><m:response><m:href>&b;</m:href></m:response>'
        b"</m:multistatus>"
    ),
    "outside": lambda: (
        b'<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        b'<m:multistatus xmlns:m="DAV:"><m:response><m:href>&x;</m:href></m:response>'
        b"</m:multistatus>"
    ),
    "dtd": lambda: b'<!DOCTYPE m SYSTEM "http://127.0.0.1/x"><m:multistatus xmlns:m="DAV:"/>',
    "deep": lambda: b'<m:multistatus xmlns:m="DAV:">' + b"<a>" * 100_000,
    "long": lambda: (
        b'<m:multistatus xmlns:m="DAV:"><m:response><m:href>' + b"x" * 9000 + b"</m:href>"
    ),
    "other": lambda: b"<rss/>",
    "no namespace": lambda: b"<multistatus/>",
    "unknown encoding": lambda: b'<?xml version="1.0" encoding="klingon"?><multistatus/>',
    "multi-byte encoding": lambda: b'<?xml version="1.0" encoding="gb18030"?><multistatus/>',
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_listings_are_refused(name: str) -> None:
    with pytest.raises(PhotoRejected) as caught:
        read(HOSTILE[name]())
    assert caught.value.reason == "bad-listing"


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_a_listing_or_refused(data: bytes, step: int) -> None:
    reasons: set[str] = set()
    for whole in (data, b'<multistatus xmlns="DAV:"><response><href>' + data):
        try:
            assert isinstance(read(whole, step), list)
        except PhotoRejected as refused:
            reasons.add(refused.reason)
    assert reasons <= {"bad-listing"}


_TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30)


@given(
    st.lists(st.tuples(_TEXT.filter(str.strip), _TEXT, st.integers(0, 10**12), st.booleans())),
    st.integers(1, 200),
)
def test_what_is_written_is_read_however_it_is_cut(
    members: list[tuple[str, str, int, bool]], step: int
) -> None:
    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    listing = multistatus(
        *(
            (
                escaped(href),
                None if folder else {"getetag": escaped(tag), "getcontentlength": str(size)},
            )
            for href, tag, size, folder in members
        )
    )
    assert read(listing.encode(), step) == [
        Resource(href.strip(), True)
        if folder
        else Resource(href.strip(), False, entity_tag(tag), size)
        for href, tag, size, folder in members
    ]
