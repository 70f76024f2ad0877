"""The studio profile equals open_clip and facenet-pytorch on the same pixels.

Checkpoints are of the real architectures, with random weights written by the reference libraries:
the real ones need a download.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.core.errors import ModelUnavailable
from app.core.vectors import Pixels
from app.encoders import clip_table, infos, weights
from app.encoders.clip import ClipImageEncoder, ClipTextEncoder
from app.encoders.registry import load_face_encoder, load_image_encoder, load_text_encoder
from tests.encoders.comparing import cosines

TEXTS = ["first dance, smiling", "a cat", "two people in front of a red tent " * 30]


def _assert_equal_to_open_clip(
    folder: Path, model: str, tag: str, photos: list[Pixels], dtype: str
) -> None:
    import open_clip
    import torch

    torch.manual_seed(7)
    known = open_clip.get_pretrained_cfg(model, tag) or {}
    reference, _, transform = open_clip.create_model_and_transforms(
        model,
        image_mean=known.get("mean"),
        image_std=known.get("std"),
        force_quick_gelu=bool(known.get("quick_gelu")),
    )
    reference.eval()
    checkpoint = folder / f"{model}.pt"
    torch.save(reference.state_dict(), checkpoint)
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.fromarray(photo)) for photo in photos])
        pictures = reference.encode_image(pixels).numpy()
        texts = reference.encode_text(open_clip.get_tokenizer(model)(TEXTS)).numpy()
    info = infos.open_clip(model, tag, clip_table.dimension(model))
    given = (model, tag, info, checkpoint)
    found = ClipImageEncoder(*given, device=dtype, threads=2).encode_images(photos)
    assert found.shape == (len(photos), info.dim)
    assert cosines(found, pictures).min() > 0.9999
    found = ClipTextEncoder(*given, device=dtype, threads=2).encode_texts(TEXTS)
    assert cosines(found, texts).min() > 0.9999
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)


def test_clip_equals_open_clip(tmp_path: Path, photos: dict[str, Pixels]) -> None:
    _assert_equal_to_open_clip(tmp_path, "ViT-S-32-alt", "", list(photos.values()), "cpu")


@pytest.mark.slow
def test_the_default_model_equals_open_clip(tmp_path: Path, photos: dict[str, Pixels]) -> None:
    model, tag = clip_table.DEFAULT.split("/")
    _assert_equal_to_open_clip(tmp_path, model, tag, [photos["cat"]], "cpu")


def test_a_tags_preprocessing_and_activation_reach_the_model(
    tmp_path: Path, photos: dict[str, Pixels]
) -> None:
    """`openai` checkpoints need QuickGELU, which a checkpoint given as a file doesn't say."""
    _assert_equal_to_open_clip(tmp_path, "RN50", "openai", [photos["cat"]], "cpu")


def test_no_pictures_and_no_texts(tmp_path: Path) -> None:
    import open_clip
    import torch

    checkpoint = tmp_path / "small.pt"
    torch.save(open_clip.create_model("ViT-S-32-alt").state_dict(), checkpoint)
    given = ("ViT-S-32-alt", "", infos.open_clip("ViT-S-32-alt", "", 256), checkpoint)
    assert ClipImageEncoder(*given, device="cpu", threads=1).encode_images([]).shape == (0, 256)
    assert ClipTextEncoder(*given, device="cpu", threads=1).encode_texts([]).shape == (0, 256)


def test_another_models_checkpoint_is_refused(tmp_path: Path) -> None:
    import torch

    checkpoint = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, checkpoint)
    info = infos.open_clip("ViT-S-32-alt", "", 256)
    with pytest.raises(ModelUnavailable, match="not a checkpoint of ViT-S-32-alt"):
        ClipImageEncoder("ViT-S-32-alt", "", info, checkpoint, device="cpu", threads=1)


@pytest.fixture(scope="module")
def facenet_dir(models_dir: Path) -> Path:
    """A models folder with a FaceNet checkpoint as published: its classifier is in it too."""
    import torch
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(3)
    net = InceptionResnetV1(classify=True, num_classes=8631)
    checkpoint = models_dir / "studio" / "facenet--vggface2.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), checkpoint)
    return models_dir


def test_facenet_equals_facenet_pytorch(facenet_dir: Path, photos: dict[str, Pixels]) -> None:
    import torch
    from facenet_pytorch import MTCNN, InceptionResnetV1

    photo = np.tile(photos["astronaut"][:400, :400], (1, 2, 1))
    photo[:, 400:] = photo[:, 400:, ::-1] // 2
    detector = MTCNN(keep_all=True, min_face_size=31.25, select_largest=True)
    net = InceptionResnetV1().eval()
    state = torch.load(weights.require(weights.FACENET, facenet_dir), weights_only=True)
    net.load_state_dict({key: value for key, value in state.items() if "logits" not in key})
    with torch.inference_mode():
        wanted = net(detector(Image.fromarray(photo))).numpy()
    encoder = load_face_encoder("studio", facenet_dir, "cpu", threads=2)
    empty, found = encoder.detect([photos["coffee"], photo])
    assert empty == []
    assert len(found) == len(wanted) == 2
    vectors = np.stack([face.vector for face in found])
    assert vectors.shape == (2, encoder.info.dim)
    assert cosines(vectors, wanted).min() > 0.9999


def test_a_replaced_checkpoint_is_prepared_again(
    facenet_dir: Path, photos: dict[str, Pixels]
) -> None:
    import torch
    from facenet_pytorch import InceptionResnetV1

    before = load_face_encoder("studio", facenet_dir, "cpu").detect([photos["astronaut"]])[0][0]
    torch.manual_seed(4)
    checkpoint = facenet_dir / "studio" / "facenet--vggface2.pt"
    torch.save(InceptionResnetV1().state_dict(), checkpoint)
    after = load_face_encoder("studio", facenet_dir, "cpu").detect([photos["astronaut"]])[0][0]
    assert cosines(before.vector, after.vector) < 0.99


@pytest.mark.parametrize("load", [load_image_encoder, load_text_encoder, load_face_encoder])
def test_missing_weights_name_the_three_ways_out(load, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        load("studio", tmp_path)
    for way in ("models pull", "--from FILE", "--profile pocket"):
        assert way in str(raised.value)


def test_half_a_checkpoint_is_named_as_such(tmp_path: Path) -> None:
    import torch

    checkpoint = tmp_path / "studio" / "ViT-L-14--datacomp_xl_s13b_b90k.pt"
    checkpoint.parent.mkdir()
    torch.save({"weight": torch.zeros(100_000)}, checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:200_000])
    with pytest.raises(ModelUnavailable, match=r"not a whole PyTorch file.*models pull"):
        load_image_encoder("studio", tmp_path)
