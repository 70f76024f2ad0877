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
    settings={"distance": "euclidean on unit vectors", "same_person": "0.9", "cluster_cut": "0.85"},
)
