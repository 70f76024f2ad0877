"""The fetcher against an origin that misbehaves."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.core.errors import PhotoRejected, SourceUnavailable
from app.sources.addresses import AddressPolicy
from app.sources.hosts import LONGEST_PAUSE, HostGate, retry_after
from app.sources.http import Fetcher, FetchLimits
from app.sources.memory import read_photo
from tests.origin import LOOPBACK, Answer, Origin

POLICY = AddressPolicy(LOOPBACK)
QUICK = FetchLimits(
    first_backoff_seconds=0.001, rate_window_seconds=0.2, total_seconds=1.0, connect_seconds=1.0
)


async def fetched(url: str, limits: FetchLimits = QUICK, limit: int = 1_000_000) -> bytes:
    async with Fetcher(POLICY, limits) as fetcher, fetcher.open(url) as stream:
        return await read_photo(stream, limit)


async def failure(answer: Answer, limits: FetchLimits = QUICK) -> PhotoRejected | SourceUnavailable:
    with (
        Origin({"/": answer}) as origin,
        pytest.raises((PhotoRejected, SourceUnavailable)) as caught,
    ):
        await fetched(origin.url("/"), limits)
    return caught.value  # type: ignore[return-value]


async def test_bytes_version_and_size_arrive() -> None:
    answer = Answer(
        b"photo" * 1000, headers={"ETag": '"v1"'}, then=Answer(headers={"ETag": '"v2"'})
    )
    with Origin({"/": answer}) as origin:
        async with Fetcher(POLICY, QUICK) as fetcher:
            async with fetcher.open(origin.url("/")) as stream:
                assert (stream.version, stream.size) == ('"v1"', 5000)
                assert await read_photo(stream, 5000) == b"photo" * 1000
            async with fetcher.open(origin.url("/")) as stream:
                assert stream.version == '"v2"'


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "unauthorised"), (403, "forbidden"), (404, "not-found"), (410, "gone"),
     (451, "blocked"), (418, "http-418"), (206, "http-206"), (204, "http-204")],
)  # fmt: skip
async def test_lasting_refusals(status: int, reason: str) -> None:
    error = await failure(Answer(status=status))
    assert isinstance(error, PhotoRejected)
    assert error.reason == reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [(429, "rate-limited"), (500, "server-error"), (502, "server-error"), (503, "server-error"),
     (408, "server-error")],
)  # fmt: skip
async def test_passing_faults_are_tried_three_times(status: int, reason: str) -> None:
    with Origin({"/": Answer(status=status)}) as origin:
        with pytest.raises(SourceUnavailable) as caught:
            await fetched(origin.url("/"))
        assert origin.requests["/"] == 3
    assert caught.value.reason == reason


async def test_a_fault_that_passes_is_not_noticed() -> None:
    with Origin({"/": Answer(status=503, then=Answer(status=500, then=Answer(b"ok")))}) as origin:
        assert await fetched(origin.url("/")) == b"ok"


async def test_a_long_retry_after_is_left_to_the_ledger_and_spares_the_host() -> None:
    answers = {"/a": Answer(status=429, headers={"Retry-After": "120"}), "/b": Answer(b"x")}
    with Origin(answers) as origin:
        async with Fetcher(POLICY, QUICK) as fetcher:
            for path in ("/a", "/b"):
                with pytest.raises(SourceUnavailable) as caught:
                    async with fetcher.open(origin.url(path)):
                        pass
                # The photo itself waits as told; the host's others are asked again much sooner.
                told = 120 if path == "/a" else LONGEST_PAUSE
                assert caught.value.after == pytest.approx(told, abs=5)
        assert origin.requests == {"/a": 1}


async def test_a_retry_after_of_zero_is_tried_at_once() -> None:
    busy = Answer(status=503, headers={"Retry-After": "0"}, then=Answer(b"ok"))
    with Origin({"/": busy}) as origin:
        assert await fetched(origin.url("/")) == b"ok"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0), ("7", 7), (" 30 ", 30), ("999999999999", 3600), ("-1", None), ("soon", None),
     ("", None), (None, None), ("1.5", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
     ("Wed, 99 Oct 2015", None), ("²", None)],
)  # fmt: skip
def test_retry_after_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    text = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after(text) == pytest.approx(90, abs=5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"x" * 500, announced=1000), "truncated"),
        (Answer(b"x" * 1000, cut=10), "truncated"),
        (Answer(b"x" * 1000, drip=(1, 0.05)), "too-slow"),
        (Answer(b"x", delay=5), "timeout"),
    ],
    ids=["less than announced", "cut", "dripping", "silent"],
)
async def test_what_breaks_off_may_be_tried_again(answer: Answer, reason: str) -> None:
    error = await failure(answer)
    assert isinstance(error, SourceUnavailable)
    assert error.reason == reason


async def test_a_slow_but_steady_origin_is_fine_until_the_total_time() -> None:
    steady = Answer(b"x" * 4000, drip=(500, 0.05))
    with Origin({"/": steady}) as origin:
        assert len(await fetched(origin.url("/"))) == 4000
    error = await failure(Answer(b"x" * 100_000, drip=(500, 0.05)))
    assert error.reason == "timeout"


async def test_nobody_listens() -> None:
    with Origin() as origin:
        url = origin.url("/")
    with pytest.raises(SourceUnavailable) as caught:
        await fetched(url)
    assert caught.value.reason == "unreachable"


async def test_a_name_without_address() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async with Fetcher(POLICY, QUICK, resolve=resolve) as fetcher:
        with pytest.raises(SourceUnavailable) as caught:
            async with fetcher.open("http://nowhere.example/"):
                pass
    assert caught.value.reason == "no-such-host"


@pytest.mark.parametrize("announced", [True, False])
async def test_too_many_bytes(announced: bool) -> None:
    limits = FetchLimits(max_bytes=1000)
    body = b"x" * 5000
    compressed = Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})
    error = await failure(Answer(body) if announced else compressed, limits)
    assert error.reason == "too-large"


async def test_a_compressed_body_arrives_whole() -> None:
    body = bytes(range(256)) * 500
    answer = Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})
    with Origin({"/": answer}) as origin:
        assert await fetched(origin.url("/")) == body


@pytest.mark.parametrize(
    ("encoding", "reason"), [("gzip", "bad-encoding"), ("snappy", "unsupported-encoding")]
)
async def test_unreadable_encodings(encoding: str, reason: str) -> None:
    error = await failure(Answer(b"not compressed" * 20, headers={"Content-Encoding": encoding}))
    assert isinstance(error, PhotoRejected)
    assert error.reason == reason


async def test_an_empty_photo_is_rejected() -> None:
    assert (await failure(Answer(b""))).reason == "empty"


async def test_at_most_so_many_requests_at_once_for_a_host() -> None:
    limits = FetchLimits(concurrency=20, per_host=3)
    with Origin({f"/{n}": Answer(b"x", delay=0.02) for n in range(20)}) as origin:
        async with Fetcher(POLICY, limits) as fetcher:

            async def one(n: int) -> None:
                async with fetcher.open(origin.url(f"/{n}")) as stream:
                    await read_photo(stream, 10)

            await asyncio.gather(*(one(n) for n in range(20)))
        assert origin.most_at_once == 3


async def test_a_reader_that_stops_early_frees_its_slot() -> None:
    limits = FetchLimits(concurrency=1, per_host=1)
    with Origin({"/": Answer(b"x" * 5_000_000)}) as origin:
        async with Fetcher(POLICY, limits) as fetcher:
            for _ in range(3):
                async with fetcher.open(origin.url("/")) as stream:
                    async for _chunk in stream.chunks():
                        break
        assert origin.requests["/"] == 3


async def test_the_gate_forgets_hosts_that_nobody_uses() -> None:
    gate = HostGate(4, 2)
    for n in range(3000):
        async with gate.slot(f"http://host-{n}"):
            pass
    assert len(gate._hosts) <= 1025
    gate.postpone("http://host-1", 60)
    assert LONGEST_PAUSE - 10 < gate.wait_left("http://host-1") <= LONGEST_PAUSE
