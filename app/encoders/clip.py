"""The studio profile's pictures and texts: any model and checkpoint of open_clip.

On a CPU float32 (bf16 is 12 times slower without AVX512-BF16); on CUDA bf16, fused attention (SDPA,
which open_clip's and torch's attention modules use there) and large batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.core.errors import ModelUnavailable
from app.core.vectors import ModelInfo, Pixels, Vectors, normalised
from app.encoders.torch_device import chosen

_CPU_BATCH, _CUDA_BATCH = 8, 128
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@lru_cache(maxsize=2)  # the model in use, and one that is being tried beside it
def _load(model: str, tag: str, path: Path, device: str) -> tuple[Any, Callable[[Any], Any]]:
    """The model and its preprocessing; one copy a process, whoever asks. Raises ModelUnavailable.

    A checkpoint given as a file loses what its tag says about pixels and activation, so both are
    passed on here.
    """
    import open_clip  # noqa: PLC0415
    import torch  # noqa: PLC0415

    known = open_clip.get_pretrained_cfg(model, tag) or {}
    try:
        net, _, transform = open_clip.create_model_and_transforms(
            model,
            pretrained=str(path),
            precision="bf16" if device == "cuda" else "fp32",
            device=torch.device(device),
            force_quick_gelu=bool(known.get("quick_gelu")),
            **{f"image_{key}": known[key] for key in _PREPROCESSING if key in known},
        )
    except Exception as error:  # torch raises pickle, zip, runtime and key errors here
        raise ModelUnavailable(
            f"{path.name} is not a checkpoint of {model}.",
            cure=f"Get it again: clairvision models pull {model}/{tag}",
        ) from error
    return net.eval(), transform


class _Clip:
    def __init__(
        self, model: str, tag: str, info: ModelInfo, checkpoint: Path, *, device: str, threads: int
    ) -> None:
        self.info = info
        self._device = chosen(device)
        self._model = model
        self._batch = _CUDA_BATCH if self._device == "cuda" else _CPU_BATCH
        self._threads = ThreadPoolExecutor(threads, "clip")
        if self._device == "cpu":
            import torch  # noqa: PLC0415

            torch.set_num_threads(threads)
        self._net, self._transform = _load(model, tag, checkpoint.resolve(), self._device)

    def _run(self, encode: Callable[[Any], Any], inputs: list[Any]) -> Vectors:
        """Encodes stacked tensors batch by batch → unit vectors on the host."""
        import torch  # noqa: PLC0415

        dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        vectors = np.empty((len(inputs), self.info.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(inputs), self._batch):
                part = torch.stack(inputs[start : start + self._batch]).to(self._device)
                if part.is_floating_point():
                    part = part.to(dtype)
                found = encode(part).float().cpu().numpy()
                vectors[start : start + len(found)] = found
        return normalised(vectors)


class ClipImageEncoder(_Clip):
    """n pictures → (n, d) unit vectors."""

    def encode_images(self, images: Sequence[Pixels]) -> Vectors:
        pixels = self._threads.map(
            lambda picture: self._transform(Image.fromarray(picture)), images
        )
        return self._run(self._net.encode_image, list(pixels))


class ClipTextEncoder(_Clip):
    """n texts → (n, d) unit vectors. A text beyond the model's context is cut."""

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        import open_clip  # noqa: PLC0415

        tokens = open_clip.get_tokenizer(self._model)(list(texts)) if texts else []
        return self._run(self._net.encode_text, list(tokens))
