"""Many small photographs of nothing in particular, all different."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tests.origin import Answer


def pictures(count: int) -> dict[str, bytes]:
    """`count` JPEGs by file name, the same ones every time."""
    rng = np.random.default_rng(11)
    made = {}
    for number in range(count):
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)
        data = io.BytesIO()
        image.save(data, "JPEG", quality=85)
        made[f"{number:05}.jpg"] = data.getvalue()
    return made


def as_answers(photos: dict[str, bytes]) -> dict[str, Answer]:
    """The photos and the list of them, for tests.origin.Origin."""
    answers = {f"/{name}": Answer(data) for name, data in photos.items()}
    return answers | {"/list.txt": Answer("\n".join(photos).encode())}
