"""What sites ask of programs: robots.txt after RFC 9309, with Crawl-delay."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass

from protego import Protego

from app.core.errors import PhotoRejected, SourceUnavailable
from app.sources.addresses import parse_url
from app.sources.http import Fetcher

AGENT = "ClairVision"
MAX_BYTES = 512_000
"""RFC 9309, 2.5: at least 500 KiB are read; the rest is not."""
LIFETIME = 3600.0
"""Seconds; RFC 9309, 2.4 allows a day."""
FAILURE_LIFETIME = 30.0
LONGEST_PAGE_PAUSE = 10.0
LONGEST_PHOTO_PAUSE = 1.0
"""Seconds of a Crawl-delay that are kept between two pages, and between two photos."""
REMEMBERED = 256

_AGENT_LINE = re.compile(r"\s*user[- ]?agent\s*:?\s*(.*?)\s*(?:#.*)?", re.I)


@dataclass(slots=True)
class _Rules:
    parsed: Protego | None
    failure: SourceUnavailable | None
    until: float


class Robots:
    """The rules of every host that a source meets. `obey` False: everything is allowed at once.

    Where a robots.txt answers 4xx, there are no rules. Where it fails (5xx, no answer), nothing may
    be fetched for now: SourceUnavailable. Belongs to one event loop.
    """

    def __init__(self, fetcher: Fetcher, *, obey: bool = True) -> None:
        self.obey = obey
        self._fetcher = fetcher
        self._rules: OrderedDict[str, _Rules] = OrderedDict()
        self._reading: dict[str, asyncio.Lock] = {}
        self._free_at: OrderedDict[str, float] = OrderedDict()

    async def allows(self, url: str) -> bool:
        """Whether `url` may be fetched. Raises SourceUnavailable."""
        if not self.obey:
            return True
        rules = await self._of(_origin(url))
        return rules is None or rules.can_fetch(url, AGENT)

    async def admit(self, url: str, longest_pause: float) -> None:
        """Waits until `url` may be fetched. Raises PhotoRejected where it may not at all, and
        SourceUnavailable. A Crawl-delay is kept up to `longest_pause` seconds."""
        if not await self.allows(url):
            raise refused(url)
        if self.obey:
            await self._turn(_origin(url), longest_pause)

    async def sitemaps(self, url: str) -> list[str]:
        """The sitemaps that the robots.txt of this host names."""
        rules = await self._of(_origin(url)) if self.obey else None
        return list(rules.sitemaps) if rules is not None else []

    async def _turn(self, origin: str, longest: float) -> None:
        rules = await self._of(origin)
        delay = rules.crawl_delay(AGENT) if rules is not None else None
        if not delay:
            return
        now = asyncio.get_running_loop().time()
        mine = max(now, self._free_at.pop(origin, 0.0))
        self._free_at[origin] = mine + min(delay, longest)
        while len(self._free_at) > REMEMBERED:
            self._free_at.popitem(last=False)
        await asyncio.sleep(mine - now)

    async def _of(self, origin: str) -> Protego | None:
        async with self._reading.setdefault(origin, asyncio.Lock()):
            now = asyncio.get_running_loop().time()
            known = self._rules.get(origin)
            if known is None or known.until <= now:
                known = await self._read(origin, now)
                self._rules[origin] = known
                while len(self._rules) > REMEMBERED:
                    oldest, _ = self._rules.popitem(last=False)
                    self._reading.pop(oldest, None)
        if known.failure is not None:
            raise SourceUnavailable(
                known.failure.reason, known.failure.message, after=known.failure.after
            )
        return known.parsed

    async def _read(self, origin: str, now: float) -> _Rules:
        body = b""
        try:
            async with self._fetcher.open(f"{origin}/robots.txt") as stream:
                async for chunk in stream.chunks():
                    body += chunk
                    if len(body) >= MAX_BYTES:
                        break
        except PhotoRejected:
            return _Rules(None, None, now + LIFETIME)
        except SourceUnavailable as error:
            failure = SourceUnavailable(
                error.reason,
                f"The robots.txt of {origin} can't be read now: {error.message}",
                after=error.after,
            )
            return _Rules(None, failure, now + FAILURE_LIFETIME)
        text = _ours(body[:MAX_BYTES].decode("utf-8", "replace"))
        return _Rules(Protego.parse(text), None, now + LIFETIME)


def refused(url: str) -> PhotoRejected:
    return PhotoRejected(
        "robots",
        f"The robots.txt of {_origin(url)} asks programs to stay away from {url}.",
        cure="If that is your own site, set the option “robots” to “ignore”.",
    )


def _origin(url: str) -> str:
    return parse_url(url).origin


def _ours(text: str) -> str:
    """The same rules with every other program's groups under one name: Protego keeps the rules
    once for each program, which a hostile file makes 15,000 times 15,000."""
    lines = []
    for line in text.removeprefix("\ufeff").splitlines():
        found = _AGENT_LINE.fullmatch(line[:200])
        if found is None:
            lines.append(line)
        elif found[1] == "*":
            lines.append("User-agent: *")
        else:
            name = re.split(r"[^A-Za-z_-]", found[1].strip("*"), maxsplit=1)[0]
            ours = name.lower() == AGENT.lower()
            lines.append(f"User-agent: {AGENT if ours else 'another'}")
    return "\n".join(lines)
