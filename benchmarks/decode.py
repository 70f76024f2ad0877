"""What our scaled decode costs beside Pillow's own: `python benchmarks/decode.py [--json]`.

Value: CPU time of what the decode child does to get its pixels from a JPEG of 24 megapixels
(`derive.open_upright` and `derive.pixels_of`: telling the format, checking size and scans, scaled
decode, EXIF, colour profile, orientation, array) ÷ CPU time of a bare scaled decode with Pillow to
the same size in the same process (`draft`, `load`, `resize` with the same filter; no array).

`details` holds the same against a full decode (`load`, then `resize` to the same size with Pillow's
default filter, bicubic). Both read every coefficient of the file, so this ratio falls with the bytes
a pixel: it has its bar on photos with the noise of a low ISO, and is also given for grainy ones.
Then what a whole child takes a photo, with thumbnail, hashes and quality, and its memory.

The three alternate on the same photos; each figure is the median of the pairs.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.ingest import derive
from app.ingest.decode import DecodePool, DecodeSpec
from benchmarks._photos import photos
from benchmarks._report import arguments, report

BAR, FULL_BAR = 1.15, 5.0
SIZE = (6000, 4000)
PHOTOS, ROUNDS = 3, 9
LOW_ISO, GRAINY = 2, 8  # standard deviation of the noise, of 255
PX = DecodeSpec().analysis_px
CAMERA = {0x010F: "Canon", 0x0110: "EOS R5", 0x0112: 1}


def large(photo: bytes, noise: float) -> bytes:
    """A photo of 24 megapixels with the noise of a sensor, as a camera stores it."""
    with Image.open(io.BytesIO(photo)) as opened:
        pixels = np.array(opened.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC), np.int16)
    pixels += np.random.default_rng(5).normal(0, noise, pixels.shape).astype(np.int16)
    exif = Image.Exif()
    exif.update(CAMERA)
    picture, out = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), io.BytesIO()
    picture.save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


def ours(data: bytes) -> None:
    derive.pixels_of(derive.open_upright(data, PX).image)


def bare(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        target = derive.fit(image.size, PX)
        image.draft(None, target)
        image.load()
        image.resize(target, Image.Resampling.HAMMING, reducing_gap=2.0)


def full(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        image.resize(derive.fit(image.size, PX))


def cpu(decode: Callable[[bytes], None], data: bytes) -> float:
    began = time.process_time()
    decode(data)
    return time.process_time() - began


def compared(data: list[bytes]) -> dict[str, list[float]]:
    """CPU seconds of each way, the same photo at the same place of each list."""
    times: dict[str, list[float]] = {"ours": [], "bare": [], "full": []}
    for each in data:  # the first calls allocate
        ours(each)
    for _ in range(ROUNDS):
        for each in data:
            for decode in (ours, bare, full):
                times[decode.__name__].append(cpu(decode, each))
    return times


def ratio(above: list[float], below: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 3)


def milliseconds(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1e3, 1)


async def child(data: list[bytes]) -> dict[str, float]:
    """CPU milliseconds that a child spends on a photo in all, and its memory at rest and after."""
    out = io.BytesIO()
    Image.new("RGB", (32, 32)).save(out, "JPEG")
    async with DecodePool(1) as pool:
        await pool.decode(out.getvalue())
        process = psutil.Process(pool._alive[0].process.pid)
        rest = process.memory_full_info().pss
        spent = [(await pool.decode(each)).cpu_seconds for each in data * 3]
        after = process.memory_full_info().pss
    return {
        "child_cpu_ms": milliseconds(spent),
        "child_pss_mb": round(rest / 1e6, 1),
        "child_pss_after_24_mp_mb": round(after / 1e6, 1),
    }


def main() -> int:
    options = arguments(__doc__.splitlines()[0]).parse_args()
    base = list(islice(photos(PHOTOS, options.data), PHOTOS))
    plain, grainy = ([large(photo, noise) for photo in base] for noise in (LOW_ISO, GRAINY))
    in_child = asyncio.run(child(plain))
    times, grainy_times = compared(plain), compared(grainy)
    value, faster = ratio(times["ours"], times["bare"]), ratio(times["full"], times["ours"])
    return report(
        {
            "name": "decode",
            "value": value,
            "unit": "ratio",
            "baseline": "Pillow's draft, load and resize to the same size",
            "bar": BAR,
            "holds": value <= BAR and faster >= FULL_BAR,
            "runs": len(times["ours"]),
            "details": {
                "full_decode_ratio": {"value": faster, "bar": FULL_BAR},
                **{f"{name}_cpu_ms": milliseconds(each) for name, each in times.items()},
                "photo_mb": round(statistics.mean(map(len, plain)) / 1e6, 1),
                "grainy": {
                    "ratio": ratio(grainy_times["ours"], grainy_times["bare"]),
                    "full_decode_ratio": ratio(grainy_times["full"], grainy_times["ours"]),
                    "photo_mb": round(statistics.mean(map(len, grainy)) / 1e6, 1),
                },
                **in_child,
            },
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
