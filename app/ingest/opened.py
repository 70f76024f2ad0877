"""A picture that is decoded but not yet scaled, and why one may be refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageCms,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from app.core.errors import NotAnImage, PhotoRejected
from app.ingest.exif import Tags, orientation_of, read_tags
from app.ingest.formats import coded_colour
from app.ingest.headers import jpeg_scans, webp_size, what_is_it
from app.ingest.scaling import Rows, fit

# MPO comes in as a JPEG, of which it is a kind.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "AVIF")
# What people are told of; Pillow doesn't open the last two.
_NAMES: Final = (*FORMATS, "HEIC", "camera RAW")

# Named so that importing them registers them here, before the decode child shuts its doors.
PLUGINS: Final = (
    AvifImagePlugin, BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin,
    PngImagePlugin, TiffImagePlugin, WebPImagePlugin,
)  # fmt: skip
# One picture a process: the pool is the parallelism.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# The header is checked against our own limit before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

_LARGE_WEBP = 25_000_000
_DAMAGE = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, ArithmeticError,
    AttributeError, RuntimeError, struct.error, ImageCms.PyCMSError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """How large the result may be, in pixels on the long side, and what is refused."""

    max_px: int
    max_pixels: int = 100_000_000
    max_scans: int = 100


@dataclass(frozen=True, slots=True)
class Opened:
    """A decoded picture, not yet turned upright.

    `rows`, `size`, `mode`: its pixels as they are. `target`: (width, height) to scale them to.
    `upright`: (width, height) of the original once it is upright. `orientation`: what brings these
    pixels upright, 1 to 8 as EXIF counts. `profile`: an ICC profile. `coded`: colour primaries and
    transfer characteristics (H.273), of use where there is no profile. `tags`: the main, Exif and
    GPS directories.
    """

    rows: Rows
    size: tuple[int, int]
    mode: str
    target: tuple[int, int]
    upright: tuple[int, int]
    format: str
    orientation: int = 1
    profile: object = None
    coded: tuple[int, int] | None = None
    tags: tuple[Tags, Tags, Tags] = ({}, {}, {})


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Size after the turn that an EXIF orientation asks for."""
    return (size[1], size[0]) if orientation >= 5 else size


def from_image(image: Image.Image, wanted: Wanted, orientation: int) -> Opened:
    """A loaded picture without colours, tags or format of its own."""
    return Opened(
        rows=lambda top, bottom: _rows(image, top, bottom),
        size=image.size,
        mode=image.mode,
        target=fit(image.size, wanted.max_px),
        upright=turned_size(image.size, orientation),
        format="",
        orientation=orientation,
    )


@contextmanager
def open_with_pillow(data: bytes, wanted: Wanted) -> Iterator[Opened]:
    """Raises as `refusing` says, and NotAnImage where Pillow knows no such format."""
    with refusing(data, wanted.max_pixels), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        check_size(image.size, wanted.max_pixels)
        # Every scan costs a pass over the whole picture: 2,000 of them fit into 342 KB.
        if image.format in ("JPEG", "MPO") and jpeg_scans(data) > wanted.max_scans:
            raise PhotoRejected(
                "too-many-scans", f"The JPEG has more than {wanted.max_scans} scans."
            )
        width, height = image.size
        target = fit(image.size, wanted.max_px)
        # The largest DCT reduction (1/2, 1/4, 1/8) that is not smaller than the target; for
        # other formats this does nothing.
        image.draft(None, target)
        image.load()
        tags = read_tags(image)
        orientation = orientation_of(tags[0])
        yield replace(
            from_image(_straight(image), wanted, orientation),
            target=target,
            upright=turned_size((width, height), orientation),
            format="JPEG" if image.format == "MPO" else str(image.format),
            profile=image.info.get("icc_profile"),
            coded=coded_colour(data) if image.format == "AVIF" else None,
            tags=tags,
        )


def _straight(image: Image.Image) -> Image.Image:
    """Pillow takes the ink of every CMYK JPEG for inverted, but only Adobe's programs, which sign
    their files, invert it."""
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        return ImageChops.invert(image)
    return image


def _rows(image: Image.Image, top: int, bottom: int) -> Image.Image:
    if (top, bottom) == (0, image.height):
        return image
    return image.crop((0, top, image.width, bottom))


@contextmanager
def refusing(data: bytes, max_pixels: int) -> Iterator[None]:
    """Whatever a decoder raises becomes NotAnImage (not-an-image, truncated, damaged) or
    PhotoRejected (too-large, decode-memory); refusals of our own and MemoryError pass."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise NotAnImage(what_is_it(data, _NAMES)) from error
    except (PhotoRejected, MemoryError):
        raise
    except _DAMAGE as error:
        raise _damaged(error, data, max_pixels) from error


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raises NotAnImage (damaged) or PhotoRejected (too-large)."""
    width, height = size
    if width < 1 or height < 1:
        raise NotAnImage("The picture has no pixels.", reason="damaged")
    if width * height > max_pixels:
        raise _too_large(width, height, max_pixels)


def _too_large(width: int, height: int, limit: int) -> PhotoRejected:
    return PhotoRejected(
        "too-large",
        f"The picture has {width} × {height} pixels; the limit is {limit / 1e6:g} MP.",
        cure="The limit is the setting CLAIR_MAX_MEGAPIXELS.",
    )


def out_of_memory() -> PhotoRejected:
    return PhotoRejected(
        "decode-memory", "Decoding the picture takes more memory than one picture may use."
    )


def unsupported(what: str) -> PhotoRejected:
    """For pictures whose container is known but whose inside no decoder here reads."""
    return PhotoRejected(
        "unsupported-format", what, cure="Save it as JPEG or DNG, then ingest it again."
    )


def _damaged(error: Exception, data: bytes, max_pixels: int) -> PhotoRejected:
    text = str(error).lower()
    # Both libraries name every failure to start alike; libwebp takes 16 bytes a pixel.
    width, height = webp_size(data) or (0, 0)
    if width * height > max_pixels:
        return _too_large(width, height, max_pixels)
    if "memory" in text or width * height > _LARGE_WEBP:
        return out_of_memory()
    if "truncated" in text or "unexpected end" in text or isinstance(error, EOFError):
        return NotAnImage("The picture breaks off before its end.", reason="truncated")
    return NotAnImage("The picture is damaged and can't be decoded.", reason="damaged")
