"""No connection to a forbidden address, counted on the forbidden port itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network

import pytest

from app.core.errors import ForbiddenAddress, PhotoRejected, SourceUnavailable
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.networks import Address
from tests.origin import Answer, Listener, Origin, has_ipv6_loopback, redirect
from tests.sources.forms import HIDDEN_LOOPBACK

ONLY_ONE = [ip_network("127.0.0.1/32")]
QUICK = FetchLimits(attempts=1)


@pytest.fixture
def forbidden() -> Iterator[Listener]:
    """A listening port of this machine that nobody may reach."""
    with Listener("127.0.0.2") as listener:
        yield listener


async def refused(fetcher: Fetcher, url: str) -> PhotoRejected:
    with pytest.raises(PhotoRejected) as caught:
        async with fetcher.open(url):
            pass
    return caught.value


async def test_hundreds_of_forms_make_no_connection() -> None:
    assert len(HIDDEN_LOOPBACK) > 250
    with ExitStack() as held:
        hosts = ["127.0.0.1", "::1"] if has_ipv6_loopback() else ["127.0.0.1"]
        listeners = [held.enter_context(Listener(host)) for host in hosts]
        ports = [listener.port for listener in listeners]
        # The ports are open, so that only the address can be the reason.
        async with Fetcher(AddressPolicy(extra_ports=ports), QUICK) as fetcher:
            for form in HIDDEN_LOOPBACK:
                for port in ports:
                    error = await refused(fetcher, f"http://{form}:{port}/a.jpg")
                    assert error.reason in ("forbidden-address", "bad-address"), form
            for name in ("localhost", "LOCALHOST.", "localhost.localdomain", "ip6-localhost"):
                with pytest.raises((ForbiddenAddress, SourceUnavailable)):
                    async with fetcher.open(f"http://{name}:{ports[0]}/"):
                        pass
        assert [listener.accepted for listener in listeners] == [0] * len(listeners)


@pytest.mark.parametrize(
    "answer",
    ["127.0.0.2", "::ffff:127.0.0.2", "0.0.0.0", "::", "::1", "169.254.169.254", "fe80::1%lo", "x"],
)
async def test_a_name_that_leads_to_a_closed_address_is_refused(
    forbidden: Listener, answer: str
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [answer]

    policy = AddressPolicy(ONLY_ONE, [forbidden.port])
    async with Fetcher(policy, QUICK, resolve=resolve) as fetcher:
        error = await refused(fetcher, f"http://photos.example:{forbidden.port}/")
    assert error.reason == "forbidden-address"
    assert forbidden.accepted == 0


@pytest.mark.parametrize("order", [1, -1])
async def test_one_closed_address_among_open_ones_is_enough(
    forbidden: Listener, order: int
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "127.0.0.2"][::order]

    with Origin({"/": Answer(b"x")}) as origin:
        policy = AddressPolicy(ONLY_ONE, [forbidden.port])
        async with Fetcher(policy, QUICK, resolve=resolve) as fetcher:
            await refused(fetcher, f"http://photos.example:{origin.port}/")
        assert not origin.requests
    assert forbidden.accepted == 0


async def test_a_name_that_changes_its_answer_gains_nothing(forbidden: Listener) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    answer = Answer(b"open", headers={"Connection": "close"})
    with Origin({"/": answer}) as origin:
        policy = AddressPolicy(ONLY_ONE, [forbidden.port])
        async with Fetcher(policy, QUICK, resolve=rebinding) as fetcher:
            url = f"http://rebind.example:{origin.port}/"
            async with fetcher.open(url) as stream:
                assert b"".join([chunk async for chunk in stream.chunks()]) == b"open"
            assert len(asked) == 1, "resolved once: the check and the connection share the answer"
            await refused(fetcher, f"http://rebind.example:{forbidden.port}/")
        assert origin.seen[0][1]["Host"] == f"rebind.example:{origin.port}"
    assert forbidden.accepted == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "host", ["127.0.0.2", "[::ffff:127.0.0.2]", "2130706434", "127.2", "x@127.0.0.2"]
)
async def test_redirects_are_checked_like_the_first_address(
    forbidden: Listener, host: str, status: int
) -> None:
    with Origin({"/": redirect(f"http://{host}:{forbidden.port}/", status)}) as origin:
        async with Fetcher(AddressPolicy(ONLY_ONE, [forbidden.port]), QUICK) as fetcher:
            error = await refused(fetcher, origin.url("/"))
    assert error.reason == "forbidden-address"
    assert forbidden.accepted == 0


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/x", "", "http://"])
async def test_redirects_to_other_places_are_refused(location: str) -> None:
    with Origin({"/": redirect(location)}) as origin:
        async with Fetcher(AddressPolicy(ONLY_ONE), QUICK) as fetcher:
            await refused(fetcher, origin.url("/"))


async def test_at_most_three_redirects() -> None:
    hops = {f"/{n}": redirect(f"/{n + 1}") for n in range(5)} | {"/5": Answer(b"end")}
    with Origin(hops) as origin:
        async with Fetcher(AddressPolicy(ONLY_ONE), QUICK) as fetcher:
            async with fetcher.open(origin.url("/2")) as stream:
                assert stream.url == origin.url("/5")
            assert (await refused(fetcher, origin.url("/1"))).reason == "too-many-redirects"
        assert sum(origin.requests.values()) == 4 + 4


async def test_headers_of_the_caller_do_not_follow_a_redirect() -> None:
    with Origin({"/": redirect("/secret"), "/secret": Answer(b"x")}) as origin:
        async with (
            Fetcher(AddressPolicy(ONLY_ONE), QUICK) as fetcher,
            fetcher.open(origin.url("/"), headers={"Authorization": "Bearer abc"}),
        ):
            pass
        first, second = (headers for _, headers in origin.seen)
        assert first["Authorization"] == "Bearer abc"
        assert "Authorization" not in second


async def test_cookies_are_neither_kept_nor_sent() -> None:
    with Origin({"/": Answer(b"x", headers={"Set-Cookie": "a=b"})}) as origin:
        async with Fetcher(AddressPolicy(ONLY_ONE), QUICK) as fetcher:
            for _ in range(2):
                async with fetcher.open(origin.url("/")):
                    pass
        assert all("Cookie" not in headers for _, headers in origin.seen)


async def test_a_proxy_of_the_environment_is_ignored(
    monkeypatch: pytest.MonkeyPatch, forbidden: Listener
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.2:{forbidden.port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.2:{forbidden.port}")
    with Origin({"/": Answer(b"x")}) as origin:
        async with (
            Fetcher(AddressPolicy(ONLY_ONE), QUICK) as fetcher,
            fetcher.open(origin.url("/")) as stream,
        ):
            assert stream.size == 1
    assert forbidden.accepted == 0


async def test_the_peer_is_checked_before_the_request_is_written() -> None:
    """A policy that changes its mind once the socket stands: the last gate must still hold."""

    class Fickle(AddressPolicy):
        checks = 0

        def check_address(self, address: Address | str, port: int, host: str) -> None:
            self.checks += 1
            if self.checks > 2:  # the URL's own address, the socket; then the peer
                raise ForbiddenAddress("The peer is another.")

    with Origin({"/": Answer(b"x")}) as origin:
        async with Fetcher(Fickle(ONLY_ONE), QUICK) as fetcher:
            await refused(fetcher, origin.url("/"))
        assert not origin.requests


async def test_many_at_once_to_a_closed_name_are_all_refused(forbidden: Listener) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await asyncio.sleep(0)
        return ["127.0.0.2"]

    policy = AddressPolicy(ONLY_ONE, [forbidden.port])
    async with Fetcher(policy, QUICK, resolve=resolve) as fetcher:
        url = f"http://photos.example:{forbidden.port}/"
        errors = await asyncio.gather(*(refused(fetcher, url) for _ in range(50)))
    assert {error.reason for error in errors} == {"forbidden-address"}
    assert forbidden.accepted == 0
