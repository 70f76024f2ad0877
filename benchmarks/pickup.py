"""How soon an idle worker begins with a message, and what a second worker process brings.

Pickup: milliseconds from before the send to the actor's first line, p95, in the worker processes of a
real installation at rest (`clairvision up`); messages are sent one at a time, after pauses in which
the queue is idle. Baseline: a bare Redis consumer in a process of its own that blocks in BLPOP on
the same Redis, asked in turn with them. The value is the query queue's p95 less the baseline's.

`two_workers`: photos a second with two ingest processes ÷ with one, of the same installation, where
fetching takes nearly all the time: the origin answers each photo after `--delay` seconds, and a
process asks one host for at most CLAIR_PER_HOST_CONCURRENCY (8) at once. `busy` is the share of the
machine's processors that the installation used meanwhile: while it is small, waiting is what the
second process shares.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.core.jobs import Job
from app.embedded.services import running_services
from app.encoders import registry
from app.settings import Settings
from app.storage.queue import RedisJobQueue
from benchmarks._installation import Installation, RemotePhotos
from benchmarks._report import ROOT, arguments, report, say

BAR_MS = 30.0
WORKERS_BAR = 1.8
LIST = "benchmark:pickup"
_BLPOP = """
import redis, socket, sys, time
client, link = redis.Redis.from_url(sys.argv[1]), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while client.blpop([sys.argv[2]], timeout=0):
    link.sendto(f"blpop {time.monotonic_ns()}".encode(), sys.argv[3])
"""


class Notes:
    """The socket on which workers say that they began."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def since(self, name: str, sent: int) -> float:
        """Milliseconds from `sent` (monotonic ns) to the next note of this name."""
        self._socket.settimeout(30)
        while True:
            said, _, at = self._socket.recv(256).decode().partition(" ")
            if said == name:
                return (int(at) - sent) / 1e6


class Blpop:
    """The baseline's consumer."""

    def __init__(self, url: str, notes: Notes) -> None:
        self._command = [sys.executable, "-c", _BLPOP, url, LIST, str(notes.path)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, cwd=ROOT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()


def pickups(installation: Installation, notes: Notes, messages: int) -> dict[str, list[float]]:
    """Milliseconds by name: blpop, query, ingest."""
    services = running_services(Settings(home=installation.home))
    assert services is not None
    model, _ = registry.profile_models("pocket")
    queue = RedisJobQueue(services.redis_url)
    found: dict[str, list[float]] = {"blpop": [], "query": [], "ingest": []}
    with redis.Redis.from_url(services.redis_url) as client, Blpop(services.redis_url, notes):
        time.sleep(2)

        def ask(name: str) -> float:
            sent = time.monotonic_ns()
            if name == "blpop":
                client.rpush(LIST, "x")
                return notes.since("blpop", sent)
            if name == "query":
                queue.send(Job.ENCODE_TEXT, model.id, "a dog")
                return notes.since(Job.ENCODE_TEXT, sent)
            queue.send(Job.INGEST_CHUNK)
            return notes.since(Job.INGEST_CHUNK, sent)

        for number in range(-3, messages):
            for name, each in found.items():
                time.sleep(random.uniform(0.1, 0.4))
                took = ask(name)
                if number >= 0:
                    each.append(took)
    queue.close()
    return found


def figures(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "p50_ms": round(statistics.median(ordered), 2),
        "p95_ms": round(ordered[round(0.95 * (len(ordered) - 1))], 2),
        "max_ms": round(ordered[-1], 2),
    }


def latency_bound(
    installation: Installation, origin: RemotePhotos, event: str, first: int, count: int
) -> dict[str, float]:
    """Photos a second of one run, and the share of all processors that it used."""
    listed = installation.home.parent / f"{event}.txt"
    listed.write_text("\n".join(f"{origin.url}{n:05}.jpg" for n in range(first, first + count)))
    cpu, wall = installation.cpu_seconds(), time.perf_counter()
    found = installation.json("ingest", event, str(listed), "--wait")
    wall = time.perf_counter() - wall
    cpu = installation.cpu_seconds() - cpu
    assert found["indexed"] + found["unchanged"] == count, found
    return {
        "photos_per_second": round(count / found["seconds"], 2),
        "busy": round(cpu / wall / (psutil.cpu_count() or 1), 2),
    }


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--photos", type=int, default=480, help="for the second worker process")
    parser.add_argument("--delay", type=float, default=2.0, help="seconds before each answer")
    options = parser.parse_args()
    rates: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        notes = Notes(Path(scratch) / "notes")
        environment = {
            "BENCH_NOTES": str(notes.path),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks" / "_noting"), str(ROOT)]),
        }
        with Installation(home, environment=environment) as installation:
            installation.wait_idle()
            times = pickups(installation, notes, options.messages)
        for name, each in times.items():
            say(name, figures(each))
        with RemotePhotos(2 * options.photos, options.data, options.delay) as origin:
            for workers in (1, 2):
                environment = {"CLAIR_PER_HOST_CONCURRENCY": "8"}
                with Installation(home, workers=workers, environment=environment) as installation:
                    installation.wait_idle()
                    first = (workers - 1) * options.photos
                    rates.append(
                        latency_bound(
                            installation, origin, f"slow {workers}", first, options.photos
                        )
                    )
                say(workers, "workers:", rates[-1])
    blpop, query = figures(times["blpop"]), figures(times["query"])
    value = query["p95_ms"] - blpop["p95_ms"]
    gain = rates[1]["photos_per_second"] / rates[0]["photos_per_second"]
    details: dict[str, Any] = {
        "blpop": blpop,
        "query": query,
        "ingest": figures(times["ingest"]),
        "two_workers": {
            "value": round(gain, 3),
            "bar": WORKERS_BAR,
            "one": rates[0],
            "two": rates[1],
            "photos": options.photos,
            "delay_seconds": options.delay,
        },
    }
    return report(
        {
            "name": "pickup",
            "value": round(value, 2),
            "unit": "ms more at p95",
            "baseline": f"BLPOP on the same Redis, p95 {blpop['p95_ms']} ms",
            "bar": BAR_MS,
            "holds": value <= BAR_MS and gain >= WORKERS_BAR,
            "runs": options.messages,
            "details": details,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
