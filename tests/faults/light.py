"""A real ingest worker with encoders that compute next to nothing, so that faults and not models
take the time of a test.

    python -m tests.faults.light

It reads the environment as `clairvision worker` does. Two things can be done to it:
a pure white picture kills it; while its home holds a file `hold`, it stands still with photos in
hand, and says so by a file `holding`.
"""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from app.core.errors import ClairError
from app.core.vectors import normalised
from app.encoders import registry
from app.settings import Settings
from workers.logs import set_up_logging
from workers.main import parse_queues, run_worker


class LightImages:
    info = registry.profile_models("pocket")[0]

    def __init__(self, home) -> None:
        self._home = home

    def encode_images(self, images):
        if any(image.min() == 255 for image in images):
            os.kill(os.getpid(), signal.SIGKILL)
        while (self._home / "hold").exists():
            (self._home / "holding").touch()
            time.sleep(0.01)
        return normalised(np.stack([np.resize(i.mean(axis=0), self.info.dim) + 1 for i in images]))


class NoFaces:
    info = registry.profile_models("pocket")[1]

    def detect(self, images):
        return [[] for _ in images]


def main() -> None:
    settings = Settings.from_environment()
    registry.load_image_encoder = lambda *_: LightImages(settings.home)
    registry.load_face_encoder = lambda *_: NoFaces()
    set_up_logging("info")
    try:
        run_worker(settings, parse_queues("ingest"))
    except ClairError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
