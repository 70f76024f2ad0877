"""Places where the same five photos live, one module a kind of source.

A module lists its places in `PLACES`: a name and a function that builds one. The function gets an
empty folder and an ExitStack for the servers that it starts. The suite (test_sources.py) finds the
modules by itself.
"""

from __future__ import annotations

import importlib
import io
import pkgutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from app.core.sources import SourceSpec


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 10, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


PHOTOS = {f"photo-{n}.jpg": jpeg(n * 20) for n in range(5)}
"""What every place holds, in the order in which every source must find it."""


@dataclass
class Place:
    """Somewhere photos live.

    `spec` opens it; `recognise(spec.uri)` must name its kind unless `recognised` is False.
    `gone` removes a photo; `change` puts other bytes in its place. `nowhere` is a place of this
    kind that is wrong. `locked` is this place with a credential that does not open it, where the
    kind takes any.
    """

    spec: SourceSpec
    gone: Callable[[str], None]
    change: Callable[[str, bytes], None]
    nowhere: SourceSpec
    locked: SourceSpec | None = None
    recognised: bool = True


Build = Callable[[Path, ExitStack], Place]


def all_places() -> dict[str, Build]:
    found: dict[str, Build] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= importlib.import_module(f"{__name__}.{module.name}").PLACES
    return found
