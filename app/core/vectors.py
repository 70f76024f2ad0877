"""Vectors and the models that make them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""An upright sRGB picture, shape (height, width, 3), dtype uint8."""

Vectors = NDArray[np.float32]
"""One L2-normalised embedding a row, shape (n, d), dtype float32."""


class VectorKind(StrEnum):
    IMAGE = "image"
    FACE = "face"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Identity of an encoder. Vectors of two different `id`s are never compared.

    `id` is stable and readable, for example `pocket-v1` or `open_clip/ViT-L-14/datacomp_xl_s13b_b90k`.
    """

    id: str
    kind: VectorKind
    dim: int
    licence: str
    source: str
    settings: dict[str, str] = field(default_factory=dict)


def normalised(vectors: NDArray[np.floating]) -> Vectors:
    """Rows scaled to unit length; an all-zero row stays zero. Shape (n, d) → (n, d), float32."""
    rows = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Vectors = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return unit
