"""A quote in the wrong place costs nothing but itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sources.rows import _inside_quotes, _records


async def lines_of(data: bytes):
    for line in data.split(b"\n"):
        yield line


async def records(data: bytes) -> list[bytes]:
    return [record async for record in _records(lines_of(data))]


async def test_a_quote_inside_a_cell_is_a_letter():
    data = b'url,title\nhttp://h/1.jpg,The 6" cake\nhttp://h/2.jpg,b\nhttp://h/3.jpg,c'
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


@given(st.lists(st.text('ab,"\n', max_size=12), max_size=30))
async def test_nothing_is_ever_lost(lines):
    data = "\n".join(lines).encode()
    assert b"\n".join(await records(data)) == data


@pytest.mark.parametrize(
    ("record", "inside"),
    [
        (b'a,"b', True),
        (b'a,"b"', False),
        (b'"a""', True),
        (b'a"b', False),
        (b'x;"', True),
        (b"", False),
    ],
)
def test_where_a_quote_is_open(record, inside):
    assert _inside_quotes(record) is inside
