"""The IIIF Image API, versions 1 to 3: photos in the size that is needed.

A photo's address is kept in the form that every server must answer, even one of level 0:
`{service}/full/max/0/default.jpg` (3), `full/full/0/default.jpg` (2), `full/full/0/native.jpg` (1).
Everything else is derived from it. What the manifest says of the service travels in the address's
fragment (`#level2,4032x3024`), so that a worker needs no info.json to know which sizes it may ask
for; where it is missing or turns out to be wrong, info.json is read once.
"""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from app.core.errors import PhotoRejected
from app.sources.http import Fetcher, HttpStream

MAX_INFO_BYTES = 1_000_000
REMEMBERED = 4_096
MOST_SIZES = 200

_FULL = {1: "full/full/0/native.jpg", 2: "full/full/0/default.jpg", 3: "full/max/0/default.jpg"}
_REQUEST = re.compile(r"(?P<service>.+)/full/(?P<size>max|full)/0/(?P<quality>default|native)\.jpg")
_FACTS = re.compile(r"level([0-2]),([0-9]{1,7})x([0-9]{1,7})")
# Answers of a server that does not make this size; the plain address may do.
_OTHER_SIZE = frozenset(("not-found", "forbidden", "http-400", "http-405", "http-406", "http-422"))


@dataclass(frozen=True, slots=True)
class Service:
    """An image service. `level` is its compliance, None where unknown; `width` and `height` the
    full image's pixels, 0 where unknown; `most` the pixels of a long side that it makes at most.
    `confined`: whether it takes `!w,h` (required at level 2 only), `by_width`: `w,` and `,h`."""

    base: str
    version: int
    level: int | None = None
    width: int = 0
    height: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    confined: bool = False
    by_width: bool = False
    most: float = math.inf

    def at(self, base: str) -> str:
        """The whole picture, with what is known of the service. `base` is its canonical address."""
        facts = f"#level{self.level},{self.width}x{self.height}"
        known = self.level and self.width and self.height and self.most == math.inf
        return f"{base}/{_FULL[self.version]}{facts if known else ''}"

    def smaller(self, long_side: int) -> list[str]:
        """Addresses of renditions with `long_side` pixels or more (or as many as the server makes),
        the best first; none where it is to be the whole picture."""
        if 0 < max(self.width, self.height) <= long_side:
            return []
        tail = _FULL[self.version].partition("/0/")[2]
        long_side = int(min(long_side, self.most))
        return [f"{self.base}/full/{size}/0/{tail}" for size in self._sizes(long_side)]

    def _sizes(self, long_side: int) -> list[str]:
        if self.confined:
            return [f"!{long_side},{long_side}"]
        if self.by_width and self.width and self.height:
            return [f"{long_side}," if self.width >= self.height else f",{long_side}"]
        enough = sorted(size for size in self.sizes if max(size) >= long_side)
        if not enough:
            return []
        width, height = enough[0]
        # Image API 2.1, 5.2 names both forms for `sizes`, and wants the first.
        forms = [f"{width},", f"{width},{height}"]
        return forms if self.version < 3 else forms[::-1]


def service_of(base: str, version: int, facts: Mapping[str, object]) -> Service:
    """From an info.json, or what a manifest embeds of it."""
    profile = facts.get("profile")
    entries = profile if isinstance(profile, list) else [profile]
    level: int | None = None
    features: set[str] = set()
    limits = [facts]
    for entry in entries:
        if isinstance(entry, str) and (found := re.search(r"level([0-2])", entry)):
            level = int(found[1]) if level is None else level
        elif isinstance(entry, dict):
            features.update(_texts(entry.get("supports")))
            limits.append(entry)
    features.update(_texts(facts.get("extraFeatures")))
    listed = facts.get("sizes")
    sizes = [
        (_number(each.get("width")), _number(each.get("height")))
        for each in (listed[:MOST_SIZES] if isinstance(listed, list) else [])
        if isinstance(each, dict)
    ]
    most = [_number(each.get(name)) for each in limits for name in ("maxWidth", "maxHeight")]
    area = [math.isqrt(_number(each.get("maxArea"))) for each in limits]
    return Service(
        base,
        version,
        level,
        _number(facts.get("width")),
        _number(facts.get("height")),
        tuple(size for size in sizes if all(size)),
        confined=level == 2 or "sizeByConfinedWh" in features,
        by_width=bool(level) or {"sizeByW", "sizeByH"} <= features,
        most=min((float(each) for each in (*most, *area) if each), default=math.inf),
    )


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _number(value: object) -> int:
    """A positive whole number; 0 for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10_000_000:
        return value
    return 0


_Opened = Callable[[str], Awaitable[HttpStream]]


class Images:
    """Opens photos by their addresses, those of image services in the size that is enough.

    Remembers what services said of themselves. Belongs to one event loop.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._known: OrderedDict[str, Service | None] = OrderedDict()

    @asynccontextmanager
    async def open(
        self,
        uri: str,
        *,
        unless: str | None = None,
        long_side: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[HttpStream]:
        """Raises as Fetcher.open does."""
        plain, _, facts = uri.partition("#")
        match = _REQUEST.fullmatch(plain)
        async with AsyncExitStack() as held:

            async def opened(address: str) -> HttpStream:
                opening = self._fetcher.open(address, unless=unless, headers=headers)
                return await held.enter_async_context(opening)

            stream: HttpStream | None = None
            if match is not None and long_side is not None:
                stream = await self._smaller(match, facts, long_side, opened)
            yield stream or await opened(plain)

    async def _smaller(
        self, match: re.Match[str], facts: str, long_side: int, opened: _Opened
    ) -> HttpStream | None:
        """A rendition that is large enough; None where it is to be the whole picture."""
        base = match["service"]
        version = 3 if match["size"] == "max" else 1 if match["quality"] == "native" else 2
        tried: list[str] = []
        told = _FACTS.fullmatch(facts)
        if told is not None and base not in self._known:
            level, width, height = (int(each) for each in told.groups())
            service = Service(
                base, version, level, width, height, confined=level == 2, by_width=level >= 1
            )
            tried = service.smaller(long_side)
            if not tried:
                return None
            stream = await _first_of(tried, opened)
            if stream is not None:
                return stream
        said = await self._info(base, version)
        addresses = said.smaller(long_side) if said is not None else []
        return await _first_of([each for each in addresses if each not in tried], opened)

    async def _info(self, base: str, version: int) -> Service | None:
        """What info.json says; None where there is none."""
        if base in self._known:
            self._known.move_to_end(base)
            return self._known[base]
        service: Service | None = None
        try:
            body = await self._body(f"{base}/info.json")
            found = json.loads(body)
            if isinstance(found, dict):
                service = service_of(base, version, found)
        except (PhotoRejected, ValueError, RecursionError):
            service = None
        self._known[base] = service
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return service

    async def _body(self, url: str) -> bytes:
        body = b""
        async with self._fetcher.open(url, headers={"Accept-Encoding": "gzip, deflate"}) as stream:
            async for chunk in stream.chunks():
                body += chunk
                if len(body) > MAX_INFO_BYTES:
                    raise PhotoRejected("too-large", f"{url} is larger than 1 MB.")
        return body


async def _first_of(addresses: list[str], opened: _Opened) -> HttpStream | None:
    """The first that the server makes; None where it makes none of them."""
    for address in addresses:
        try:
            return await opened(address)
        except PhotoRejected as error:
            if error.reason not in _OTHER_SIZE:
                raise
    return None
