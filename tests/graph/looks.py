"""Made-up scenes, and the copies that people make of photos."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from app.ingest import derive


def scene(seed: int, width: int = 480, height: int = 320) -> Image.Image:
    """A scene of its own for each seed: light at three scales, and noise like a camera's."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells, strength in ((4, 60), (12, 40), (40, 25)):
        small = random.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(small[:, :, channel])
            total[:, :, channel] += np.asarray(
                layer.resize((width, height), Image.Resampling.BICUBIC)
            )
    total += 128 + random.normal(0, 2, total.shape)
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def picture(image: Image.Image) -> np.ndarray:
    """(48, 48) uint8, as the ingest stores it."""
    stored = derive.structure_of(derive.luma_of(image))
    return np.frombuffer(stored, np.uint8).reshape(48, 48)


def thumb(image: Image.Image) -> bytes:
    return derive.thumbnail(image, 360)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue())).convert("RGB")


def cropped(
    image: Image.Image, left: float, top: float, right: float, bottom: float
) -> Image.Image:
    """What is left where these shares of the sides are cut off."""
    width, height = image.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return image.crop(tuple(round(edge) for edge in box))
