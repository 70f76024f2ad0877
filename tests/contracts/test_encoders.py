"""One suite over every encoder: what ingest and search rely on, whichever profile is in use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data as photographs

from app.core.ports import FaceEncoder, ImageEncoder, TextEncoder
from app.core.vectors import VectorKind
from app.encoders import infos, registry
from app.encoders.clip import ClipImageEncoder, ClipTextEncoder
from app.encoders.facenet import FaceNetEncoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pocket's exported nets, and studio checkpoints of real architectures with random weights."""
    import open_clip
    import torch
    from facenet_pytorch import InceptionResnetV1

    made = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    torch.save(open_clip.create_model("ViT-S-32-alt").state_dict(), made / "clip.pt")
    (made / "studio").mkdir()
    face_net = InceptionResnetV1(pretrained=None, classify=True, num_classes=8631)
    torch.save(face_net.state_dict(), made / "studio" / "facenet--vggface2.pt")
    return made


@pytest.fixture(scope="module", params=["pocket", "studio"])
def encoders(request, folder) -> tuple[ImageEncoder, TextEncoder, FaceEncoder]:
    if request.param == "pocket":
        return (
            registry.load_image_encoder("pocket", folder),
            registry.load_text_encoder("pocket", folder),
            registry.load_face_encoder("pocket", folder),
        )
    info = infos.open_clip("ViT-S-32-alt", "", 256)
    given = ("ViT-S-32-alt", "", info, folder / "clip.pt")
    return (
        ClipImageEncoder(*given, device="cpu", threads=2),
        ClipTextEncoder(*given, device="cpu", threads=2),
        FaceNetEncoder(folder, device="cpu", threads=2),
    )


PICTURES = [
    photographs.chelsea(),
    photographs.astronaut(),
    np.zeros((1, 1, 3), np.uint8),
    np.full((2000, 3, 3), 255, np.uint8),
    np.zeros((5, 900, 3), np.uint8),
]


def test_they_are_what_they_say(encoders):
    images, texts, faces = encoders
    assert isinstance(images, ImageEncoder)
    assert isinstance(texts, TextEncoder)
    assert isinstance(faces, FaceEncoder)
    assert images.info == texts.info
    assert (images.info.kind, faces.info.kind) == (VectorKind.IMAGE, VectorKind.FACE)


def test_pictures_of_any_shape_become_unit_vectors(encoders):
    images, _, _ = encoders
    vectors = images.encode_images(PICTURES)
    assert vectors.shape == (len(PICTURES), images.info.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_a_picture_alone_and_in_a_batch_are_the_same(encoders):
    images, _, _ = encoders
    together = images.encode_images(PICTURES[:2])
    alone = np.concatenate([images.encode_images([picture]) for picture in PICTURES[:2]])
    assert ((together * alone).sum(axis=1) > 0.9999).all()


def test_texts_become_unit_vectors(encoders):
    _, texts, _ = encoders
    given = ["a cat", "", "🦩 写真", "word " * 3000]
    vectors = texts.encode_texts(given)
    assert vectors.shape == (len(given), texts.info.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_nothing_in_nothing_out(encoders):
    images, texts, faces = encoders
    assert images.encode_images([]).shape == (0, images.info.dim)
    assert texts.encode_texts([]).shape == (0, texts.info.dim)
    assert faces.detect([]) == []


def test_faces_lie_inside_the_picture_the_largest_first(encoders):
    _, _, faces = encoders
    nobody, somebody, *tiny = faces.detect(
        [photographs.coffee(), photographs.astronaut(), *PICTURES[2:]]
    )
    assert nobody == []
    assert somebody
    assert tiny == [[], [], []]
    areas = []
    for face in somebody:
        left, top, right, bottom = face.box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert face.landmarks.shape == (5, 2)
        assert face.vector.shape == (faces.info.dim,)
        assert face.vector.dtype == np.float32
        areas.append((right - left) * (bottom - top))
    assert areas == sorted(areas, reverse=True)
