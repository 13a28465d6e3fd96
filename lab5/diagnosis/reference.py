"""The ResNet18 as it would compute with one thing or another done wrongly, on onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lab5.assignment import CLASSES, OPSET
from lab5.grading.evidence.onnx_file import Layer

BLOCKS: Final = tuple(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1))
ALL: Final = (1.0,) * 8


@dataclass(frozen=True)
class Net:
    """How the network computes; as it stands, rightly.

    Args:
        shortcut: how many times each block adds its shortcut.
        last: whether each block ends with the activation.
        inner: whether each block has the activation between its convolutions.
        first: whether the stem has the activation.
        early: the activation comes before the addition, not behind it.
        activation: the ONNX operator and its attributes; ``ending`` is another one that ends each block,
            ``inside`` one that stands between its convolutions.
        strides: of the stem and the four stages.
        second: the stride is at a block's second convolution.
        pool: ``average``, ``max`` or ``stem`` (average, and a maximum behind the stem).
    """

    shortcut: tuple[float, ...] = ALL
    last: tuple[float, ...] = ALL
    inner: tuple[float, ...] = ALL
    first: bool = True
    early: bool = False
    activation: tuple[tuple[str, Any], ...] = (("op", "Relu"),)
    ending: tuple[tuple[str, Any], ...] | None = None
    inside: tuple[tuple[str, Any], ...] | None = None
    strides: tuple[int, ...] = (1, 1, 2, 2, 2)
    second: bool = False
    pool: str = "average"


_RIGHT: Final = Net()


class Reference:
    """The network with the weights of 21 layers ``in_order``, for images (N, 3, 32, 32)."""

    def __init__(self, layers: list[Layer], x: np.ndarray) -> None:
        self._layers, self._x = layers, x

    def logits(self, net: Net = _RIGHT, x: np.ndarray | None = None) -> np.ndarray | None:
        """(N, 10), or None if it cannot compute so."""
        import onnxruntime as ort
        from onnx import TensorProto, helper

        feeds: dict[str, np.ndarray] = {"input": self._x if x is None else x}
        nodes: list[Any] = []

        def node(op: str, *names: str, **attributes: Any) -> str:
            nodes.append(helper.make_node(op, names, [f"n{len(nodes)}"], **attributes))
            return str(nodes[-1].output[0])

        def put(value: Any) -> str:
            name = f"w{len(feeds)}"
            feeds[name] = np.ascontiguousarray(value, np.float32)
            return name

        def convolution(at: str, layer: Layer, stride: int) -> str:
            assert layer.folded is not None
            bias = np.zeros(len(layer.folded)) if layer.folded_bias is None else layer.folded_bias
            pad = (layer.folded.shape[2] - 1) // 2
            return node(
                "Conv", at, put(layer.folded), put(bias), strides=[stride] * 2, pads=[pad] * 4
            )

        def active(at: str, on: Any, how: tuple[tuple[str, Any], ...] = net.activation) -> str:
            given = dict(how)
            op = given.pop("op")
            if not on:
                return at
            if op == "Silu":
                return node("Mul", at, node("Sigmoid", at))
            if op == "Gelu":
                half = node("Mul", at, put(0.5))
                erf = node("Erf", node("Mul", at, put(0.5**0.5)))
                return node("Mul", half, node("Add", erf, put(1)))
            if op == "Relu6":
                return node("Min", node("Relu", at), put(6))
            return node(op, at, **given)

        rest, ones = iter(self._layers[:17]), iter(self._layers[17:20])
        at = active(convolution("input", next(rest), net.strides[0]), net.first)
        if net.pool == "stem":
            at = node("MaxPool", at, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        for number, stride in enumerate(_block_strides(net)):
            one, two = (1, stride) if net.second else (stride, 1)
            left = convolution(at, next(rest), one)
            left = active(left, net.inner[number], net.inside or net.activation)
            left = convolution(left, next(rest), two)
            if number in (2, 4, 6):
                at = convolution(at, next(ones), stride)
            elif stride != 1:
                return None
            left = active(left, net.early)
            if (times := net.shortcut[number]) == 1:
                left = node("Add", left, at)
            elif times:
                left = node("Add", left, node("Mul", at, put(times)))
            at = active(left, net.last[number] and not net.early, net.ending or net.activation)
        at = node("GlobalMaxPool" if net.pool == "max" else "GlobalAveragePool", at)
        last = self._layers[20]
        bias = np.zeros(len(CLASSES)) if last.bias is None else last.bias.reshape(-1)
        at = node("Gemm", node("Flatten", at), put(last.weight), put(bias), transB=1)
        declared = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "reference",
            [declared(name, TensorProto.FLOAT, value.shape) for name, value in feeds.items()],
            [declared(at, TensorProto.FLOAT, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 7
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return np.asarray(session.run(None, feeds)[0])
        except Exception:  # onnxruntime raises a dozen types when shapes do not fit
            return None


def _block_strides(net: Net) -> Iterator[int]:
    for stride in net.strides[1:]:
        yield from (stride, 1)
