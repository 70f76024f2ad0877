"""Models prepared once for all tests here, and real photographs to run them on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from skimage import data as photographs

from app.core.vectors import Pixels


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    """The references run in torch, whose threads wait by spinning on machines that are shared."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def photos() -> dict[str, Pixels]:
    """Photographs that ship inside scikit-image, RGB."""
    return {
        "astronaut": photographs.astronaut(),
        "coffee": photographs.coffee(),
        "cat": photographs.chelsea(),
        "rocket": photographs.rocket(),
    }


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Research photos that are not part of the project."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("CLAIR_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip("research photos are not on this machine (CLAIR_TEST_DATA)")
    return folder
