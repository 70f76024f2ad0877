"""One scaled decode, and everything that is derived from it.

A photo is opened with an explicit list of formats, measured by its header, decoded once at about
the size that is needed, and turned into an upright sRGB picture. Embedding, faces, thumbnail, hash
and quality all start from that picture. This module runs inside the decode child; its functions are
pure and hold no state but a small cache of colour transforms.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from app.core.errors import NotAnImage, PhotoRejected
from app.core.photos import Quality
from app.core.vectors import Pixels
from app.ingest.exif import Tags, orientation_of, read_tags
from app.ingest.headers import jpeg_scans, webp_size, what_is_it

# MPO comes in as a JPEG, of which it is a kind.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "AVIF")

# Named so that importing them registers them here, before the decode child shuts its doors.
PLUGINS: Final = (
    AvifImagePlugin, BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin,
    PngImagePlugin, TiffImagePlugin, WebPImagePlugin,
)  # fmt: skip
# One picture a process: the pool is the parallelism, and the child may not start threads.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# The header is checked against our own limit before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

_QUALITY_PX = 512
_HASH_PX = 32
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
# Pictures of more pixels than this are reduced in bands, so that no second full copy is made.
_BAND_PIXELS = 2_000_000
_LARGE_WEBP = 25_000_000
_DAMAGE = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, ArithmeticError,
    AttributeError, RuntimeError, struct.error, ImageCms.PyCMSError,
)  # fmt: skip


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

    Raises NotAnImage (not-an-image, truncated, damaged), PhotoRejected (too-large, too-many-scans),
    and MemoryError.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image, data, max_pixels, max_scans)
            width, height = image.size
            kind = "JPEG" if image.format == "MPO" else str(image.format)
            target = fit(image.size, max_px)
            # The largest DCT reduction (1/2, 1/4, 1/8) that is not smaller than the target; for
            # other formats this does nothing.
            image.draft(None, target)
            image.load()
            tags = read_tags(image)
            profile = image.info.get("icc_profile")
            turn = _TURNS.get(orientation_of(tags[0]))
            scaled = _to_rgb(_scaled(image, target, resample), profile)
    except UnidentifiedImageError as error:
        raise NotAnImage(what_is_it(data, FORMATS)) from error
    except (PhotoRejected, MemoryError):
        raise
    except _DAMAGE as error:
        raise _damaged(error, data, max_pixels) from error
    if turn is not None:
        scaled = scaled.transpose(turn)
        if turn not in (_TURNS[2], _TURNS[3], _TURNS[4]):
            width, height = height, width
    return Upright(scaled, width, height, kind, tags)


def _check(image: Image.Image, data: bytes, max_pixels: int, max_scans: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise NotAnImage("The picture has no pixels.", reason="damaged")
    if width * height > max_pixels:
        raise _too_many_pixels(width, height, max_pixels)
    # Every scan costs a pass over the whole picture: 2,000 of them fit into 342 KB.
    if image.format in ("JPEG", "MPO") and jpeg_scans(data) > max_scans:
        raise PhotoRejected("too-many-scans", f"The JPEG has more than {max_scans} scans.")


def _too_many_pixels(width: int, height: int, limit: int) -> PhotoRejected:
    return PhotoRejected(
        "too-large",
        f"The picture has {width} × {height} pixels; the limit is {limit / 1e6:g} MP.",
        cure="The limit is the setting CLAIR_MAX_MEGAPIXELS.",
    )


def fit(size: tuple[int, int], max_px: int) -> tuple[int, int]:
    """The size within a square of `max_px`, never enlarged, each side at least 1."""
    scale = min(1.0, max_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _scaled(image: Image.Image, target: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    box: tuple[float, float, float, float] | None = None
    factor = min(image.width // target[0], image.height // target[1]) // 2
    # The grey scale of these two depends on the whole picture.
    if factor > 1 and image.width * image.height > _BAND_PIXELS and image.mode not in {"I", "F"}:
        # Without the box, a last row or column that is only partly filled would shift the picture.
        box = (0, 0, image.width / factor, image.height / factor)
        image = _reduced_in_bands(image, factor)
    image = _plain(image)
    if image.size == target:
        return image
    return image.resize(target, resample, box=box, reducing_gap=2.0)


def _reduced_in_bands(image: Image.Image, factor: int) -> Image.Image:
    result: Image.Image | None = None
    rows = max(1, _BAND_PIXELS // image.width // factor) * factor
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        band = _plain(band).reduce(factor)
        if result is None:
            result = Image.new(band.mode, (band.width, -(-image.height // factor)))
        result.paste(band, (0, top // factor))
    return image if result is None else result


def _plain(image: Image.Image) -> Image.Image:
    """A mode that can be scaled: palettes and bits become colours, deep grey becomes 8 bits."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return _deep_grey(image)
    if mode in ("P", "PA") or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if mode == "1":
        return image.convert("L")
    if mode in ("L", "LA", "La", "RGB", "RGBA", "RGBa", "CMYK", "LAB", "YCbCr"):
        return image
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Deep grey by the range that its values fill: 0..1, 0..255, 0..65535 or their own span."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, next(top for top in (1.0, 255.0, 65535.0) if high <= top)
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _to_rgb(image: Image.Image, profile: object) -> Image.Image:
    """sRGB over white. The colour profile is applied where it fits the mode and can be read."""
    alpha: Image.Image | None = None
    if image.mode in ("LA", "La", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode in ("LA", "La", "RGBa", "YCbCr"):
        image = image.convert("RGB")
    if isinstance(profile, bytes) and profile:
        mode = "RGB" if image.mode == "RGBA" else image.mode
        transform = _transform(profile, mode)
        if transform is not None:
            image = (
                ImageCms.applyTransform(
                    image.convert("RGB") if image.mode == "RGBA" else image, transform
                )
                or image
            )
    if image.mode == "LAB":
        image = lab_to_rgb(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=alpha)
        return white
    return image


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB, perceptual intent; None where it is sRGB already or unusable."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        wanted = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}.get(mode)
        name = (source.profile.profile_description or "").lower()
        if space != wanted or (space == "RGB" and name.startswith("srgb")):
            return None
        return ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL
        )
    except _DAMAGE:
        return None


def lab_to_rgb(image: Image.Image) -> Image.Image:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    return ImageCms.applyTransform(image, transform) or image.convert("L")


def _damaged(error: Exception, data: bytes, max_pixels: int) -> PhotoRejected:
    text = str(error).lower()
    # Both libraries name every failure to start alike; libwebp takes 16 bytes a pixel.
    width, height = webp_size(data) or (0, 0)
    if width * height > max_pixels:
        return _too_many_pixels(width, height, max_pixels)
    if "memory" in text or width * height > _LARGE_WEBP:
        return PhotoRejected(
            "decode-memory", "Decoding the picture takes more memory than one picture may use."
        )
    if "truncated" in text or "unexpected end" in text or isinstance(error, EOFError):
        return NotAnImage("The picture breaks off before its end.", reason="truncated")
    return NotAnImage("The picture is damaged and can't be decoded.", reason="damaged")


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
