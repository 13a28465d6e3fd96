"""Whether an INT8 file can give other answers on an older CPU: a bound from the file alone.

Without VNNI, x86 multiplies unsigned bytes (activations) by signed bytes (weights) with
``vpmaddubsw``: two neighbouring products are added into 16 bits, and what does not fit is cut off
silently. An activation's byte can be anything in 0..255 whatever its scale and zero point (int8
activations are shifted by 128 first), so a pair fits for certain when 255 times the sum of its
weights of one sign does.

Which weights meet in a pair is the kernel's order: channels innermost, then the filter's columns and
rows. There onnxruntime pairs the 1st with the 2nd, the 3rd with the 4th and so on, and oneDNN within a
pixel's channels; the bound takes any two neighbours. tests/test_saturation.py measures who meets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab5.errors import QuantizationError

if TYPE_CHECKING:
    import numpy as np
    import onnx

LOWEST, HIGHEST = -(2**15), 2**15 - 1  # what 16 bits hold
_BYTE: Final = 255  # the largest activation

# Operators of the QOperator format that multiply by stored weights: where they are among the inputs.
_WEIGHTS: Final = {"QLinearConv": 3, "QGemm": 3, "QLinearMatMul": 3}


@dataclass(frozen=True)
class LayerBound:
    """The worst pair of products of one layer."""

    layer: str  # the node's name
    low: int  # smallest sum of two products that its weights allow
    high: int  # largest
    channels: int  # output channels
    unsafe: int  # those where a pair may overflow

    @property
    def safe(self) -> bool:
        return not self.unsafe


def saturation_bounds(model: onnx.ModelProto) -> list[LayerBound]:
    """The bound of each layer with stored int8 weights, in the file's order.

    uint8 weights are left out: their kernels widen to 16 bits before they multiply.

    Raises:
        QuantizationError: there is no such layer.
    """
    import onnx

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    bounds = []
    for node in model.graph.node:
        place = _WEIGHTS.get(node.op_type)
        tensor = stored.get(node.input[place]) if place is not None else None
        if tensor is None or tensor.data_type != onnx.TensorProto.INT8:
            continue
        weights = _output_first(node, onnx.numpy_helper.to_array(tensor))
        bounds.append(layer_bound(node.name or node.output[0], weights))
    if not bounds:
        raise QuantizationError(
            "The file has no layer with int8 weights in QOperator format. Give the INT8 file.",
            zh="檔案中沒有 QOperator 格式、權重為 int8 的層。請提供 INT8 檔。",
        )
    return bounds


def layer_bound(layer: str, weights: np.ndarray) -> LayerBound:
    """The bound of int8 weights (C, I, ...)."""
    low, high = pair_sums(weights)
    unsafe = (low < LOWEST) | (high > HIGHEST)
    return LayerBound(
        layer, int(low.min(initial=0)), int(high.max(initial=0)), len(low), int(unsafe.sum())
    )


def pair_sums(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest sum of two products that each channel allows: (C,) int32 each.

    Args:
        weights: (C, I, ...) int8, as a convolution stores them.
    """
    import numpy as np

    rows = np.moveaxis(weights, 1, -1).reshape(len(weights), -1)
    sums = np.add(rows[:, :-1], rows[:, 1:], dtype=np.int16)
    # An activation can be 0: of two weights of different signs one alone is the worst.
    low = np.minimum(sums.min(1, initial=0), rows.min(1, initial=0))
    high = np.maximum(sums.max(1, initial=0), rows.max(1, initial=0))
    return _BYTE * low.astype(np.int32), _BYTE * high.astype(np.int32)


def _output_first(node: onnx.NodeProto, weights: np.ndarray) -> np.ndarray:
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    if node.op_type == "QLinearConv" or transposed:
        return weights
    return weights.swapaxes(-1, -2).reshape(-1, weights.shape[-2])  # (…, K, N) -> (…, N, K)
