"""What the encoder tests measure with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from app.core.vectors import Pixels


def picture(path: Path, longest: int = 1024) -> Pixels:
    """A photo at exactly `longest` pixels on its long side."""
    opened = Image.open(path).convert("RGB")
    scale = longest / max(opened.size)
    return np.asarray(opened.resize((round(opened.width * scale), round(opened.height * scale))))


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Cosine similarity row by row, (n, d) and (n, d) → (n,)."""
    product = (ours.astype(np.float64) * theirs).sum(-1)
    return product / np.linalg.norm(ours, axis=-1) / np.linalg.norm(theirs, axis=-1)
