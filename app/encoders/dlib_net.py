"""dlib's face ResNet as an ONNX graph, read from dlib's own weight file.

The package `dlib-bin` runs this net without a BLAS, at about 100 ms a face; ONNX Runtime runs the
same arithmetic several times faster, and nothing of dlib is needed at run time.

File format (dlib/dnn/core.h and layers.h, dlib/serialize.h, dlib/cuda/tensor.h): layers are written
innermost first. A `con_` or `fc_` layer writes a version string and then its parameters, an
`affine_` layer likewise. A tensor is a version, four dimensions (integers in dlib's compressed
form: one byte with the count of bytes in its low half and the sign in its top bit, then the bytes,
little-endian) and its values as little-endian float32.

Network: `anet_type` of dlib/tools/python/src/face_recognition.cpp, of 29 convolutions (King, 2017).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.errors import ModelUnavailable

CHIP = 150
DIMENSION = 128
_MEAN = (122.782, 117.001, 104.298)  # of input_rgb_image_sized, the training set's mean colour
_TAG = re.compile(rb"\x01[\x05](con)_4|\x01\x07(affine)_|\x01\x04(fc)_2")
_LEVELS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Filters, blocks, and whether the first block halves the picture: alevel4 … alevel0."""

Array = NDArray[np.float32]


def _integer(data: bytes, at: int) -> tuple[int, int]:
    head = data[at]
    size = head & 0x0F
    value = int.from_bytes(data[at + 1 : at + 1 + size], "little")
    return (-value if head & 0x80 else value), at + 1 + size


def _tensor(data: bytes, at: int) -> Array:
    version, at = _integer(data, at)
    count = 1
    for _ in range(4):
        extent, at = _integer(data, at)
        count *= extent
    if version != 2 or not 0 < count <= (len(data) - at) // 4:
        raise _unknown_layout()
    return np.frombuffer(data, "<f4", count, at).astype(np.float32)


def _unknown_layout() -> ModelUnavailable:
    return ModelUnavailable(
        "The weight file of dlib's face model is damaged or of an unknown layout.",
        cure="Reinstall the package face-recognition-models.",
    )


def read_layers(path: Path) -> list[tuple[str, Array]]:
    """(kind, parameters) of each layer that has any, from the input on.

    Kinds: `con` (filters, then biases), `affine` (gamma, then beta), `fc` (inputs x outputs).
    Raises ModelUnavailable on a file of another layout.
    """
    data = path.read_bytes()
    layers = []
    for found in _TAG.finditer(data):
        kind = (found[1] or found[2] or found[3]).decode()
        at = found.end()
        if kind == "fc":  # its counts of outputs and inputs come first
            _, at = _integer(data, at)
            _, at = _integer(data, at)
        layers.append((kind, _tensor(data, at)))
    return layers


class _Graph:
    """Collects ONNX nodes while it walks the layers in file order."""

    def __init__(self, layers: list[tuple[str, Array]]) -> None:
        from onnx import helper, numpy_helper  # noqa: PLC0415  only the export needs it

        self._helper, self._numpy = helper, numpy_helper
        self._layers = iter(layers)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self._numpy.from_array(values, name))
        return name

    def node(self, kind: str, *inputs: str, **settings: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, inputs, [name], **settings))
        return name

    def take(self, kind: str) -> Array:
        found, values = next(self._layers, ("", np.empty(0, np.float32)))
        if found != kind:
            raise _unknown_layout()
        return values

    def convolution(self, x: str, inputs: int, filters: int, *, size: int, stride: int) -> str:
        """A `con_` with the `affine_` after it folded in. dlib pads only where the stride is 1."""
        values, affine = self.take("con"), self.take("affine")
        if values.size != filters * (inputs * size * size + 1) or affine.size != 2 * filters:
            raise _unknown_layout()
        weights = values[:-filters].reshape(filters, inputs, size, size)
        gamma, beta = affine[:filters], affine[filters:]
        pad = size // 2 if stride == 1 else 0
        return self.node(
            "Conv",
            x,
            self.constant(weights * gamma[:, None, None, None]),
            self.constant(values[-filters:] * gamma + beta),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[pad] * 4,
        )

    def block(self, x: str, inputs: int, filters: int, *, extent: int, halve: bool) -> int:
        """`ares` or `ares_down` over `x`; its output is the last node. Returns its extent."""
        stride = 2 if halve else 1
        y = self.node("Relu", self.convolution(x, inputs, filters, size=3, stride=stride))
        y = self.convolution(y, filters, filters, size=3, stride=1)
        if halve:
            ours, extent = (extent - 3) // 2 + 1, extent // 2
            x = self.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            # add_prev_ pads the smaller operand with zeros, in channels and at right and bottom
            x = self._padded(x, filters - inputs, 0)
            y = self._padded(y, 0, extent - ours)
        self.node("Relu", self.node("Add", x, y))
        return extent

    def _padded(self, x: str, channels: int, edge: int) -> str:
        if not channels and not edge:
            return x
        pads = np.array([0, 0, 0, 0, 0, channels, edge, edge], np.int64)
        return self.node("Pad", x, self.constant(pads), mode="constant")


def to_onnx(path: Path) -> bytes:
    """An ONNX model: `chips` (n, 150, 150, 3) uint8 → `vectors` (n, 128) float32.

    Distances between the vectors are Euclidean; they are not of unit length.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    graph = _Graph(read_layers(path))
    x = graph.node("Cast", "chips", to=TensorProto.FLOAT)
    x = graph.node("Transpose", x, perm=[0, 3, 1, 2])
    x = graph.node("Sub", x, graph.constant(np.array(_MEAN, np.float32).reshape(1, 3, 1, 1)))
    x = graph.node("Mul", x, graph.constant(np.array(1 / 256, np.float32)))
    x = graph.node("Relu", graph.convolution(x, 3, 32, size=7, stride=2))
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    extent, inputs = 35, 32
    for filters, blocks, halves in _LEVELS:
        for index in range(blocks):
            halve = halves and index == 0
            extent = graph.block(x, inputs, filters, extent=extent, halve=halve)
            x, inputs = graph.nodes[-1].output[0], filters
    x = graph.node("ReduceMean", x, graph.constant(np.array([2, 3], np.int64)), keepdims=0)
    weights = graph.take("fc").reshape(inputs, DIMENSION)
    graph.nodes.append(helper.make_node("MatMul", [x, graph.constant(weights)], ["vectors"]))
    chips = helper.make_tensor_value_info("chips", TensorProto.UINT8, ["n", CHIP, CHIP, 3])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", DIMENSION])
    made = helper.make_graph(graph.nodes, "dlib-face", [chips], [vectors], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content
