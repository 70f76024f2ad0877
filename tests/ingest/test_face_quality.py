"""Sharpness and pose of faces whose answer is known."""

import numpy as np
import pytest
from PIL import ImageFilter

from app.core.faces import DetectedFace
from app.ingest.face_quality import face_sharpness, frontal
from tests.ingest.pictures import scene

FRONT = np.array([[40, 40], [60, 40], [50, 52], [43, 62], [57, 62]], np.float32)


def face(box=(0.25, 0.25, 0.75, 0.75)) -> DetectedFace:
    return DetectedFace(box, FRONT / 100, 0.99, np.ones(4, np.float32))


def test_only_the_face_counts():
    image = scene(800, 600)
    blurred = image.filter(ImageFilter.GaussianBlur(4))
    middle = (200, 150, 600, 450)
    soft_face, soft_rest = image.copy(), blurred.copy()
    soft_face.paste(blurred.crop(middle), middle)
    soft_rest.paste(image.crop(middle), middle)
    sharp, soft = (face_sharpness(np.asarray(im), face()) for im in (soft_rest, soft_face))
    assert sharp > 3 * soft
    assert sharp == pytest.approx(face_sharpness(np.asarray(image), face()), rel=0.01)


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (0.5, 0.5, 0.5, 0.5), (0.999, 0.999, 1, 1)])
def test_any_box_has_a_sharpness(box):
    assert face_sharpness(np.asarray(scene(64, 48)), face(box)) >= 0


def turned(degrees: float, points=FRONT) -> np.ndarray:
    """The points turned in the picture's plane around their middle."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - 50) @ matrix.T + 50


def with_nose(share: float) -> np.ndarray:
    """The nose moved by a share of the eyes' distance."""
    points = FRONT.copy()
    points[2, 0] += 20 * share
    return points


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (FRONT, 1.0),
        (turned(30), 1.0),
        (with_nose(0.25), 0.5),
        (with_nose(-0.25), 0.5),
        (with_nose(0.5), 0.0),
        (with_nose(0.9), 0.0),
        (turned(-70, with_nose(0.25)), 0.5),
        (np.full((5, 2), 50.0), 0.0),
    ],
)
@pytest.mark.parametrize("size", [(100, 100), (3000, 400)])
def test_frontal(points, expected, size):
    """Whatever the picture's shape: landmarks are fractions of both of its sides."""
    width, height = size
    landmarks = (points / np.array(size)).astype(np.float32)
    assert frontal(landmarks, width, height) == pytest.approx(expected, abs=1e-4)
