"""From whatever colours a picture was stored in to 8-bit sRGB over white."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_DAMAGE = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, ArithmeticError,
    AttributeError, RuntimeError, ImageCms.PyCMSError,
)  # fmt: skip

# RGB to XYZ under D65, from the primaries of H.273, table 2: 1 BT.709, 9 BT.2020, 12 Display P3.
_TO_XYZ: Final = {
    1: ((0.412391, 0.357584, 0.180481), (0.212639, 0.715169, 0.072192), (0.019331, 0.119195, 0.950532)),
    9: ((0.636958, 0.144617, 0.168881), (0.262700, 0.677998, 0.059302), (0.000000, 0.028073, 1.060985)),
    12: ((0.486571, 0.265668, 0.198217), (0.228975, 0.691739, 0.079287), (0.000000, 0.045113, 1.043944)),
}  # fmt: skip
_LINEAR, _PQ, _HLG = 8, 16, 18  # H.273, table 3
# Diffuse white of HDR pictures in cd/m² (ITU-R BT.2408-7, 2.1), and the brightest that is shown.
_HDR_WHITE, _HDR_PEAK = 203.0, 1000.0
_KNEE = 0.5  # highlights are pressed together above this share of white; what is darker stays
_ROWS = 256


def to_rgb(image: Image.Image, profile: object, coded: tuple[int, int] | None) -> Image.Image:
    """sRGB over white. The ICC profile is applied where it fits the mode and can be read, else the
    `coded` colour primaries and transfer characteristics (H.273)."""
    alpha: Image.Image | None = None
    if image.mode in ("LA", "La", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode in ("LA", "La", "RGBA", "RGBa", "YCbCr"):
        image = image.convert("RGB")
    if isinstance(profile, bytes) and profile:
        transform = _transform(profile, image.mode)
        if transform is not None:
            image = ImageCms.applyTransform(image, transform) or image
    elif coded is not None and image.mode == "RGB":
        image = _decoded(image, *coded)
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


def _decoded(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    """From coded colour to sRGB. Everything that is not listed above counts as sRGB already: the
    camera curves of BT.709 and BT.601 are shown as if they were it."""
    hdr = transfer in (_PQ, _HLG)
    if not hdr and transfer != _LINEAR and primaries not in (9, 12):
        return image
    curve = _light(transfer)
    matrix = _to_srgb(primaries)
    pixels = np.array(image, dtype=np.uint8)
    # In strips, because the arithmetic takes 12 bytes a pixel several times over.
    for top in range(0, len(pixels), _ROWS):
        light = curve[pixels[top : top + _ROWS]]
        if transfer == _HLG:
            light *= _hlg_gain(light, primaries)
        light = light @ matrix.T
        if hdr:
            light = _pressed(light)
        pixels[top : top + _ROWS] = _encoded(light)
    return Image.fromarray(pixels)


@lru_cache(maxsize=4)
def _light(transfer: int) -> NDArray[np.float32]:
    """Linear light of the 256 codes, 1 being diffuse white. SMPTE ST 2084, 5.2; BT.2100, table 5."""
    codes = np.arange(256) / 255.0
    if transfer == _PQ:
        m1, m2 = 2610 / 16384, 2523 / 32
        c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
        root = codes ** (1 / m2)
        light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10_000 / _HDR_WHITE
    elif transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)
    elif transfer == _LINEAR:
        light = codes
    else:
        light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _hlg_gain(scene: NDArray[np.float32], primaries: int) -> NDArray[np.float32]:
    """What turns scene light into that of a display of 1,000 cd/m² (BT.2100, table 5, gamma 1.2)."""
    weights = np.asarray(_TO_XYZ.get(primaries, _TO_XYZ[1])[1], dtype=np.float32)
    luminance = np.maximum(scene @ weights, 1e-6)[..., None]
    return np.asarray(luminance**0.2 * (_HDR_PEAK / _HDR_WHITE), dtype=np.float32)


@lru_cache(maxsize=4)
def _to_srgb(primaries: int) -> NDArray[np.float32]:
    matrix = np.linalg.inv(np.array(_TO_XYZ[1])) @ np.array(_TO_XYZ.get(primaries, _TO_XYZ[1]))
    return np.asarray(matrix, dtype=np.float32)


def _pressed(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Highlights up to the peak pressed below white, the hue kept: E. Reinhard et al., "Photographic
    Tone Reproduction for Digital Images" (2002), equation 4, on what lies above the knee."""
    brightest = light.max(axis=-1, keepdims=True)
    above = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
    white = (_HDR_PEAK / _HDR_WHITE - _KNEE) / (1 - _KNEE)
    pressed = _KNEE + (1 - _KNEE) * above * (1 + above / white**2) / (1 + above)
    light *= np.where(brightest > _KNEE, pressed / np.maximum(brightest, 1e-6), 1)
    return light


_SRGB_STEPS: Final = 4095


@lru_cache(maxsize=1)
def _srgb_codes() -> NDArray[np.uint8]:
    """sRGB code of linear light in 4,096 steps (IEC 61966-2-1)."""
    light = np.arange(_SRGB_STEPS + 1) / _SRGB_STEPS
    codes = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(codes * 255), dtype=np.uint8)


def _encoded(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    steps = np.rint(np.clip(light, 0, 1) * _SRGB_STEPS).astype(np.uint16)
    return np.asarray(_srgb_codes()[steps], dtype=np.uint8)
