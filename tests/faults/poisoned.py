"""A real ingest worker whose image encoder is killed by one picture: the pure white one.

    python -m tests.faults.poisoned

It reads the environment as `clairvision worker` does. Only the encoder is another.
"""

from __future__ import annotations

import os
import signal

import numpy as np

from app.core.jobs import Queue
from app.core.vectors import normalised
from app.encoders import registry
from app.settings import Settings
from workers.logs import set_up_logging
from workers.main import run_worker


class Fragile:
    info = registry.profile_models("pocket")[0]

    def encode_images(self, images):
        if any(image.min() == 255 for image in images):
            os.kill(os.getpid(), signal.SIGKILL)
        return normalised(np.stack([np.resize(i.mean(axis=0), self.info.dim) + 1 for i in images]))


class NoFaces:
    info = registry.profile_models("pocket")[1]

    def detect(self, images):
        return [[] for _ in images]


if __name__ == "__main__":
    registry.load_image_encoder = lambda *_: Fragile()
    registry.load_face_encoder = lambda *_: NoFaces()
    set_up_logging("info")
    run_worker(Settings.from_environment(), [Queue.INGEST])
