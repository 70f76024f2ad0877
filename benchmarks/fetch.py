"""The fetcher's rate against bare aiohttp, from the same origin.

Both read whole photos into memory, the same number at once, from an origin on loopback that is a
process of its own and does nothing but write one prepared answer. *Ours* is `Fetcher.open` and
`read_photo`, as an ingest worker calls them, with every check of SECURITY.md 9–12: URL grammar and
policy, checked resolver and sockets, peer check, slots per host, deadline, minimum rate, size limit.
*Bare* is `ClientSession.get` and `response.read()` with aiohttp's defaults, its limit of connections
lifted. They take turns in one process, a slice of some dozen photos each, so that whatever else the
machine does meets both.

Value: photos a second ours ÷ bare, medians over the slices, without delay, at the size where it is
worst. There the client's processor is the bottleneck (`busy` says how much of the time it ran).
`with_delay`: the same where the origin answers 100 ms late: ours ÷ min(concurrency ÷ delay, bare's
rate without delay), over several seconds.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.sources.addresses import AddressPolicy
from app.sources.http import Fetcher, FetchLimits
from app.sources.memory import read_photo
from benchmarks._origin import FastOrigin
from benchmarks._report import arguments, report, say

BAR, DELAY_BAR = 0.9, 0.95
SIZES = (300_000, 1_000_000, 3_000_000)
SLICE_BYTES = 20_000_000
MAX_BYTES = 80_000_000

FetchOne = Callable[[str], Awaitable[bytes]]


@dataclass
class Rates:
    """Photos a second by wall clock and by processor time, one entry a slice."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.wall)

    @property
    def busy(self) -> float:
        return self.rate / statistics.median(self.cpu)


@asynccontextmanager
async def clients(concurrency: int) -> AsyncIterator[dict[str, FetchOne]]:
    policy = AddressPolicy((ip_network("127.0.0.0/8"),))
    limits = FetchLimits(concurrency=concurrency, per_host=concurrency)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        Fetcher(policy, limits) as fetcher,
    ):

        async def bare(url: str) -> bytes:
            async with session.get(url) as response:
                response.raise_for_status()
                return await response.read()

        async def ours(url: str) -> bytes:
            async with fetcher.open(url) as stream:
                return await read_photo(stream, MAX_BYTES)

        yield {"bare": bare, "ours": ours}


async def fetch(one: FetchOne, url: str, size: int, count: int, concurrency: int) -> None:
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            found = await one(f"{url}{number:06}.jpg")
            assert len(found) == size

    await asyncio.gather(*(worker() for _ in range(concurrency)))


async def measure(
    size: int, concurrency: int, slices: int, *, delay: float = 0.0, seconds: float = 0.0
) -> dict[str, Rates]:
    """A slice is about SLICE_BYTES, or as much as `seconds` of waiting allow."""
    count = max(2 * concurrency, SLICE_BYTES // size)
    if delay:
        count = round(concurrency / delay * seconds)
    rates = {"bare": Rates(), "ours": Rates()}
    with FastOrigin(size, delay) as origin:
        async with clients(concurrency) as both:
            for number in range(-1, slices):  # the first one connects and warms up
                for name, one in both.items():
                    wall, cpu = time.perf_counter(), time.process_time()
                    await fetch(one, origin.url, size, count, concurrency)
                    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                    if number >= 0:
                        rates[name].wall.append(count / wall)
                        rates[name].cpu.append(count / cpu)
    return rates


def against_bare(rates: dict[str, Rates]) -> dict[str, Any]:
    bare, ours = rates["bare"], rates["ours"]
    return {
        "value": round(ours.rate / bare.rate, 4),
        "by_processor_time": round(statistics.median(ours.cpu) / statistics.median(bare.cpu), 4),
        "ours_per_second": round(ours.rate, 1),
        "bare_per_second": round(bare.rate, 1),
        "busy": round(ours.busy, 2),
    }


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds before each answer")
    options = parser.parse_args()
    by_size = {}
    for size in SIZES:
        by_size[size] = against_bare(
            asyncio.run(measure(size, options.concurrency, options.slices))
        )
        say(f"{size} bytes: {by_size[size]}")
    late = asyncio.run(measure(SIZES[0], options.concurrency, 3, delay=options.delay, seconds=5.0))
    possible = min(options.concurrency / options.delay, float(by_size[SIZES[0]]["bare_per_second"]))
    with_delay = late["ours"].rate / possible
    say(f"with delay: {late['ours'].rate:.1f} of {possible:.1f} a second")
    value = min(float(each["value"]) for each in by_size.values())
    return report(
        {
            "name": "fetch",
            "value": value,
            "unit": "ratio",
            "baseline": "bare aiohttp reading the same photos at the same concurrency, photos/s",
            "bar": BAR,
            "holds": value >= BAR and with_delay >= DELAY_BAR,
            "runs": options.slices,
            "details": {
                "concurrency": options.concurrency,
                "by_size": by_size,
                "with_delay": {
                    "value": round(with_delay, 4),
                    "bar": DELAY_BAR,
                    "delay_seconds": options.delay,
                    "bytes": SIZES[0],
                    "ours_per_second": round(late["ours"].rate, 1),
                    "bare_per_second": round(late["bare"].rate, 1),
                    "possible_per_second": round(possible, 1),
                },
            },
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
