"""Ingest throughput against the bare model: what the whole way costs beside embedding and faces.

Value: photos a second of the whole ingest (fetch with 100 ms delay, decode, derive, embed, faces,
PostgreSQL, Redis, web) ÷ those of a loop that only embeds pictures and finds faces, the decoded
pictures already in memory. Both use the same encoders, and their threads, on the same photos; loop
and ingest alternate, and the value is the median of the pairs. The ingest can do its other work
while the encoders leave a core idle; `cpu_ratio` is what it costs nevertheless: processor seconds a
photo of the loop ÷ those of all processes of the installation. `details` also holds the CPU by
process, the memory peak (PSS over all processes), the bytes on disk before the first and after each
segment, and a scan of the home folder for originals. `--photos 10000` shows how both grow.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.core.vectors import Pixels
from app.encoders import registry
from app.ingest.decode import DecodePool, DecodeSpec
from benchmarks._installation import Installation, RemotePhotos
from benchmarks._photos import photos
from benchmarks._report import arguments, report, say

BAR, CPU_BAR = 0.90, 0.80
MEMORY_BAR_MB = 3000
BATCH = 16


async def decoded(count: int, data: Path) -> list[Pixels]:
    async with DecodePool(2) as pool:
        spec = DecodeSpec()
        return [
            (await pool.decode(photo, spec)).pixels for photo in islice(photos(count, data), count)
        ]


@dataclass(frozen=True)
class Segment:
    """CPU and wall seconds a photo; `parts`: the CPU seconds by process."""

    cpu: float
    wall: float
    parts: dict[str, float]


class Loop:
    """The preloaded embed-and-face loop."""

    def __init__(self, models: Path, pixels: list[Pixels]) -> None:
        self.images = registry.load_image_encoder("pocket", models)
        self.faces = registry.load_face_encoder("pocket", models)
        self.pixels = pixels
        self.run(pixels[:BATCH])  # the first calls allocate

    def run(self, pixels: list[Pixels]) -> tuple[float, float]:
        """(CPU, wall) seconds a photo."""
        cpu, wall = time.process_time(), time.perf_counter()
        for start in range(0, len(pixels), BATCH):
            chunk = pixels[start : start + BATCH]
            self.images.encode_images(chunk)
            self.faces.detect(chunk)
        n = len(pixels)
        return (time.process_time() - cpu) / n, (time.perf_counter() - wall) / n


def originals_in(home: Path, known: set[bytes]) -> list[str]:
    """Files under the home that hold an original: known bytes, or any JPEG at all."""
    found = []
    for folder, _, files in os.walk(home):
        for name in files:
            path = Path(folder) / name
            try:
                head = path.read_bytes() if path.stat().st_size < 50_000_000 else b""
            except OSError:
                continue
            if head[:3] == b"\xff\xd8\xff" or head[1000:1064] in known:
                found.append(str(path.relative_to(home)))
    return found


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--segments", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds before each answer")
    options = parser.parse_args()
    size = options.photos // options.segments
    pairs, walls, rates, peaks, disks = [], [], [], [], []
    segments: list[Segment] = []
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        say("preparing photos …")
        with (
            RemotePhotos(options.photos, options.data, options.delay) as origin,
            Installation(home) as installation,
        ):
            sample = asyncio.run(decoded(min(size, 160), options.data))
            loop = Loop(home / "models", sample)
            installation.wait_idle()
            disks.append(installation.disk())
            for segment in range(options.segments):
                before = loop.run(sample)
                segment_ = ingest(installation, origin.url, segment, size, Path(scratch))
                after = loop.run(sample)
                disks.append(installation.disk())
                segments.append(segment_)
                loop_cpu, loop_wall = ((a + b) / 2 for a, b in zip(before, after, strict=True))
                pairs.append(loop_cpu / segment_.cpu)
                walls.append(loop_wall / segment_.wall)
                rates.append(1 / segment_.wall)
                peaks.append(installation.peak)
                say(
                    f"segment {segment + 1}: {walls[-1]:.3f} (CPU {pairs[-1]:.3f}),"
                    f" {rates[-1]:.1f} photos/s, loop {1 / loop_wall:.1f}"
                )
            known = {photo[1000:1064] for photo in photos(options.photos, options.data)}
            kept = originals_in(home, known)
            peak, parts = installation.peak, installation.peak_parts
    value, cpu_ratio = statistics.median(walls), statistics.median(pairs)
    return report(
        {
            "name": "ingest",
            "value": round(value, 4),
            "unit": "ratio",
            "baseline": "embed-and-face loop on decoded pictures in memory, photos a second",
            "bar": BAR,
            "holds": value >= BAR
            and cpu_ratio >= CPU_BAR
            and not kept
            and peak < MEMORY_BAR_MB * 1e6,
            "runs": len(walls),
            "details": {
                "photos": size * options.segments,
                "pairs": [round(wall, 4) for wall in walls],
                "cpu_ratio": {
                    "value": round(cpu_ratio, 4),
                    "bar": CPU_BAR,
                    "pairs": [round(pair, 4) for pair in pairs],
                },
                "photos_per_second": round(statistics.median(rates), 2),
                "cpu_ms_per_photo": _mean_parts(segments),
                "disk_mb": {
                    name: [round(disk[name] / 1e6, 1) for disk in disks] for name in disks[0]
                },
                "disk_kb_per_photo": round(
                    (disks[-1]["all but models"] - disks[0]["all but models"])
                    / 1e3
                    / (size * options.segments),
                    1,
                ),
                "originals_on_disk": {"value": len(kept), "bar": 0, "files": kept[:10]},
                "peak_pss_mb": {
                    "value": round(peak / 1e6),
                    "bar": MEMORY_BAR_MB,
                    "parts": {name: round(part / 1e6) for name, part in sorted(parts.items())},
                    "after_each_segment": [round(p / 1e6) for p in peaks],
                },
                "delay_seconds": options.delay,
            },
        },
        as_json=options.json,
    )


def _mean_parts(segments: Sequence[Segment]) -> dict[str, float]:
    """CPU milliseconds a photo by process, those that took any."""
    roles = sorted({role for segment in segments for role in segment.parts})
    means = {
        role: round(1e3 * statistics.mean(each.parts.get(role, 0.0) for each in segments), 2)
        for role in roles
    }
    return {role: mean for role, mean in means.items() if mean}


def ingest(installation: Installation, url: str, segment: int, size: int, scratch: Path) -> Segment:
    """Ingest one segment as an event of its own, faces allowed; CPU and wall seconds a photo."""
    event = f"Segment {segment}"
    listed = scratch / f"segment-{segment}.txt"
    first = segment * size
    listed.write_text("\n".join(f"{url}{n:05}.jpg" for n in range(first, first + size)))
    _allow_faces(installation, event, url, scratch)
    before = installation.cpu_parts()
    found = installation.json("ingest", event, str(listed), "--wait")
    after = installation.cpu_parts()
    assert found["indexed"] + found["unchanged"] == size, found
    parts = {role: (after[role] - before.get(role, 0.0)) / size for role in after}
    return Segment(sum(parts.values()), found["seconds"] / size, parts)


def _allow_faces(installation: Installation, event: str, url: str, scratch: Path) -> None:
    """An event is made by its first ingest; consent must come before the photos that count."""
    one = scratch / "one.txt"
    one.write_text(f"{url}none.jpg\n")
    installation.run("ingest", event, str(one), "--json")
    installation.run("faces", event, "--on", "--purpose", "benchmark")


if __name__ == "__main__":
    sys.exit(main())
