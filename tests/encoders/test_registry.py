"""Profiles by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.core.errors import BadInput, UnknownModel
from app.core.vectors import VectorKind
from app.encoders import clip_table, registry


def test_profiles_name_their_models() -> None:
    image, face = registry.profile_models("pocket")
    assert (image.kind, face.kind) == (VectorKind.IMAGE, VectorKind.FACE)
    assert (image.dim, face.dim) == (768, 128)
    image, face = registry.profile_models("studio")
    assert image.id == "open_clip/ViT-L-14/datacomp_xl_s13b_b90k"
    assert (image.dim, face.dim) == (768, 512)
    assert registry.profile_models("studio:ViT-B-32/openai")[0].dim == 512


def test_every_pair_of_open_clip_is_known() -> None:
    import open_clip

    pairs = {(model, tag) for model, found in clip_table._table().items() for tag in found}
    assert pairs == {(model, tag) for model, tag in open_clip.list_pretrained()}
    for model in ("ViT-L-14", "RN50", "ViT-B-16-plus-240"):
        assert clip_table.dimension(model) == open_clip.get_model_config(model)["embed_dim"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("poket", "pocket"),
        ("Studio", "studio"),
        ("pocket:v2", "pocket"),
        ("studio:ViT-L14/openai", "ViT-L-14"),
        ("studio:ViT-L-14/opnai", "ViT-L-14/openai"),
        ("studio:ViT-L-14", "studio:ViT-L-14/openai"),
        ("studio:xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k", "ViT-B-32"),
        ("", "pocket"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(UnknownModel) as raised:
        registry.profile_models(name)
    assert near in raised.value.cure


def test_an_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="auto, cpu, cuda"):
        registry.load_image_encoder("pocket", tmp_path, "tpu")


def test_naming_models_loads_no_heavy_library() -> None:
    script = """
import sys
from app.encoders import registry, weights
registry.profile_models("pocket"), registry.profile_models("studio:ViT-B-32/openai")
heavy = ("torch", "onnxruntime", "open_clip", "dlib", "facenet_pytorch", "tokenizers", "PIL")
print([name for name in heavy if name in sys.modules])
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
