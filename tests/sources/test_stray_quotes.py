"""A quote in the wrong place costs nothing but itself."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.sources.rows import Row, _open_quote, _records, rows_of_table


async def lines_of(data: bytes):
    for line in data.split(b"\n"):
        yield line


async def records(data: bytes) -> list[bytes]:
    return [record async for record in _records(lines_of(data))]


async def rows(*lines: str):
    return [row async for row in rows_of_table(lines_of("\n".join(lines).encode()))]


async def titled(*lines: str) -> dict[str, str | None]:
    found = await rows(*lines)
    assert all(isinstance(row, Row) for row in found), found
    return {row.address: row.title for row in found}


async def test_a_quote_inside_a_cell_is_a_letter():
    data = b'url,title\nhttp://h/1.jpg,The 6" cake\nhttp://h/2.jpg,The 6"" cake\nhttp://h/3.jpg,c'
    assert await records(data) == data.split(b"\n")


async def test_a_quoted_cell_may_hold_line_breaks():
    data = b'url,title\nhttp://h/1.jpg,"two\nlines, and ""more"""\nhttp://h/2.jpg,b'
    found = await records(data)
    assert len(found) == 3
    assert found[1].count(b"\n") == 1


async def test_a_quote_that_is_never_closed_swallows_no_rows():
    rows = [b"http://h/%d.jpg,x" % n for n in range(60)]
    data = b"\n".join([b"url,title", b'http://h/a.jpg,"open', *rows])
    assert await records(data) == data.split(b"\n")


async def test_two_quotes_that_are_never_closed_swallow_nothing_between_them():
    lines = [f"http://h/{n}.jpg,Photo {n}" for n in range(1, 13)]
    for n in (1, 9):
        lines[n - 1] = f'http://h/{n}.jpg,"Best day, said Bob'
    found = await titled("url,title", *lines)
    assert len(found) == 12
    assert found["http://h/1.jpg"] == found["http://h/9.jpg"] == "Best day, said Bob"
    assert found["http://h/2.jpg"] == "Photo 2"
    without_header = await rows(*lines)
    assert [row.address for row in without_header] == list(found)


async def test_nor_where_the_title_comes_first_or_addresses_are_names():
    found = await titled(
        "title,by,file", '"Best day, said Bob,Ann,a 1.jpg', "Cake,Ann,b.jpg", '"Oh,Ann,c.jpg'
    )
    assert found == {"a 1.jpg": "Best day, said Bob", "b.jpg": "Cake", "c.jpg": "Oh"}
    found = await titled('url,"title', '/1,"Best', "/2,Cake", '/3,The 6"', '"/4","End"')
    assert found == {"/1": "Best", "/2": "Cake", "/3": 'The 6"', "/4": "End"}


@pytest.mark.parametrize(
    "title",
    [
        "two\nlines",
        "see https://example.org/a.jpg\nand, here, https://example.org too",
        "this is ours:\nhttps://example.org\n\nGo, and look",
        "all, photos of\nhttps://example.org are ours",
        'she said ""yes""\nand, ""so did"", he',
        "\n".join("a line" for _ in range(20)),
    ],
)
async def test_a_quoted_title_of_several_lines_may_mention_addresses(title):
    said = title.replace('""', '"')
    first, second = "https://h/1", "https://h/2"
    after = await titled("url,title,by", f'{first},"{title}",Ann', f"{second},b,Ann")
    assert after == {first: said, second: "b"}
    before = await titled("title,by,url", f'"{title}",Ann,{first}', f"b,Ann,{second}")
    assert before == {first: said, second: "b"}


HEADS = {
    "url,title": "{url},{title}",
    "title,url": "{title},{url}",
    "time;url;title": "2026-07-14;{url};{title}",
    "title\tauthor\tlink": "{title}\tAnn\t{url}",
    "": "Ann,{url},{title}",
}
# No other delimiters: without a header the first row is all that tells which one it is.
TITLES = st.text('ab "",', max_size=8) | st.sampled_from(['"Best day, said Bob', 'Oh"', '"'])


@given(st.sampled_from(sorted(HEADS)), st.lists(TITLES, min_size=1, max_size=25))
@example("title,url", ['"a', 'a, b"'])
@example("title,url", ['"a', '"two', 'lines"'])
@example("title,url", ['"', ',"""'])
async def test_no_quote_makes_a_list_shorter(head, titles):
    lines = [HEADS[head].format(url=f"http://h/{n}.jpg", title=t) for n, t in enumerate(titles)]
    found = await rows(*([head] if head else []), *lines)
    assert len(found) == len(titles)


@given(
    st.sampled_from(["url,title", "title,url"]),
    st.lists(st.text('ab ",;\n', max_size=12), min_size=1, max_size=12),
)
async def test_what_a_spreadsheet_writes_is_read_as_it_is(head, titles):
    written = io.StringIO()
    writer = csv.DictWriter(written, head.split(","), lineterminator="\n")
    writer.writeheader()
    for n, title in enumerate(titles):
        writer.writerow({"url": f"http://h/{n}.jpg", "title": f"x{title}x"})
    found = await titled(*written.getvalue().split("\n"))
    assert found == {f"http://h/{n}.jpg": f"x{title}x" for n, title in enumerate(titles)}


@given(st.lists(st.text('ab,"\n', max_size=12), max_size=30))
async def test_nothing_is_ever_lost(lines):
    data = "\n".join(lines).encode()
    assert b"\n".join(await records(data)) == data


@pytest.mark.parametrize(
    ("record", "began"),
    [
        ('a,"b', 2),
        ('a,"b"', None),
        ('"a""', 0),
        ('"a","b', 4),
        ('a"b', None),
        ('a""b', None),
        (';"', None),
        ("", None),
    ],
)
def test_where_a_quote_is_open(record, began):
    assert _open_quote(record, ",") == began
