"""HEIC and its relatives, by libheif and libde265. Imported by the decode child only.

libheif gives the primary image, puts grids together and applies the turns of the container (irot,
imir). The EXIF orientation repeats those, so it counts only where the container has none: the
standard would ignore it even then, but there are iPhone photos that lie on their side without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pi_heif import HeifFile, HeifImage, options  # type: ignore[import-untyped]
from PIL import Image

from app.core.errors import NotAnImage
from app.ingest.exif import Tags, orientation_of, read_block
from app.ingest.formats import has_turn
from app.ingest.opened import (
    Opened,
    Wanted,
    check_size,
    refusing,
    turned_size,
    unsupported,
)
from app.ingest.scaling import fit

# One picture a process: the pool is the parallelism. Nothing beside the picture is looked at.
options.DECODE_THREADS = 0
options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False


@contextmanager
def open_with_libheif(data: bytes, wanted: Wanted) -> Iterator[Opened]:
    """Raises as `refusing` says, and PhotoRejected (unsupported-format) where it holds no HEVC.

    Takes 4.5 bytes a pixel, 7.5 where the picture has 10 bits.
    """
    with refusing(data, wanted.max_pixels):
        picture = _primary(data, wanted)
        pixels = picture.data
        size, mode, stride = picture.size, picture.mode, picture.stride
        check_size(size, wanted.max_pixels)

        def rows(top: int, bottom: int) -> Image.Image:
            part = pixels[top * stride : bottom * stride]
            return Image.frombytes(mode, (size[0], bottom - top), part, "raw", mode, stride)

        tags = _tags(picture.info.get("exif"))
        coded = picture.info.get("nclx_profile")
        orientation = 1 if has_turn(data) else orientation_of(tags[0])
        yield Opened(
            rows=rows,
            size=size,
            mode=mode,
            target=fit(size, wanted.max_px),
            upright=turned_size(size, orientation),
            format="HEIC",
            orientation=orientation,
            profile=picture.info.get("icc_profile"),
            coded=coded and (coded["color_primaries"], coded["transfer_characteristics"]),
            tags=tags,
        )


def _primary(data: bytes, wanted: Wanted) -> HeifImage:
    """The primary image, decoded."""
    try:
        # 10 and 12 bits become 8, but for grey, which comes as 16.
        images = HeifFile(data, convert_hdr_to_8bit=True, remove_stride=False)
        picture = next((each for each in images if each.info["primary"]), None)
        if picture is None:
            raise NotAnImage("The picture's main image is damaged.", reason="damaged")
        check_size(picture.size, wanted.max_pixels)
        picture.load()
    except (SyntaxError, RuntimeError) as error:
        if isinstance(error, SyntaxError) or "not been built in" in str(error):
            raise unsupported("This kind of HEIF picture can't be read.") from error
        raise
    return picture


def _tags(block: bytes | None) -> tuple[Tags, Tags, Tags]:
    return read_block(block) if block else ({}, {}, {})
