"""The pocket profile's encoders of pictures and texts. The geometry is told in `head`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from app.core.vectors import Pixels, Vectors
from app.encoders import head
from app.encoders.infos import POCKET_IMAGE


class PocketImageEncoder:
    """n pictures → (n, 768). Thread-safe. Raises ModelUnavailable if a net can't be prepared."""

    info = POCKET_IMAGE

    def __init__(self, models_dir: Path, *, threads: int) -> None:
        from app.encoders.lite2 import Lite2  # noqa: PLC0415  imports the runtime

        _one_blas_thread()
        self._head = head.load()
        self._net = Lite2(models_dir, threads=threads)

    def encode_images(self, images: Sequence[Pixels]) -> Vectors:
        return self._head.pictures(*self._net.describe(images))


class PocketTextEncoder:
    """n texts → (n, 768), the language part only. Thread-safe."""

    info = POCKET_IMAGE

    def __init__(self, models_dir: Path, *, threads: int) -> None:
        from app.encoders.minilm import MiniLM  # noqa: PLC0415

        self._caption_mean = head.load_caption_mean()
        self._net = MiniLM(models_dir, threads=threads)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return head.texts(self._net.encode(texts), self._caption_mean)


@cache
def _one_blas_thread() -> None:
    """For the whole process. The head's products are small: BLAS's threads would wait for each other
    spinning, 27 ms of processor time where one takes 2 for a chunk of 16 photos."""
    threadpool_limits(1, "blas")
