"""The egress proxy: which requests it takes, and its bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import BaseError

from app.core.errors import PhotoRejected, SourceUnavailable
from app.sources.addresses import AddressPolicy, parse_url
from app.sources.egress import EgressProxy
from app.sources.egress_heads import Refused, RequestHead
from app.sources.http import Fetcher, FetchLimits
from app.sources.kinds import SourceTools
from tests.origin import LOOPBACK, Answer, Listener, Origin
from tests.sources.lanes import HEADERS, authorised, got, open_lane, said, status_of, store

ONLY_ONE = [ip_network("127.0.0.1/32")]


@pytest.fixture
def forbidden() -> Iterator[Listener]:
    """A listening port of this machine that nobody may reach."""
    with Listener("127.0.0.2") as listener:
        yield listener


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET https://127.0.0.1/ HTTP/1.1\r\n",
        b"GET ftp://127.0.0.1/ HTTP/1.1\r\n",
        b"GET http:///x HTTP/1.1\r\n",
        b"GET http://a@127.0.0.1/ HTTP/1.1\r\n",
        b"GET http://127.0.0.1\\@x/ HTTP/1.1\r\n",
        b"GET http://127.0.0.1/ HTTP/1.0\r\n",
        b"GET http://127.0.0.1/ x HTTP/1.1\r\n",
        b"GET  http://127.0.0.1/ HTTP/1.1\r\n",
        b"GET http://127.0.0.1/\tx HTTP/1.1\r\n",
        b"get http://127.0.0.1/ HTTP/1.1\r\n",
        b"POST http://127.0.0.1/ HTTP/1.1\r\n",
        b"PUT http://127.0.0.1/ HTTP/1.1\r\n",
        b"DELETE http://127.0.0.1/ HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nContent-Length: 3\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 9\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\n folded: x\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nA: b\nC: d\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nno colon\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nA : b\r\n",
        b"CONNECT http://127.0.0.1/ HTTP/1.1\r\n",
        b"CONNECT 127.0.0.1:80/x HTTP/1.1\r\n",
        b"CONNECT 127.0.0.1:80?x HTTP/1.1\r\n",
        b"CONNECT a@127.0.0.1:80 HTTP/1.1\r\n",
        b"CONNECT 127.0.0.1:0 HTTP/1.1\r\n",
        b"CONNECT 127.0.0.1:99999 HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\n" + b"A: " + b"x" * 40_000 + b"\r\n",
        b"x" * 100_000,
    ],
)
async def test_anything_else_is_refused_without_a_connection(data: bytes) -> None:
    dialled: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        dialled.append(host)
        return ["127.0.0.1"]

    async with EgressProxy(AddressPolicy(LOOPBACK), resolve) as proxy:
        lane = open_lane(proxy)
        answer = await said(lane, data + authorised(lane) + b"\r\n")
        assert answer[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 403 ", b"HTTP/1.1 431 ") or (
            answer == b"" and len(data) > 30_000  # reset before it read all
        )
    assert not dialled


async def test_a_connection_stays_with_its_origin_and_lane(forbidden: Listener) -> None:
    with Origin({"/1": Answer(b"one"), "/2": Answer(b"two")}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane, other = open_lane(proxy), open_lane(proxy)
            first = b"GET " + origin.url("/1").encode() + b" HTTP/1.1\r\n" + authorised(lane)
            same = b"GET " + origin.url("/2").encode() + b" HTTP/1.1\r\n" + authorised(lane)
            for second in (
                f"GET http://127.0.0.2:{forbidden.port}/ HTTP/1.1\r\n".encode() + authorised(lane),
                b"GET " + origin.url("/2").encode() + b" HTTP/1.1\r\n" + authorised(other),
                b"GET " + origin.url("/2").encode() + b" HTTP/1.1\r\n",
                b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n" + authorised(lane),
                b"nonsense\r\n",
            ):
                origin.requests.clear()
                answer = await said(lane, first + b"\r\n" + same + b"\r\n" + second + b"\r\n")
                assert b" 403 " in answer or b" 407 " in answer or b" 400 " in answer
                assert not set(origin.requests) - {"/1", "/2"}
    assert forbidden.accepted == 0


async def test_headers_between_two_ends_are_not_passed_on() -> None:
    more = b"Connection: x-mine, close\r\nX-Mine: 1\r\nProxy-Connection: y\r\nX-Amz-Date: 2\r\n"
    with Origin({"/a": Answer(b"one", headers={"Connection": "close"})}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane = open_lane(proxy)
            assert await status_of(lane, f"GET {origin.url('/a')}", more) == 200
        _, headers = origin.seen[0]
        assert headers == {"Host": f"127.0.0.1:{origin.port}", "x-amz-date": "2"}


@given(st.binary(max_size=300))
def test_no_head_breaks_the_parser(data: bytes) -> None:
    with contextlib.suppress(Refused, PhotoRejected):
        head = RequestHead.parse(data)
        head.secret()
        head.for_origin(head.address())


@given(st.text(max_size=60), st.sampled_from(["GET", "HEAD", "CONNECT"]))
def test_a_head_is_passed_on_as_one_request(rest: str, method: str) -> None:
    target = f"h.example:80{rest}" if method == "CONNECT" else f"http://h.example/{rest}"
    with contextlib.suppress(Refused, PhotoRejected):
        head = RequestHead.parse(f"{method} {target} HTTP/1.1\r\nA: {rest}".encode())
        passed_on = head.for_origin(head.address())
        assert passed_on.count(b"\r\n\r\n") == 1
        assert passed_on.endswith(b"\r\n\r\n")
        assert b"\n" not in passed_on.replace(b"\r\n", b"")


# Bounds


async def test_an_answer_has_an_end() -> None:
    endless = Answer(b"x" * 3_000_000, headers=HEADERS)
    with Origin(
        {"/photos/a.jpg": endless, "/photos/b.jpg": Answer(b"x", headers=HEADERS)}
    ) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane = proxy.lane([parse_url(origin.url("/"))], 1_000_000)
            opened = store(origin.url(""), lane)
            with pytest.raises(BaseError):
                await got(opened)
            assert lane.overrun
            # It counts from request to request, not over the life of a connection.
            assert await got(opened, "b.jpg") == b"x"


async def test_many_large_answers_are_within_the_bound_of_one() -> None:
    with Origin({"/photos/a.jpg": Answer(b"x" * 900_000, headers=HEADERS)}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane = proxy.lane([parse_url(origin.url("/"))], 1_000_000)
            opened = store(origin.url(""), lane)
            for _ in range(5):
                assert len(await got(opened)) == 900_000
            assert len(proxy.clients) < 5, "connections were kept, and carried more than one"


@pytest.mark.parametrize("method", ["CONNECT 127.0.0.1:{}", "GET http://127.0.0.1:{}/"])
async def test_nobody_listens(method: str) -> None:
    with Origin() as origin:
        port = origin.port
    async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
        lane = open_lane(proxy)
        assert await status_of(lane, method.format(port)) == 502
        assert isinstance(lane.fault, SourceUnavailable)
        assert lane.fault.reason == "unreachable"


@pytest.mark.parametrize("error", [OSError("no"), UnicodeError("label too long")])
async def test_a_name_without_address(error: Exception) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise error

    async with EgressProxy(AddressPolicy(), resolve) as proxy:
        lane = open_lane(proxy)
        assert await status_of(lane, "CONNECT nowhere.example:443") == 502
        assert lane.fault is not None
        assert lane.fault.reason == "no-such-host"


async def test_connecting_is_bounded() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with EgressProxy(AddressPolicy(), resolve, connect_seconds=0.05) as proxy:
        lane = open_lane(proxy)
        assert await status_of(lane, "CONNECT slow.example:443") == 504
        assert lane.fault is not None
        assert lane.fault.reason == "timeout"


async def test_a_connection_on_which_nothing_moves_is_closed() -> None:
    with Origin({"/": Answer(b"x", delay=30)}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK), idle_seconds=0.05) as proxy:
            lane = open_lane(proxy)
            request = b"GET " + origin.url("/").encode() + b" HTTP/1.1\r\n" + authorised(lane)
            assert await said(lane, request + b"\r\n") == b""


async def test_an_end_that_goes_takes_the_other_with_it() -> None:
    with Origin({"/": Answer(b"x" * 1000, cut=10)}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane = open_lane(proxy)
            request = b"GET " + origin.url("/").encode() + b" HTTP/1.1\r\n" + authorised(lane)
            assert (await said(lane, request + b"\r\n")).endswith(b"\r\n\r\n" + b"x" * 10)
            gone = [client for client in proxy.clients if not client.transport.is_closing()]
            assert not gone


async def test_stopping_closes_everything() -> None:
    with Origin({"/": Answer(b"x", delay=30)}) as origin:
        proxy = EgressProxy(AddressPolicy(LOOPBACK))
        await proxy.__aenter__()
        lane = open_lane(proxy)
        request = b"GET " + origin.url("/").encode() + b" HTTP/1.1\r\n" + authorised(lane)
        waiting = asyncio.create_task(said(lane, request + b"\r\n"))
        while not origin.requests:
            await asyncio.sleep(0)
        await proxy.__aexit__()
        assert await waiting == b""
        with pytest.raises(OSError):  # noqa: PT011
            await said(lane, b"")


async def test_a_slow_reader_slows_the_origin_down() -> None:
    """What can't be passed on stays with the origin, not in this process."""
    limits = FetchLimits()
    with Origin({"/": Answer(b"x" * 30_000_000)}) as origin:
        async with EgressProxy(AddressPolicy(LOOPBACK)) as proxy:
            lane = open_lane(proxy, limits.max_bytes)
            parts = urlsplit(lane.url)
            reader, writer = await asyncio.open_connection("127.0.0.1", parts.port, limit=1000)
            url = origin.url("/").encode()
            writer.write(b"GET " + url + b" HTTP/1.1\r\n" + authorised(lane) + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            (client,) = proxy.clients
            total = most = 0
            while total < 30_000_000:
                total += len(await reader.read(100_000))
                most = max(most, client.transport.get_write_buffer_size())
            assert most < 2_000_000
            writer.close()


async def test_sources_share_one_that_starts_when_it_is_needed() -> None:
    async with Fetcher(AddressPolicy(LOOPBACK)) as fetcher:
        async with SourceTools(fetcher) as tools:
            first, second = await asyncio.gather(tools.egress(), tools.egress())
            assert first is second
            lane = open_lane(first)
            assert (await said(lane, b"x\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        with pytest.raises(OSError):  # noqa: PT011
            await said(lane, b"x\r\n\r\n")
