"""One scaled decode, and everything that is derived from it.

A photo is opened by the decoder that its content asks for, measured by its header, decoded once at
about the size that is needed, and turned into an upright sRGB picture. Embedding, faces, thumbnail,
hash and quality all start from that picture. This module runs inside the decode child; its functions
are pure and hold no state but a small cache of colour transforms.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.photos import Quality
from app.core.vectors import Pixels
from app.ingest.colour import to_rgb
from app.ingest.exif import Tags
from app.ingest.formats import is_heif, raw_kind
from app.ingest.heif import open_with_libheif
from app.ingest.opened import Opened, Wanted, open_with_pillow, refusing
from app.ingest.raw import open_with_libraw
from app.ingest.scaling import fit, reduced, scaled

_QUALITY_PX = 512
_HASH_PX = 32
_STRUCTURE_PX = 48
# EXIF orientation → what brings the picture upright (Exif 3.0, tag 0x0112).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Upright:
    """An upright sRGB picture (mode RGB) and what is known of its original.

    `width`, `height`: the upright original's pixels. `tags`: the main, Exif and GPS directories.
    """

    image: Image.Image
    width: int
    height: int
    format: str
    tags: tuple[Tags, Tags, Tags]


def open_upright(
    data: bytes,
    max_px: int,
    *,
    max_pixels: int = 100_000_000,
    max_scans: int = 100,
    resample: Image.Resampling = Image.Resampling.HAMMING,
) -> Upright:
    """Decodes `data` once, to at most `max_px` on the long side; a smaller picture stays as it is.

    `resample` finishes what the scaled decode began. Hamming takes less than half of Lanczos's time
    and is enough for models, which scale down again; previews for people ask for Lanczos.

    Raises NotAnImage (not-an-image, truncated, damaged), PhotoRejected (too-large, too-many-scans,
    unsupported-format, decode-memory), and MemoryError.
    """
    with _opened(data, Wanted(max_px, max_pixels, max_scans)) as opened:
        picture, box = reduced(opened.rows, opened.size, opened.mode, opened.target)
    # Lets go of the whole picture, of up to 400 MB, before the rest takes memory.
    opened = replace(opened, rows=lambda *_: picture)
    with refusing(data, max_pixels):
        picture = scaled(picture, box, opened.target, resample)
        picture = to_rgb(picture, opened.profile, opened.coded)
    turn = _TURNS.get(opened.orientation)
    if turn is not None:
        picture = picture.transpose(turn)
    return Upright(picture, *opened.upright, opened.format, opened.tags)


def _opened(data: bytes, wanted: Wanted) -> AbstractContextManager[Opened]:
    kind = raw_kind(data)
    if kind is not None:
        return open_with_libraw(data, kind, wanted)
    if is_heif(data):
        return open_with_libheif(data, wanted)
    return open_with_pillow(data, wanted)


def halved(image: Image.Image) -> Image.Image:
    """Reduced by a whole factor to about 512 px on the long side, never less: the common start of
    thumbnail, hash and quality, at a fifth of the cost of scaling for each. A smaller picture is
    returned as it is."""
    factor = max(image.size) // _QUALITY_PX
    return image.reduce(factor) if factor > 1 else image


def thumbnail(image: Image.Image, max_px: int, *, quality: int = 78) -> bytes:
    """A WebP of at most `max_px` on the long side, without any metadata.

    Method 2: in this size methods 3 and up take about twice as long for 3 % fewer bytes.
    """
    small = image.resize(fit(image.size, max_px), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=quality, method=2, exif=b"", icc_profile=b"", xmp=b"")
    return buffer.getvalue()


def encode(image: Image.Image, image_format: str, *, quality: int = 85) -> bytes:
    """A picture for a preview, "jpeg" or "webp", without any metadata."""
    bare = Image.new("RGB", image.size)
    bare.paste(image)
    buffer = io.BytesIO()
    if image_format == "webp":
        bare.save(buffer, "WEBP", quality=quality, method=2)
    else:
        bare.save(buffer, "JPEG", quality=quality, optimize=False, progressive=False)
    return buffer.getvalue()


def pixels_of(image: Image.Image) -> Pixels:
    """Shape (height, width, 3), uint8, C order."""
    return np.asarray(image, dtype=np.uint8)


def luma_of(image: Image.Image) -> Image.Image:
    """Luma (ITU-R BT.601) at no more than 512 px on the long side; hash and quality share it."""
    grey = image.convert("L")
    return grey.resize(fit(grey.size, _QUALITY_PX), Image.Resampling.BILINEAR, reducing_gap=1.5)


def structure_of(luma: Image.Image) -> bytes:
    """The picture in grey, squeezed into 48 × 48 pixels whatever its shape, row by row: what copies
    are verified by (app/graph/structure.py)."""
    small = luma.resize((_STRUCTURE_PX, _STRUCTURE_PX), Image.Resampling.BOX)
    return small.tobytes()


def quality_of(luma: Image.Image) -> Quality:
    """Sharpness, exposure and clipping, as core.photos.Quality defines them.

    Clipped are lumas 0–2 and 253–255, so that JPEG ringing at the ends counts too.
    """
    counts = np.asarray(luma.histogram(), dtype=np.float64)
    total = counts.sum()
    values = np.asarray(luma, dtype=np.int16)
    return Quality(
        sharpness=_laplacian_variance(values),
        exposure=float(counts @ np.arange(256) / total / 255.0),
        clipped=float((counts[:3].sum() + counts[253:].sum()) / total),
    )


def _laplacian_variance(values: NDArray[np.int16]) -> float:
    if min(values.shape) < 3:
        return 0.0
    middle = values[1:-1, 1:-1]
    edges = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * middle
    return float(edges.var(dtype=np.float32))


def _dct_rows(size: int, count: int) -> NDArray[np.float32]:
    """Rows 1..count of the orthonormal DCT-II matrix (row 0, the mean, is left out)."""
    k = np.arange(1, count + 1, dtype=np.float64)[:, None]
    n = np.arange(size, dtype=np.float64)[None, :]
    rows = np.sqrt(2 / size) * np.cos(np.pi * k * (2 * n + 1) / (2 * size))
    return np.asarray(rows, dtype=np.float32)


_DCT: Final = _dct_rows(_HASH_PX, 8)


def perceptual_hash(luma: Image.Image) -> int:
    """64 bits, unsigned: the signs of the 8 × 8 lowest DCT frequencies about their median.

    C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), 3.2.1:
    32 × 32 luma, DCT-II, coefficients 1 to 8 in both directions, threshold at the median. Row by
    row, the first coefficient in the highest bit. Compare by Hamming distance.
    """
    small = luma.resize((_HASH_PX, _HASH_PX), Image.Resampling.BOX)
    low = _DCT @ np.asarray(small, dtype=np.float32) @ _DCT.T
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
