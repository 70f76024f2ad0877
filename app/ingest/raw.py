"""Camera RAW, by LibRaw: the preview that the camera put in, or else a quick development.

Imported by the decode child only.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import rawpy
from PIL import Image

from app.core.errors import NotAnImage
from app.ingest.exif import Tags, read_block
from app.ingest.formats import canon_tags
from app.ingest.opened import (
    Opened,
    Wanted,
    check_size,
    from_image,
    open_with_pillow,
    out_of_memory,
    refusing,
    turned_size,
    unsupported,
)

_TOO_LARGE = (
    rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError, rawpy.LibRawMemPoolOverflowError,
)  # fmt: skip
# A smaller preview is a thumbnail for the camera's own screen: 160, 320 or 640 pixels.
_USABLE_PX = 1000
# LibRaw's `flip` → EXIF orientation (dcraw's table "50132467", the other way round).
_ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
# What these begin with instead of a TIFF's version, and the kinds that are no TIFF at all.
_TIFF_STARTS = {
    b"IIRO": b"II*\x00",
    b"IIRS": b"II*\x00",
    b"MMOR": b"MM\x00*",
    b"IIU\x00": b"II*\x00",
}
_NO_TIFF = {"RAF", "CRW", "MRW", "X3F"}

Preview = bytes | Image.Image
"""A JPEG file, or pixels."""


@contextmanager
def open_with_libraw(data: bytes, kind: str, wanted: Wanted) -> Iterator[Opened]:
    """`kind` as formats.raw_kind gives it. The size is that of the RAW picture, the pixels are its
    preview's.

    Raises as `refusing` says, and PhotoRejected (unsupported-format) where LibRaw doesn't know it.
    """
    with refusing(data, wanted.max_pixels), _translated(), rawpy.RawPy() as raw:
        raw.open_buffer(io.BytesIO(data))
        size, orientation = _size(raw.sizes), _ORIENTATIONS.get(raw.sizes.flip, 1)
        if min(size) < 1:
            raise NotAnImage("The picture has no pixels.", reason="damaged")
        with _opened(_best(raw, size, wanted), orientation, wanted) as found:
            yield replace(
                found,
                upright=turned_size(size, orientation),
                format=kind,
                orientation=_turn(found, size, orientation),
                tags=_tags(data, kind) or found.tags,
            )


@contextmanager
def _translated() -> Iterator[None]:
    """LibRaw's errors as ours."""
    try:
        yield
    except _TOO_LARGE as error:
        raise out_of_memory() from error
    except rawpy.LibRawFileUnsupportedError as error:
        raise unsupported("This camera's RAW files can't be read.") from error
    except rawpy.LibRawIOError as error:
        raise NotAnImage("The picture breaks off before its end.", reason="truncated") from error
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        raise NotAnImage(
            "The picture is damaged and can't be decoded.", reason="damaged"
        ) from error


def _size(sizes: rawpy.ImageSizes) -> tuple[int, int]:
    """What the camera calls the picture, without the sensor's rim where the file tells it."""
    if 0 < sizes.crop_width <= sizes.raw_width and 0 < sizes.crop_height <= sizes.raw_height:
        return sizes.crop_width, sizes.crop_height
    return sizes.width, sizes.height


def _best(raw: rawpy.RawPy, size: tuple[int, int], wanted: Wanted) -> Preview:
    """The largest preview, or a development where that is only a thumbnail."""
    preview = _preview(raw)
    if preview is not None and _long_side(preview) >= min(_USABLE_PX, max(size)):
        return preview
    try:
        return _developed(raw, size, wanted)
    except rawpy.LibRawError:
        if preview is None:
            raise
        return preview


def _preview(raw: rawpy.RawPy) -> Preview | None:
    try:
        found = raw.extract_thumb()
    except (rawpy.LibRawError, rawpy.NotSupportedError):
        return None  # none in it, damaged, or of a kind like HEVC
    if isinstance(found.data, bytes):
        return found.data
    return Image.fromarray(found.data.squeeze())


def _long_side(preview: Preview) -> int:
    if isinstance(preview, Image.Image):
        return max(preview.size)
    try:
        with Image.open(io.BytesIO(preview), formats=("JPEG",)) as image:
            return max(image.size)
    except (OSError, SyntaxError, ValueError):
        return 0


def _developed(raw: rawpy.RawPy, size: tuple[int, int], wanted: Wanted) -> Image.Image:
    """Four sensor pixels become one: 2 + 2 + 0.75 bytes a pixel, and no interpolation."""
    check_size(size, wanted.max_pixels)
    pixels = raw.postprocess(
        half_size=max(size) >= 2 * _USABLE_PX,
        demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR,
        use_camera_wb=True,
        user_flip=0,
    )
    return Image.fromarray(pixels.squeeze())


@contextmanager
def _opened(preview: Preview, orientation: int, wanted: Wanted) -> Iterator[Opened]:
    if isinstance(preview, bytes):
        with open_with_pillow(preview, wanted) as opened:
            yield opened
    else:
        check_size(preview.size, wanted.max_pixels)
        yield from_image(preview, wanted, orientation)


def _turn(preview: Opened, size: tuple[int, int], orientation: int) -> int:
    """What brings the preview upright. Most are stored as the sensor saw them and carry the RAW's
    orientation, or LibRaw adds it; some are upright already, whatever their tag says."""
    wide = _is_wide(size, orientation)
    for turn in (preview.orientation, orientation, 1):
        if _is_wide(preview.size, turn) == wide:
            return turn
    return preview.orientation


def _is_wide(size: tuple[int, int], orientation: int) -> bool:
    width, height = turned_size(size, orientation)
    return width > height


def _tags(data: bytes, kind: str) -> tuple[Tags, Tags, Tags] | None:
    """The RAW's own directories; None where it has none that can be read."""
    if kind == "CR3":
        main, exif, gps = (read_block(block)[0] for block in canon_tags(data))
    elif kind in _NO_TIFF:
        return None
    else:
        start = _TIFF_STARTS.get(data[:4])
        main, exif, gps = read_block(start + data[4:] if start else data)
    return (main, exif, gps) if main or exif else None
