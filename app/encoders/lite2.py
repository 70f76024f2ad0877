"""EfficientNet-Lite2: pictures → pooled features and ImageNet class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.vectors import Pixels
from app.encoders import memory, nets

SIDE = 260
CROP_SHARE = 260 / (260 + 32)  # the evaluation crop of efficientnet_lite_builder.py, tensorflow/tpu
FEATURES = 1280
CLASSES = 1000

Array = NDArray[np.float32]


def views(picture: Pixels) -> NDArray[np.uint8]:
    """The centre square and the whole picture squeezed into a square, (2, 260, 260, 3) uint8.

    The crop sees faces and objects undistorted, the squeeze sees what stands at the edges.
    """
    height, width = picture.shape[:2]
    side = min(height, width) * CROP_SHARE
    left, top = (width - side) / 2, (height - side) / 2
    whole = Image.fromarray(picture)
    size, bilinear = (SIDE, SIDE), Image.Resampling.BILINEAR
    centre = whole.resize(size, bilinear, (left, top, left + side, top + side))
    return np.stack([np.asarray(centre), np.asarray(whole.resize(size, bilinear))])


class Lite2:
    """Thread-safe: its callers may share one.

    Runs photo by photo on `threads` threads with a single-threaded session: as fast as larger
    batches on a CPU and far smaller in memory (measured in docs/models.md).
    """

    def __init__(self, models_dir: Path, *, threads: int) -> None:
        path = nets.ensure(nets.POCKET_IMAGE, models_dir)["efficientnet-lite2"]
        self._session = nets.open_session(path)
        self._threads = ThreadPoolExecutor(threads, "lite2")

    def describe(self, pictures: Sequence[Pixels]) -> tuple[Array, Array]:
        """n pictures → features (n, 1280) and class probabilities (n, 1000), means of both views."""
        features = np.empty((len(pictures), FEATURES), np.float32)
        classes = np.empty((len(pictures), CLASSES), np.float32)

        def one(index: int) -> None:
            feeds = {"pixels": views(pictures[index])}
            found, likely = self._session.run(["features", "classes"], feeds)
            features[index], classes[index] = found.mean(0), likely.mean(0)

        list(self._threads.map(one, range(len(pictures))))
        memory.used()
        return features, classes
