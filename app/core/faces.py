"""Faces found in a photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """One face.

    `box`: left, top, right, bottom as fractions of the picture's width and height, within [0, 1].
    `landmarks`: shape (5, 2), float32, same fractions: both eyes, nose, both mouth corners, in
    MTCNN's order. `score`: the detector's probability. `vector`: shape (d,), float32, the face
    model's embedding (unit length for FaceNet; dlib's distance is Euclidean and its vectors keep
    their length).
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    score: float
    vector: NDArray[np.float32]
