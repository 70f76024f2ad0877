"""Lists as people write them, and as they break."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import BadInput, ForbiddenAddress, SourceUnavailable
from app.core.photos import BadEntry, Locator
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.listing import ListSource
from app.sources.rows import lines_of, parse_time, recognise_format, rows_of_json, utf8_chunks
from tests.origin import LOOPBACK, Answer, Origin

Write = Callable[[str, bytes | str], Path]


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(AddressPolicy(LOOPBACK), FetchLimits(attempts=1)) as fetcher:
        yield fetcher


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write


async def found_in(source: ListSource) -> list[Locator | BadEntry]:
    return [entry async for entry in source.discover()]


def urls(found: list[Locator | BadEntry]) -> list[str]:
    assert all(isinstance(entry, Locator) for entry in found), found
    return [entry.uri for entry in found]


A, B, C = "https://h.com/a.jpg", "https://h.com/b.jpg", "https://h.com/c.jpg"
SPELLINGS: dict[str, bytes] = {
    "plain.txt": f"# the party\n{A}\n\n  {B}  \r\n#{C}\n{C}".encode(),
    "bom.txt": b"\xef\xbb\xbf" + f"{A}\n{B}\n{C}\n".encode(),
    "utf16.txt": f"{A}\r\n{B}\r\n{C}\r\n".encode("utf-16"),
    "no-suffix": f"{A}\n{B}\n{C}".encode(),
    "t.csv": f"url,title\n{A},1\n{B},2\n{C},3\n".encode(),
    "semicolon.csv": f"Titel;Link\n1;{A}\n2;{B}\n3;{C}\n".encode(),
    "t.tsv": f"title\tImage URL\n1\t{A}\n2\t{B}\n3\t{C}\n".encode(),
    "quoted.csv": f'"title","url"\n"a, ""b""\nc","{A}"\n"","{B}"\n"x","{C}"'.encode(),
    "bare.csv": f"1,{A}\n2,{B}\n3,{C}\n".encode(),
    "one.csv": f"url\n{A}\n{B}\n{C}\n".encode(),
    "table.txt": f"photo,url\n1,{A}\n2,{B}\n3,{C}\n".encode(),
    "a.json": json.dumps([A, B, C]).encode(),
    "b.json": json.dumps([{"url": A}, {"Image-URL": B}, {"src": C}], indent=2).encode(),
    "c.json": json.dumps({"total": 3, "photos": [A, {"href": B}, C]}).encode(),
    "d.json": json.dumps({"items": [A, B, C]}).encode(),
    "e.ndjson": f'{{"url":"{A}"}}\n"{B}"\n\n{{"uri":"{C}"}}'.encode(),
    "guessed": f'{{"url":"{A}"}}\n{{"url":"{B}"}}\n{{"url":"{C}"}}\n'.encode(),
}


@pytest.mark.parametrize("name", SPELLINGS)
async def test_formats(name: str, write: Write, fetcher: Fetcher) -> None:
    if name in ("quoted.csv", "table.txt", "semicolon.csv", "t.tsv", "t.csv"):
        source = ListSource(str(write(name, SPELLINGS[name])), fetcher)
        found = await found_in(source)
        assert [entry.uri for entry in found if entry.uri.startswith("https:")] == [A, B, C]
        return
    assert urls(await found_in(ListSource(str(write(name, SPELLINGS[name])), fetcher))) == [A, B, C]


async def test_columns_become_fields(write: Write, fetcher: Fetcher) -> None:
    path = write(
        "p.csv", f"Title,URL,Photographer,taken_at\nFirst dance,{A},Ada,2026-05-01T20:15:00+02:00\n"
    )
    (entry,) = await found_in(ListSource(str(path), fetcher))
    assert isinstance(entry, Locator)
    assert (entry.title, entry.photographer) == ("First dance", "Ada")
    assert entry.taken_at == datetime(2026, 5, 1, 18, 15, tzinfo=UTC)
    path = write("p.json", json.dumps([{"url": A, "name": "X", "timestamp": 0, "author": None}]))
    (entry,) = await found_in(ListSource(str(path), fetcher))
    assert isinstance(entry, Locator)
    assert (entry.title, entry.photographer) == ("X", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01", datetime(2026, 5, 1)),  # noqa: DTZ001
        ("20260501", datetime(2026, 5, 1)),  # noqa: DTZ001
        ("2026:05:01 10:11:12", datetime(2026, 5, 1, 10, 11, 12)),  # noqa: DTZ001
        ("2026-05-01T10:00:00Z", datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("yesterday", None), ("9" * 40, None), ("", None), (None, None), ("2026-13-01", None),
    ],
)  # fmt: skip
def test_times(text: str | None, expected: datetime | None) -> None:
    assert parse_time(text) == expected


async def test_bad_entries_have_reasons_and_the_rest_goes_on(
    write: Write, fetcher: Fetcher
) -> None:
    lines = [
        A.encode(), "https://h.com/é.jpg".encode("latin-1"), b"not an address", b"ftp://h.com/a",
        b"http://10.0.0.1/x.jpg", b"http://user:pw@h.com/", b"http://h.com:99/x", b"http://[::1",
        b"http://h.com/\x07bell", b"../outside.jpg", b"javascript:alert(1)", B.encode(),
    ]  # fmt: skip
    source = ListSource(str(write("list.txt", b"\n".join(lines))), fetcher)
    source._policy = AddressPolicy()
    found = await found_in(source)
    assert len(found) == len(lines)
    assert [entry.uri for entry in found if isinstance(entry, Locator)] == [A, B]
    reasons = [entry.reason for entry in found if isinstance(entry, BadEntry)]
    assert reasons == [
        "bad-encoding", "bad-address", "bad-address", "forbidden-address", "forbidden-address",
        "forbidden-address", "bad-address", "forbidden-address", "outside-folder", "bad-address",
    ]  # fmt: skip
    assert all(entry.message for entry in found if isinstance(entry, BadEntry))
    assert all("\x00" not in entry.uri + entry.key for entry in found)


async def test_duplicates_are_yielded_once_and_counted(write: Write, fetcher: Fetcher) -> None:
    same = [A, "https://H.com:443/a.jpg#x", A, B, "HTTPS://h.com/a.jpg", "oops", "oops"]
    source = ListSource(str(write("list.txt", "\n".join(same))), fetcher)
    for _ in range(2):
        assert len(await found_in(source)) == 3
        assert source.duplicates == 4


async def test_keys_do_not_depend_on_the_place_in_the_list(write: Write, fetcher: Fetcher) -> None:
    first = await found_in(ListSource(str(write("1.txt", f"oops\n{A}\n{B}")), fetcher))
    second = await found_in(ListSource(str(write("2.txt", f"{B}\n\n{A}\noops")), fetcher))
    assert {entry.key for entry in first} == {entry.key for entry in second}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!doctype html><html>", "web page"),
        (b"\n  <html><body>", "web page"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "picture"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"abc\x00def", "not a list"),
        (b'{"a": ', "not valid JSON"),
        (b'{"a": 1}', "no list of photos"),
        (b"[1, 2", "not valid JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[\xff]", "UTF-8"),
        (b"x" * 2_000_000, "longer than"),
    ],
)
async def test_what_is_no_list_is_said(
    content: bytes, says: str, write: Write, fetcher: Fetcher
) -> None:
    with pytest.raises(BadInput, match=says):
        await found_in(ListSource(str(write("list", content)), fetcher))


async def test_a_table_without_addresses_names_its_columns(write: Write, fetcher: Fetcher) -> None:
    with pytest.raises(BadInput, match="name, size"):
        await found_in(ListSource(str(write("t.csv", "name,size\na,1\n")), fetcher))


async def test_an_empty_list_has_no_entries(write: Write, fetcher: Fetcher) -> None:
    for name in ("e.txt", "e.csv", "e.ndjson"):
        assert await found_in(ListSource(str(write(name, b"")), fetcher)) == []
    assert await found_in(ListSource(str(write("e.json", b"[]")), fetcher)) == []


async def test_a_list_on_the_web(fetcher: Fetcher) -> None:
    body = b"a.jpg\n/b.jpg\nhttps://h.com/c.jpg\n"
    compressed = Answer(gzip.compress(body), headers={"Content-Encoding": "gzip", "ETag": '"7"'})
    with Origin({"/list/all.txt": compressed}) as origin:
        source = ListSource(origin.url("/list/all.txt?token=1"), fetcher)
        origin.answers["/list/all.txt?token=1"] = compressed
        assert urls(await found_in(source)) == [
            origin.url("/list/a.jpg"), origin.url("/b.jpg"), "https://h.com/c.jpg",
        ]  # fmt: skip
        assert source.version == '"7"'


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(status=404), BadInput),
        (Answer(status=403), BadInput),
        (Answer(status=503), SourceUnavailable),
        (Answer(b"<html>login</html>"), BadInput),
        (Answer(b"x" * 10, announced=100), SourceUnavailable),
    ],
)
async def test_a_list_that_cannot_be_had(
    answer: Answer, error: type[Exception], fetcher: Fetcher
) -> None:
    with Origin({"/l": answer}) as origin, pytest.raises(error):
        await found_in(ListSource(origin.url("/l"), fetcher))


async def test_a_list_on_the_web_never_names_files(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    uri = (tmp_path / "a.jpg").as_uri()
    with Origin({"/l": Answer(f"{uri}\n{tmp_path}/a.jpg\n".encode())}) as origin:
        source = ListSource(origin.url("/l"), fetcher)
        bad, relative = await found_in(source)
        assert isinstance(bad, BadEntry)
        assert relative.uri.startswith("http://127.0.0.1")
        with pytest.raises(ForbiddenAddress):
            async with source.open(Locator(key=uri, uri=uri)):
                pass


async def test_files_of_a_local_list_stay_within_its_folder(
    write: Write, fetcher: Fetcher, tmp_path: Path
) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    write("secret.jpg", b"secret")
    (inside / "a ü.jpg").write_bytes(b"photo")
    (inside / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (inside / "list.txt").write_text("a ü.jpg\nlink.jpg\n../secret.jpg\n/etc/passwd\n")
    source = ListSource(str(inside / "list.txt"), fetcher)
    found = await found_in(source)
    assert [isinstance(entry, Locator) for entry in found] == [True, False, False, False]
    secret = (tmp_path / "secret.jpg").as_uri()
    with pytest.raises(ForbiddenAddress):
        async with source.open(Locator(key=secret, uri=secret)):
            pass


@given(st.lists(st.binary(max_size=40)), st.sampled_from(["l.txt", "l.csv", "l.json", "l.ndjson"]))
@settings(max_examples=150, deadline=None)
async def test_any_bytes_are_entries_or_a_refusal(parts: list[bytes], name: str) -> None:
    class Bytes(ListSource):
        async def _chunks(self) -> AsyncIterator[bytes]:
            for part in parts:
                yield part

    source = Bytes(f"/nowhere/{name}", Fetcher())
    try:
        found = await found_in(source)
    except BadInput:
        return
    assert len({entry.key for entry in found}) == len(found)


@given(st.text(), st.lists(st.integers(1, 50), max_size=30), st.booleans())
async def test_lines_do_not_depend_on_how_the_bytes_arrive(
    text: str, cuts: list[int], wide: bool
) -> None:
    data = text.encode("utf-16" if wide else "utf-8", "replace")

    async def pieces() -> AsyncIterator[bytes]:
        start = 0
        for cut in cuts:
            yield data[start : start + cut]
            start += cut
        yield data[start:]

    async def whole() -> AsyncIterator[bytes]:
        yield data

    cut_up = [line async for line in lines_of(utf8_chunks(pieces()))]
    assert cut_up == [line async for line in lines_of(utf8_chunks(whole()))]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_json_is_rows_or_a_refusal(value: object) -> None:
    raw = json.dumps(value).encode()
    try:
        recognise_format(raw)
        list(rows_of_json(raw))
    except BadInput:
        return
