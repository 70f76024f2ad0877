"""What the time of a request is charged to."""

from __future__ import annotations

import asyncio

import pytest

from app.core.errors import SourceUnavailable
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.memory import read_photo
from tests.origin import LOOPBACK, Answer, Origin

POLICY = AddressPolicy(LOOPBACK)
SHORT = FetchLimits(
    first_backoff_seconds=0.001,
    total_seconds=0.3,
    rate_window_seconds=0.1,
    min_bytes_per_second=1000,
    per_host=1,
)
LARGE = b"x" * 8_000_000
"""More than sockets and buffers hold."""


async def test_a_reader_that_waits_for_room_is_no_fault_of_the_origin() -> None:
    with Origin({"/": Answer(LARGE)}) as origin:
        async with Fetcher(POLICY, SHORT) as fetcher, fetcher.open(origin.url("/")) as stream:
            await asyncio.sleep(0.8)  # longer than the whole request may take
            assert await read_photo(stream, len(LARGE)) == LARGE


async def test_a_reader_that_is_busy_between_pieces_gets_what_has_come() -> None:
    with Origin({"/": Answer(b"x" * 100_000)}) as origin:
        async with Fetcher(POLICY, SHORT) as fetcher, fetcher.open(origin.url("/")) as stream:
            total = 0
            async for chunk in stream.chunks():
                total += len(chunk)
                await asyncio.sleep(0.6)
            assert total == 100_000


async def test_an_origin_that_falls_silent_is_charged() -> None:
    with Origin({"/": Answer(LARGE, drip=(4_000_000, 5.0))}) as origin:
        async with Fetcher(POLICY, SHORT) as fetcher, fetcher.open(origin.url("/")) as stream:
            with pytest.raises(SourceUnavailable) as caught:
                await read_photo(stream, len(LARGE))
    assert caught.value.reason in ("too-slow", "timeout")


async def test_a_cancellation_is_not_taken_for_the_deadline() -> None:
    late = Answer(b"x", delay=5.0, then=Answer(b"ok"))
    with Origin({"/": late}) as origin:
        async with Fetcher(POLICY, SHORT) as fetcher:

            async def read() -> bytes:
                async with fetcher.open(origin.url("/")) as stream:
                    return await read_photo(stream, 10)

            reading = asyncio.create_task(read())
            while not origin.requests["/"]:
                await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await read() == b"ok"  # the host's only slot is free again
        assert not fetcher._clocks.running


async def test_the_task_goes_on_after_its_request_was_too_slow() -> None:
    with Origin({"/": Answer(b"x", delay=5.0)}) as origin:
        async with Fetcher(POLICY, SHORT) as fetcher:
            with pytest.raises(SourceUnavailable) as caught:
                async with fetcher.open(origin.url("/")):
                    pass
            assert caught.value.reason == "timeout"
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0)  # would raise, were a cancellation left over
        assert not fetcher._clocks.running
