"""The studio profile's faces: MTCNN and InceptionResnetV1 (facenet-pytorch, VGGFace2 weights).

On a CPU the embedding runs in ONNX Runtime, which is faster there than torch; on CUDA it
stays in torch. Pictures are cropped as `facenet_pytorch.extract_face` does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.errors import ModelUnavailable
from app.core.faces import DetectedFace
from app.core.vectors import Pixels
from app.encoders import nets, weights
from app.encoders.found_faces import detected, smallest_face
from app.encoders.infos import FACENET
from app.encoders.mtcnn import Mtcnn
from app.encoders.torch_device import chosen

SIDE = 160
_CPU_BATCH, _CUDA_BATCH = 8, 256

Array = NDArray[np.float32]
Embed = Callable[[NDArray[np.uint8]], Array]


def inception_resnet(path: Path) -> Any:
    """InceptionResnetV1 with a checkpoint's weights, in eval mode. Raises ModelUnavailable."""
    import torch  # noqa: PLC0415
    from facenet_pytorch import InceptionResnetV1  # noqa: PLC0415

    net = InceptionResnetV1(pretrained=None)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        kept = {key: value for key, value in state.items() if not key.startswith("logits.")}
        net.load_state_dict(kept)
    except Exception as error:  # torch raises pickle, zip, runtime and key errors here
        raise ModelUnavailable(
            f"{path.name} is not a checkpoint of InceptionResnetV1.",
            cure=f"Get it again: clairvision models pull {weights.FACENET}",
        ) from error
    return net.eval()


def crop(picture: Pixels, box: Array) -> NDArray[np.uint8]:
    """The face in a box of pixels, (160, 160, 3) uint8."""
    height, width = picture.shape[:2]
    left, top = int(max(box[0], 0)), int(max(box[1], 0))
    right, bottom = int(min(box[2], width)), int(min(box[3], height))
    face = Image.fromarray(picture[top:bottom, left:right])
    return np.asarray(face.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _on_cpu(checkpoint: Path, models_dir: Path, threads: int) -> Embed:
    exported = models_dir.resolve() / "studio" / f"{checkpoint.name}-r{nets.RECIPE}.onnx"
    with nets.exporting(exported.parent):
        stale = not exported.exists() or exported.stat().st_mtime < checkpoint.stat().st_mtime
        if stale:
            nets.run_export([f"facenet={exported}", "--weights", str(checkpoint.resolve())])
    session = nets.open_session(exported, threads=threads)

    def embed(faces: NDArray[np.uint8]) -> Array:
        parts = [
            session.run(None, {"pixels": faces[start : start + _CPU_BATCH]})[0]
            for start in range(0, len(faces), _CPU_BATCH)
        ]
        return np.concatenate(parts)

    return embed


def _on_cuda(checkpoint: Path) -> Embed:
    import torch  # noqa: PLC0415

    net = inception_resnet(checkpoint).to("cuda", memory_format=torch.channels_last)

    def embed(faces: NDArray[np.uint8]) -> Array:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(faces), _CUDA_BATCH):
                batch = torch.from_numpy(faces[start : start + _CUDA_BATCH]).to("cuda")
                pixels = (batch.permute(0, 3, 1, 2).float() - 127.5) / 128.0
                parts.append(net(pixels).cpu().numpy())
        return np.concatenate(parts)

    return embed


class FaceNetEncoder:
    """n pictures → faces with 512-d unit vectors. Thread-safe.

    Two vectors are compared by Euclidean distance, which for unit vectors is √(2 − 2·cosine).
    Raises ModelUnavailable if the weights are missing or broken.
    """

    info = FACENET

    def __init__(self, models_dir: Path, *, device: str, threads: int) -> None:
        checkpoint = weights.require(weights.FACENET, models_dir)
        self._mtcnn = Mtcnn(models_dir)
        on_cuda = chosen(device) == "cuda"
        self._embed = _on_cuda(checkpoint) if on_cuda else _on_cpu(checkpoint, models_dir, threads)
        self._threads = ThreadPoolExecutor(threads, "faces")

    def detect(self, images: Sequence[Pixels]) -> list[list[DetectedFace]]:
        """Detection runs picture by picture, the embedding over all their faces at once."""
        if not images:
            return []
        pictures = [np.ascontiguousarray(picture) for picture in images]
        found = list(
            self._threads.map(
                lambda picture: self._mtcnn.detect(picture, smallest=smallest_face(picture)),
                pictures,
            )
        )
        crops = [
            crop(picture, box)
            for picture, faces in zip(pictures, found, strict=True)
            for box in faces.boxes
        ]
        vectors = self._embed(np.stack(crops)) if crops else np.empty((0, FACENET.dim), np.float32)
        ends = np.cumsum([len(faces.boxes) for faces in found])[:-1]
        return [
            detected(picture, faces, part)
            for picture, faces, part in zip(pictures, found, np.split(vectors, ends), strict=True)
        ]
