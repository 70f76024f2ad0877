"""How good a face is as a picture of somebody: how sharp, and how far it looks at the camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.faces import DetectedFace
from app.core.vectors import Pixels

_FACE_PX = 112


def face_sharpness(pixels: Pixels, face: DetectedFace) -> float:
    """Variance of the Laplacian of the face's luma at 112 × 112 pixels (Pech-Pacheco et al., 2000).

    `pixels`: the picture that the face was found in. Higher is sharper; a face of fewer pixels is
    enlarged and so counts as softer, which it is.
    """
    height, width = pixels.shape[:2]
    left, top = int(face.box[0] * width), int(face.box[1] * height)
    right, bottom = max(left + 1, int(face.box[2] * width)), max(top + 1, int(face.box[3] * height))
    crop = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right])).convert("L")
    small = crop.resize((_FACE_PX, _FACE_PX), Image.Resampling.BILINEAR)
    values = np.asarray(small, dtype=np.int16)
    middle = values[1:-1, 1:-1]
    edges = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * middle
    return float(edges.var(dtype=np.float32))


def frontal(landmarks: NDArray[np.float32], width: int, height: int) -> float:
    """0 to 1: how far a face looks at the camera, from its five landmarks (5, 2), fractions of the
    picture's width and height in the order of core.faces.DetectedFace.

    A head that turns shifts the nose from the middle between the eyes, measured along the line of
    the eyes: 1 where it is in the middle, 0 where it is below an eye or beyond.
    """
    points = landmarks.astype(np.float64) * (width, height)
    across = points[1] - points[0]
    apart = float(across @ across)
    if apart == 0:
        return 0.0
    nose = float((points[2] - (points[0] + points[1]) / 2) @ across) / apart
    return max(0.0, 1.0 - 2.0 * abs(nose))
