"""Identities of the models, without loading anything: the web process reads them too."""

from __future__ import annotations

from app.core.vectors import ModelInfo, VectorKind

POCKET_IMAGE = ModelInfo(
    id="pocket-v1",
    kind=VectorKind.IMAGE,
    dim=768,
    licence="Apache-2.0 networks; the head was trained on research data, see its card",
    source="EfficientNet-Lite2, all-MiniLM-L6-v2, app/encoders/heads/pocket-v1.npz",
    settings={"visual_share": "0.5"},
)

POCKET_FACE = ModelInfo(
    id="dlib-resnet-v1-mirrored",
    kind=VectorKind.FACE,
    dim=128,
    licence="CC0-1.0 weights; MIT detector",
    source="MTCNN (facenet-pytorch), dlib_face_recognition_resnet_model_v1",
    settings={"distance": "euclidean", "same_person": "0.55", "cluster_cut": "0.5"},
)

FACENET = ModelInfo(
    id="facenet/inception-resnet-v1/vggface2",
    kind=VectorKind.FACE,
    dim=512,
    licence="MIT; trained on VGGFace2 (research use)",
    source="facenet-pytorch 20180402-114759-vggface2",
    # Schroff et al., 2015: squared distance 1.242 on LFW; to be measured with these weights
    settings={"distance": "euclidean", "same_person": "1.1", "cluster_cut": "1.0"},
)


def open_clip(model: str, tag: str, dim: int) -> ModelInfo:
    return ModelInfo(
        id=f"open_clip/{model}/{tag}",
        kind=VectorKind.IMAGE,
        dim=dim,
        licence="see the checkpoint's own card",
        source=f"open_clip {model}, pretrained {tag}",
    )
