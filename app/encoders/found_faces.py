"""What both face encoders share: how small a face may be, and the shape of the answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.core.faces import DetectedFace
from app.core.vectors import Pixels
from app.encoders.mtcnn import Found

_SMALLEST_SHARE = 40 / 1024  # of the long side: time grows with the inverse square
_SMALLEST = 20.0  # pixels; below, there is too little to recognise


def smallest_face(picture: Pixels) -> float:
    """The least size in pixels of a face worth finding in this picture."""
    return max(_SMALLEST, _SMALLEST_SHARE * float(max(picture.shape[:2])))


def detected(picture: Pixels, found: Found, vectors: NDArray[np.float32]) -> list[DetectedFace]:
    """Pixels to fractions: n faces and their vectors (n, d) as the contract wants them."""
    size = np.array(picture.shape[1::-1], np.float32)
    boxes = np.clip(found.boxes / np.tile(size, 2), 0, 1)
    return [
        DetectedFace(
            box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            landmarks=(points / size).astype(np.float32),
            score=float(score),
            vector=vector,
        )
        for box, points, score, vector in zip(
            boxes, found.points, found.scores, vectors, strict=True
        )
    ]
