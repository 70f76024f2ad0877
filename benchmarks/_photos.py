"""Photos for load: the labelled ones at hand, or the demo's, varied until there are enough.

Run as a program it is the remote origin: `python benchmarks/_photos.py COUNT DATA DELAY`. It prints
its address on stdout and serves until its stdin closes. A process of its own, so that its CPU time
is not counted as the product's.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.samples.builtin import builtin_sample
from tests.origin import Answer, Origin

FOLDERS = ("captions/full", "captions/small", "classes/imagenet", "faces/lfw", "faces/athlete")


def base_photos(data: Path) -> list[bytes]:
    """Real photos as JPEG files, always in the same order."""
    found = sorted(p for folder in FOLDERS for p in (data / folder).rglob("*.[jJ][pP]*[gG]"))
    if found:
        return [path.read_bytes() for path in found]
    return [photo.data for photo in builtin_sample()]


def photos(count: int, data: Path) -> Iterator[bytes]:
    """`count` different JPEG files: each base photo as it is, then varied copies of them."""
    base = base_photos(data)
    order = np.random.default_rng(5).permutation(len(base))
    for number in range(count):
        turn, index = divmod(number, len(base))
        original = base[order[index]]
        yield original if turn == 0 else _varied(original, turn, number)


def _varied(data: bytes, turn: int, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    left, top, right, bottom = rng.uniform(0.0, 0.06 + 0.01 * turn, 4)
    width, height = image.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    image = image.resize(image.size, Image.Resampling.BICUBIC, box=tuple(map(float, box)))
    image = ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.85, 1.15)))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def main(count: int, data: Path, delay: float) -> None:
    answers = {f"/{n:05}.jpg": Answer(photo) for n, photo in enumerate(photos(count, data))}
    with Origin(answers, delay=delay) as origin:
        print(origin.url("/"), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
