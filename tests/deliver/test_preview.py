"""Previews: one fetch for many who ask, bounded, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.core.errors import BadInput, NotAnImage, Overloaded
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.deliver.preview import Original, Previews


class SlowSource:
    """A source in memory whose originals arrive only when the test lets them."""

    kind = "test"

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.open_now = 0
        self.most_open = 0
        self.gate = asyncio.Event()

    async def discover(self) -> AsyncIterator[Locator | BadEntry]:
        return
        yield

    @asynccontextmanager
    async def open(self, locator: Locator) -> AsyncIterator[PhotoStream]:
        self.opened.append(locator.uri)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            yield Bytes(self.gate, locator.uri.encode())
        finally:
            self.open_now -= 1


class Bytes:
    version = None

    def __init__(self, gate: asyncio.Event, data: bytes) -> None:
        self.size: int | None = len(data)
        self._gate, self._data = gate, data

    async def chunks(self) -> AsyncIterator[bytes]:
        await self._gate.wait()
        yield self._data


async def shrink(data: bytes, size: int) -> bytes:
    if data == b"broken":
        raise NotAnImage("This is no picture.")
    return data + str(size).encode()


def original(uri: str) -> Original:
    return Original(1, "test", "source", uri, uri, None)


@pytest.fixture
async def source() -> SlowSource:
    return SlowSource()


def previews(source: SlowSource, **bounds: int) -> Previews:
    return Previews(lambda kind, uri: source, shrink, max_bytes=1000, **bounds)


async def test_all_who_ask_at_once_share_one_fetch(source: SlowSource) -> None:
    room = previews(source)
    asked = [asyncio.create_task(room.preview(original("a"), 1024)) for _ in range(10)]
    await asyncio.sleep(0)
    assert room.in_flight == 1
    source.gate.set()
    assert await asyncio.gather(*asked) == [b"a1024"] * 10
    assert source.opened == ["a"]
    assert room.in_flight == 0
    assert await room.preview(original("a"), 2048) == b"a2048"
    assert source.opened == ["a", "a"]  # nothing was stored


async def test_few_at_once_some_wait_and_the_rest_is_refused(source: SlowSource) -> None:
    room = previews(source, at_once=2, waiting=3)
    asked = [asyncio.create_task(room.preview(original(f"p{n}"), 1024)) for n in range(5)]
    while source.open_now < 2:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await room.preview(original("one too many"), 1024)
    source.gate.set()
    assert len(await asyncio.gather(*asked)) == 5
    assert source.most_open == 2
    assert await room.preview(original("later"), 1024) == b"later1024"


async def test_when_nobody_waits_any_more_the_fetch_ends(source: SlowSource) -> None:
    room = previews(source)
    one, two = (asyncio.create_task(room.preview(original("a"), 1024)) for _ in range(2))
    while not source.open_now:
        await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    assert room.in_flight == 1
    two.cancel()
    with pytest.raises(asyncio.CancelledError):
        await two
    assert room.in_flight == 0
    while source.open_now:
        await asyncio.sleep(0)
    source.gate.set()
    assert await room.preview(original("a"), 1024) == b"a1024"


async def test_a_failure_reaches_everybody_and_the_next_may_try(source: SlowSource) -> None:
    room = previews(source)
    source.gate.set()
    asked = [room.preview(original("broken"), 1024) for _ in range(3)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results] == [NotAnImage] * 3
    assert room.in_flight == 0


@pytest.mark.parametrize("size", [0, 1, 1023, 4096, -1])
async def test_only_the_enumerated_sizes(source: SlowSource, size: int) -> None:
    with pytest.raises(BadInput, match="1024, 2048"):
        await previews(source).preview(original("a"), size)
    assert not source.opened
