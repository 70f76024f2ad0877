"""Writes the nets of a profile as ONNX files: `python -m app.encoders.export NET TARGET [WEIGHTS]`.

torch is imported here and nowhere in the pocket profile's run time: this module runs in a child
process that lives a few seconds, once per installation (see `nets.ensure`), so that the workers
themselves never carry torch's memory.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from app.encoders.packages import dlib_face_weights, lite2_weights, minilm_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

LITE2_SIDE = 260


def _onnx(net: nn.Module, example: Tensor, inputs: list[str], outputs: list[str]) -> bytes:
    return _onnx_of(net, (example,), {inputs[0]: {0: "n"}}, outputs)


def _onnx_of(
    net: nn.Module,
    examples: tuple[Tensor, ...],
    axes: dict[str, dict[int, str]],
    outputs: list[str],
) -> bytes:
    import torch  # noqa: PLC0415

    target = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # the exporter without dynamo is deprecated, and the only one that needs no onnxscript
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            examples,
            cast("Any", target),  # a buffer is accepted without dynamo, though not declared
            input_names=list(axes),
            output_names=outputs,
            dynamic_axes={**axes, **{name: {0: "n"} for name in outputs}},
            opset_version=17,
            dynamo=False,
        )
    return target.getvalue()


def efficientnet_lite2(_: Path | None) -> bytes:
    """`pixels` (n, 260, 260, 3) uint8 → `features` (n, 1280), `classes` (n, 1000) probabilities."""
    import torch  # noqa: PLC0415
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    backbone = EfficientNet.from_name("efficientnet-lite2")
    backbone.load_state_dict(torch.load(lite2_weights(), map_location="cpu", weights_only=True))

    class Lite2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            # mean 127 and deviation 128: efficientnet_lite_builder.py of tensorflow/tpu
            x = (pixels.float().permute(0, 3, 1, 2) - 127.0) / 128.0
            features = self.backbone.extract_features(x).mean((2, 3))
            return features, self.backbone._fc(features).softmax(1)

    side = LITE2_SIDE
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    return _onnx(Lite2(), example, ["pixels"], ["features", "classes"])


def minilm(_: Path | None) -> bytes:
    """`words` (n, t, 384) and `mask` (n, t), float32 → `vectors` (n, 384), unit length."""
    import torch  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    from app.encoders import bert  # noqa: PLC0415

    net = bert.from_checkpoint(load_file(minilm_folder() / "model.safetensors"))
    examples = (torch.zeros(2, 8, bert.HIDDEN), torch.ones(2, 8))
    axes = {"words": {0: "n", 1: "t"}, "mask": {0: "n", 1: "t"}}
    return _onnx_of(net, examples, axes, ["vectors"])


def minilm_words(_: Path | None) -> bytes:
    """MiniLM's table of word embeddings as a .npy file, (30522, 384) float32, to be memory-mapped."""
    from safetensors.numpy import load_file  # noqa: PLC0415

    table = load_file(minilm_folder() / "model.safetensors")["embeddings.word_embeddings.weight"]
    target = io.BytesIO()
    np.save(target, np.ascontiguousarray(table, dtype=np.float32))
    return target.getvalue()


def _mtcnn(stage: str) -> bytes:
    """A stage of MTCNN: `pixels` (n, 3, h, w) float32 in 0…255, area-resampled by the caller.

    Outputs as facenet-pytorch's: `offsets` (n, 4, …), `points` (n, 10) from the last stage only,
    `scores` (n, 2, …).
    """
    import torch  # noqa: PLC0415
    from facenet_pytorch.models import mtcnn  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    net = {"pnet": mtcnn.PNet, "rnet": mtcnn.RNet, "onet": mtcnn.ONet}[stage]()

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixels: Tensor) -> Any:
            return self.net((pixels - 127.5) * 0.0078125)

    side = {"pnet": 24, "rnet": 24, "onet": 48}[stage]
    axes = {0: "n", 2: "h", 3: "w"} if stage == "pnet" else {0: "n"}
    outputs = ["offsets", "points", "scores"] if stage == "onet" else ["offsets", "scores"]
    return _onnx_of(Scaled(), (torch.zeros(2, 3, side, side),), {"pixels": axes}, outputs)


def facenet(weights: Path | None) -> bytes:
    """InceptionResnetV1: `pixels` (n, 160, 160, 3) uint8 → `vectors` (n, 512), unit length."""
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    from app.encoders.facenet import inception_resnet  # noqa: PLC0415

    if weights is None:
        raise TypeError("facenet needs a weight file")
    net = inception_resnet(weights)

    class Standardised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixels: Tensor) -> Any:
            return self.net((pixels.float().permute(0, 3, 1, 2) - 127.5) / 128.0)

    example = torch.zeros(2, 160, 160, 3, dtype=torch.uint8)
    return _onnx(Standardised(), example, ["pixels"], ["vectors"])


def dlib_face(_: Path | None) -> bytes:
    """`chips` (n, 150, 150, 3) uint8 → `vectors` (n, 128) float32."""
    from app.encoders import dlib_net  # noqa: PLC0415

    return dlib_net.to_onnx(dlib_face_weights())


WRITERS: dict[str, Callable[[Path | None], bytes]] = {
    "efficientnet-lite2": efficientnet_lite2,
    "minilm": minilm,
    "minilm-words": minilm_words,
    "mtcnn-pnet": lambda _: _mtcnn("pnet"),
    "mtcnn-rnet": lambda _: _mtcnn("rnet"),
    "mtcnn-onet": lambda _: _mtcnn("onet"),
    "dlib-face": dlib_face,
    "facenet": facenet,
}


def main(arguments: list[str]) -> int:
    """Writes pairs of NET=TARGET; the last argument may be `--weights FILE`."""
    weights: Path | None = None
    if "--weights" in arguments:
        at = arguments.index("--weights")
        weights = Path(arguments[at + 1])
        del arguments[at : at + 2]
    for pair in arguments:
        name, _, target = pair.partition("=")
        partial = Path(f"{target}.part")
        partial.write_bytes(WRITERS[name](weights))
        partial.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
