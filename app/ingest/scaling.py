"""From a decoded picture of any kind to one of about the size that is needed, in few copies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

# Pictures of more pixels than this are reduced in bands, so that no second full copy is made.
_BAND_PIXELS = 2_000_000

Rows = Callable[[int, int], Image.Image]
"""Rows from the first to before the second, as a picture of their own."""
Box = tuple[float, float, float, float]


def fit(size: tuple[int, int], max_px: int) -> tuple[int, int]:
    """The size within a square of `max_px`, never enlarged, each side at least 1."""
    scale = min(1.0, max_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def reduced(
    rows: Rows, size: tuple[int, int], mode: str, target: tuple[int, int]
) -> tuple[Image.Image, Box | None]:
    """The picture in a mode that `colour.to_rgb` takes, reduced by a whole factor to at least twice
    the size `target`, and what part of it `resize` has to take: None stands for all."""
    width, height = size
    factor = min(width // target[0], height // target[1]) // 2
    # The grey scale of these two depends on the whole picture.
    if factor > 1 and width * height > _BAND_PIXELS and mode not in {"I", "F"}:
        # Without the box, a last row or column that is only partly filled would shift the picture.
        return _reduced_in_bands(rows, size, factor), (0, 0, width / factor, height / factor)
    return _plain(rows(0, height)), None


def scaled(
    image: Image.Image, box: Box | None, target: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    if image.size == target:
        return image
    return image.resize(target, resample, box=box, reducing_gap=2.0)


def _reduced_in_bands(rows: Rows, size: tuple[int, int], factor: int) -> Image.Image:
    width, height = size
    step = max(1, _BAND_PIXELS // width // factor) * factor
    first = _plain(rows(0, min(step, height))).reduce(factor)
    result = Image.new(first.mode, (first.width, -(-height // factor)))
    result.paste(first, (0, 0))
    for top in range(step, height, step):
        band = _plain(rows(top, min(top + step, height)))
        result.paste(band.reduce(factor), (0, top // factor))
    return result


def _plain(image: Image.Image) -> Image.Image:
    """A mode that can be scaled: palettes and bits become colours, deep grey becomes 8 bits."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return _deep_grey(image)
    if mode in ("P", "PA") or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if mode == "1":
        return image.convert("L")
    if mode in ("L", "LA", "La", "RGB", "RGBA", "RGBa", "CMYK", "LAB", "YCbCr"):
        return image
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Deep grey by the range that its values fill: 0..1, 0..255, 0..65535 or their own span."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, next(top for top in (1.0, 255.0, 65535.0) if high <= top)
    grey = (values - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
