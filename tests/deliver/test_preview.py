"""Previews: one fetch for many who ask, bounded, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from app.core.errors import BadInput, NotAnImage, Overloaded
from app.core.photos import BadEntry, Locator
from app.core.ports import PhotoStream
from app.core.sources import SourceSpec
from app.deliver.preview import Original, Previews


class SlowSource:
    """A source in memory whose originals arrive only when the test lets them."""

    kind = "test"
    revalidates = scales = False

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.open_now = 0
        self.most_open = 0
        self.gate = asyncio.Event()
        self.version: str | None = None

    async def discover(self) -> AsyncIterator[Locator | BadEntry]:
        return
        yield

    @asynccontextmanager
    async def open(
        self, locator: Locator, *, unless: str | None = None, long_side: int | None = None
    ) -> AsyncIterator[PhotoStream]:
        self.opened.append(locator.uri)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            yield Bytes(self.gate, locator.uri.encode(), self.version)
        finally:
            self.open_now -= 1


class Bytes:
    def __init__(self, gate: asyncio.Event, data: bytes, version: str | None) -> None:
        self.version = version
        self.size: int | None = len(data)
        self._gate, self._data = gate, data

    async def chunks(self) -> AsyncIterator[bytes]:
        await self._gate.wait()
        yield self._data


async def shrink(data: bytes, size: int) -> bytes:
    if data == b"broken":
        raise NotAnImage("This is no picture.")
    return data + str(size).encode()


def original(uri: str, version: str | None = None) -> Original:
    return Original(1, SourceSpec("test", "source"), uri, uri, version)


class Health(list[tuple[int, str | None]]):
    """What previews told of originals."""

    async def tell(self, photo_id: int, reason: str | None, message: str) -> None:
        self.append((photo_id, reason))


@pytest.fixture
async def source() -> SlowSource:
    return SlowSource()


def previews(source: SlowSource, health: Health | None = None, **bounds: int) -> Previews:
    tell = (Health() if health is None else health).tell
    return Previews(lambda spec: source, shrink, tell=tell, max_bytes=1000, **bounds)


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


@pytest.mark.parametrize(
    ("uri", "indexed", "now", "scales", "told"),
    [
        ("a", "1", "1", False, None),
        ("a", "1", "2", False, "changed"),
        ("a", "1", "2", True, None),  # another size has a version of its own
        ("a", None, "2", False, None),
        ("broken", "1", "1", False, "not-an-image"),
    ],
)
async def test_a_preview_tells_how_well_the_original_is(
    source: SlowSource, uri: str, indexed: str | None, now: str, scales: bool, told: str | None
) -> None:
    source.gate.set()
    source.version, source.scales = now, scales
    health = Health()
    with suppress(NotAnImage):
        await previews(source, health).preview(original(uri, indexed), 1024)
    assert health == [(1, told)]


@pytest.mark.parametrize("size", [0, 1, 1023, 4096, -1])
async def test_only_the_enumerated_sizes(source: SlowSource, size: int) -> None:
    with pytest.raises(BadInput, match="1024, 2048"):
        await previews(source).preview(original("a"), size)
    assert not source.opened
