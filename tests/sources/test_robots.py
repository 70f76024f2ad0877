"""robots.txt as sites write it, leave it out, and get it wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.errors import PhotoRejected, SourceUnavailable
from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.robots import MAX_BYTES, Robots
from tests.origin import LOOPBACK, Answer, Listener, Origin, redirect


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(AddressPolicy(LOOPBACK), FetchLimits(attempts=1)) as fetcher:
        yield fetcher


def site(text: str | bytes) -> Origin:
    body = text.encode() if isinstance(text, str) else text
    return Origin({"/robots.txt": Answer(body, headers={"Content-Type": "text/plain"})})


RULES = {
    "User-agent: *\nDisallow: /private/": {"/private/a.jpg": False, "/public/a.jpg": True},
    "User-agent: *\nDisallow: /\nAllow: /wedding/": {"/wedding/a.jpg": True, "/a.jpg": False},
    "User-agent: *\nDisallow: /*.jpg$": {"/a.jpg": False, "/a.jpg?x=1": True},
    "User-agent: Googlebot\nDisallow: /": {"/a.jpg": True},
    "User-agent: *\nDisallow: /\n\nUser-agent: ClairVision\nDisallow: /x/": {
        "/a.jpg": True, "/x/a.jpg": False,
    },
    "User-agent: *\nDisallow:\n\nUser-agent: other\nUser-agent: clairvision/0.1\nDisallow: /": {
        "/a.jpg": False, "/robots.txt": True,
    },
    "\ufeffUser-agent: *\r\nDisallow: /caf%C3%A9/ # closed\r\n": {"/caf%c3%a9/a.jpg": False},
    "User-agent: *\nDisallow: /?s=": {"/?s=x": False, "/?p=1": True},
    "<!doctype html><h1>Not found</h1>": {"/a.jpg": True},
    "": {"/a.jpg": True},
}  # fmt: skip


@pytest.mark.parametrize("text", RULES)
async def test_rules(text: str, fetcher: Fetcher) -> None:
    with site(text) as origin:
        robots = Robots(fetcher)
        for path, allowed in RULES[text].items():
            assert await robots.allows(origin.url(path)) is allowed, path
        assert origin.requests["/robots.txt"] == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
async def test_where_there_are_no_rules_all_is_allowed(status: int, fetcher: Fetcher) -> None:
    with Origin({"/robots.txt": Answer(status=status)}) as origin:
        assert await Robots(fetcher).allows(origin.url("/a.jpg"))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_where_the_rules_fail_nothing_is_fetched_for_now(
    status: int, fetcher: Fetcher
) -> None:
    with Origin({"/robots.txt": Answer(status=status)}) as origin:
        robots = Robots(fetcher)
        for _ in range(5):
            with pytest.raises(SourceUnavailable, match="robots"):
                await robots.allows(origin.url("/a.jpg"))
        assert origin.requests["/robots.txt"] == 1


async def test_a_host_that_is_down_is_not_asked_again_and_again(fetcher: Fetcher) -> None:
    with Listener() as listener:
        robots = Robots(fetcher)
        for _ in range(3):
            with pytest.raises(SourceUnavailable):
                await robots.allows(f"http://127.0.0.1:{listener.port}/a.jpg")
        assert listener.accepted <= 2  # aiohttp repeats once by itself


async def test_redirects_are_followed(fetcher: Fetcher) -> None:
    with site("User-agent: *\nDisallow: /x") as other:
        answers = {"/robots.txt": redirect(other.url("/robots.txt"))}
        with Origin(answers) as origin:
            robots = Robots(fetcher)
            assert not await robots.allows(origin.url("/x/a.jpg"))
            assert await robots.allows(origin.url("/y/a.jpg"))


async def test_a_refusal_says_what_to_do(fetcher: Fetcher) -> None:
    with site("User-agent: *\nDisallow: /") as origin:
        with pytest.raises(PhotoRejected) as caught:
            await Robots(fetcher).admit(origin.url("/a.jpg"), 1.0)
        assert caught.value.reason == "robots"
        assert "ignore" in caught.value.cure


async def test_who_ignores_the_rules_does_not_even_ask(fetcher: Fetcher) -> None:
    with site("User-agent: *\nDisallow: /\nSitemap: /s.xml") as origin:
        robots = Robots(fetcher, obey=False)
        await robots.admit(origin.url("/a.jpg"), 1.0)
        assert await robots.sitemaps(origin.url("/")) == []
        assert not origin.requests


async def test_sitemaps_are_named(fetcher: Fetcher) -> None:
    with site("Sitemap: https://h/a.xml\nUser-agent: *\nSitemap: https://h/b.xml") as origin:
        found = await Robots(fetcher).sitemaps(origin.url("/any"))
        assert found == ["https://h/a.xml", "https://h/b.xml"]


async def test_a_forbidden_host_is_never_asked(fetcher: Fetcher) -> None:
    with Listener("127.0.0.2") as listener:
        strict = Fetcher(AddressPolicy(), FetchLimits(attempts=1))
        async with strict:
            assert await Robots(strict).allows(f"http://127.0.0.2:{listener.port}/a.jpg")
        assert listener.accepted == 0


async def test_a_crawl_delay_spaces_requests_up_to_the_bound(fetcher: Fetcher) -> None:
    """Four may go within a day's delay, and not before three bounds have passed."""
    with site("User-agent: *\nCrawl-delay: 86400") as origin:
        robots = Robots(fetcher)
        await robots.allows(origin.url("/"))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with asyncio.timeout(60):  # else this test would take three days
            await asyncio.gather(*(robots.admit(origin.url(f"/{n}.jpg"), 0.05) for n in range(4)))
        assert loop.time() - begun >= 0.15


async def test_a_long_file_is_read_up_to_a_limit(fetcher: Fetcher) -> None:
    rules = b"User-agent: *\nDisallow: /early\n" + b"# padding\n" * (MAX_BYTES // 10)
    with site(rules + b"\nDisallow: /late\n") as origin:
        robots = Robots(fetcher)
        assert not await robots.allows(origin.url("/early"))
        assert await robots.allows(origin.url("/late"))


async def test_thousands_of_groups_cost_no_more_than_their_length(fetcher: Fetcher) -> None:
    """Each program named would otherwise get a copy of each rule: 15,000 times 15,000."""
    agents = "".join(f"User-agent: bot{n}\n" for n in range(15_000))
    rules = "".join(f"Disallow: /{n}*x$\n" for n in range(15_000))
    ours = "User-agent: ClairVision\nDisallow: /ours\n"
    with site(f"{ours}{agents}{rules}"[:MAX_BYTES]) as origin:
        robots = Robots(fetcher)
        assert await robots.allows(origin.url("/5zx"))
        assert not await robots.allows(origin.url("/ours"))
