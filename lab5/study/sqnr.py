"""Which layer hurts: signal to quantisation noise of every tensor of an FP32/INT8 pair, in dB.

Works on QOperator files, which onnxruntime's own debugger does not read. SQNR is
10 log10(sum x² / sum (x - q)²) over all values of all images: 6 dB are one bit. Three figures a row:

weight      the layer's int8 weights against the FP32 ones
step        the FP32 tensor stored with the INT8 file's scale and zero point, and nothing else
activation  the tensor as the INT8 network computes it, with all that went wrong before it

A low ``weight`` or ``step`` is where to look; ``activation`` only sums up.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab5.errors import QuantizationError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import onnx

IMAGES: Final = 100
_BATCH: Final = 25

# Where a quantised operator of QOperator has its output's scale; the zero point is the next input.
OUTPUT_SCALE: Final = {
    "QuantizeLinear": 1,
    "QLinearConv": 6,
    "QLinearAdd": 6,
    "QLinearMul": 6,
    "QLinearMatMul": 6,
    "QLinearAveragePool": 3,
    "QLinearGlobalAveragePool": 3,
    "QLinearLeakyRelu": 3,
    "QLinearSigmoid": 3,
    "QGemm": 7,
}
_WEIGHTED: Final = ("QLinearConv", "QLinearMatMul", "QGemm")  # weights, scale, zero: inputs 3 to 5
SUFFIX: Final = "_quantized"  # what onnxruntime appends to a tensor's name
_FOLDED: Final = ("Relu", "Clip")  # what it folds into the range of the tensor before


@dataclass(frozen=True)
class Sqnr:
    """One tensor, in dB. None: no weights, or no noise at all."""

    layer: str  # as in the state dict where the file's names allow it
    operator: str  # in the INT8 file
    weight: float | None
    step: float | None
    activation: float | None


@dataclass(frozen=True)
class _Tensor:
    """A quantised tensor and its FP32 counterpart."""

    node: onnx.NodeProto
    layer: str
    fp32: str
    scale: np.ndarray | None  # None: a last layer's logits, which are real numbers
    zero: np.ndarray | None
    weight: float | None


def sqnr(fp32: Path, int8: Path, x: np.ndarray) -> list[Sqnr]:
    """Compare the two networks tensor by tensor, in the INT8 file's order.

    Args:
        x: normalised images, (N, 3, 32, 32) float32.

    Raises:
        QuantizationError: a file cannot be read, or INT8 was not made from this FP32 file.
    """
    first, second = _load(fp32), _load(int8)
    pairs = _pairs(first, second)
    if not pairs:
        raise QuantizationError(
            f"No tensor of {int8.name} has a counterpart in {fp32.name}. "
            "Give an FP32 file and the QOperator file that was made from it.",
            zh=f"{int8.name} 與 {fp32.name} 沒有對應的張量。請提供 FP32 檔及由它量化出的 QOperator 檔。",
        )
    run_first = runner(first, [pair.fp32 for pair in pairs])
    run_second = runner(second, [pair.node.output[0] for pair in pairs])
    sums = [[0.0, 0.0, 0.0] for _ in pairs]  # signal, noise of the step alone, noise in all
    for i in range(0, len(x), _BATCH):
        batch = x[i : i + _BATCH]
        for pair, total, want, found in zip(
            pairs, sums, run_first(batch), run_second(batch), strict=True
        ):
            if want.shape != found.shape:
                raise QuantizationError(
                    f"{pair.fp32} is {want.shape} in {fp32.name} and {found.shape} in {int8.name}. "
                    "The files are of different networks.",
                    zh=f"{pair.fp32} 的形狀在兩個檔案中不同。這兩個檔案不是同一個網路。",
                )
            total[0] += _energy(want)
            total[1] += _energy(want - _stored(want, pair))
            total[2] += _energy(want - _real(found, pair))
    return [
        Sqnr(pair.layer, pair.node.op_type, pair.weight, _db(signal, step), _db(signal, all_noise))
        for pair, (signal, step, all_noise) in zip(pairs, sums, strict=True)
    ]


def _load(path: Path) -> onnx.ModelProto:
    import onnx

    try:
        return onnx.load(path)
    except Exception as error:  # onnx raises protobuf and external data errors
        raise QuantizationError(
            f"{path} cannot be read as ONNX ({type(error).__name__}). Check the path.",
            zh=f"{path} 不是可讀取的 ONNX 檔（{type(error).__name__}）。請檢查路徑。",
        ) from error


def _pairs(first: onnx.ModelProto, second: onnx.ModelProto) -> list[_Tensor]:
    """Quantised tensors with a counterpart, found by onnxruntime's names."""
    from onnx import numpy_helper

    weights = {t.name: t for t in first.graph.initializer}
    stored = {t.name: t for t in second.graph.initializer}
    makers = {name: node for node in first.graph.node for name in node.output}
    known = {*makers, *(value.name for value in first.graph.input)}
    quantized = {name for node in second.graph.node for name in node.output}
    pairs = []
    for node in second.graph.node:
        place = OUTPUT_SCALE.get(node.op_type)
        name = node.output[0].removesuffix(SUFFIX)
        if place is None or name not in known:
            continue
        maker, weight = makers.get(name), None
        step, filters = node.input[place : place + 2], node.input[3:6]
        if not stored.keys() >= set(step) or len(step) == 1:
            continue
        if node.op_type in _WEIGHTED and maker is not None and stored.keys() >= set(filters):
            values, scale, zero = (numpy_helper.to_array(stored[n]) for n in filters)
            if len(maker.input) > 1 and maker.input[1] in weights:
                want = numpy_helper.to_array(weights[maker.input[1]])
                weight = _weight(want, values, scale, zero, node)
        fp32 = _behind(name, first, quantized)
        grid: list[Any] = [numpy_helper.to_array(stored[n]) for n in step] or [None, None]
        pairs.append(_Tensor(node, _layer(maker, name), fp32, grid[0], grid[1], weight))
    return pairs


def _behind(name: str, fp32: onnx.ModelProto, quantized: set[str]) -> str:
    """The tensor behind an activation that quantisation folded into ``name``'s range."""
    readers = [node for node in fp32.graph.node if name in node.input]
    if len(readers) == 1 and readers[0].op_type in _FOLDED:
        folded: str = readers[0].output[0]
        if not {folded, folded + SUFFIX} & quantized:
            return folded
    return name


def _layer(maker: onnx.NodeProto | None, tensor: str) -> str:
    """``/layer1/layer1.0/left/left.0/Conv`` -> ``layer1.0.left.0``; else the name as it is."""
    if maker is None or not maker.name.startswith("/"):
        return tensor if maker is None else maker.name or tensor
    path: list[str] = []
    for part in maker.name.strip("/").split("/")[:-1]:
        if path and part.startswith(path[-1] + "."):
            path.pop()
        path.append(part)
    weighted = maker.op_type in ("Conv", "Gemm", "MatMul")
    return ".".join(path if weighted else [*path, maker.name.rsplit("/", 1)[1]])


def _weight(
    want: np.ndarray, q: np.ndarray, scale: np.ndarray, zero: np.ndarray, node: onnx.NodeProto
) -> float | None:
    if want.shape != q.shape:
        return None
    if scale.ndim:  # one for each output channel
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        first = node.op_type == "QLinearConv" or transposed
        if scale.size != q.shape[0 if first else -1] or zero.size not in (1, scale.size):
            return None
        shape = [-1, *[1] * (q.ndim - 1)] if first else [-1]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return _db(_energy(want), _energy(want - _dequantized(q, scale, zero)))


def _dequantized(q: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    values: np.ndarray = (q.astype("float32") - zero.astype("float32")) * scale
    return values


def _real(q: np.ndarray, pair: _Tensor) -> np.ndarray:
    if pair.scale is None or pair.zero is None:
        return q
    return _dequantized(q, pair.scale, pair.zero)


def _stored(x: np.ndarray, pair: _Tensor) -> np.ndarray:
    import numpy as np

    if pair.scale is None or pair.zero is None:
        return x
    limits = np.iinfo(pair.zero.dtype)
    q = np.clip(np.rint(x / pair.scale) + pair.zero, limits.min, limits.max)
    return _dequantized(q, pair.scale, pair.zero)


def _energy(x: np.ndarray) -> float:
    import numpy as np

    return float(np.vdot(x, x))  # float32: within 1e-4 dB of float64, 17 times as fast


def _db(signal: float, noise: float) -> float | None:
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def runner(model: onnx.ModelProto, tensors: list[str]) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Run ``model`` and give these tensors; image by image when its batch axis is fixed."""
    import numpy as np
    import onnx
    import onnxruntime as ort

    from lab5.session import PROVIDERS

    have = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys(tensors) if name not in have
    )
    try:
        session = ort.InferenceSession(model.SerializeToString(), providers=PROVIDERS)
    except Exception as error:  # onnxruntime raises a dozen types
        raise QuantizationError(
            f"onnxruntime cannot open the model: {error}. Make the pair again.",
            zh="onnxruntime 無法開啟模型。請重新產生這兩個檔案。",
        ) from error
    entry = session.get_inputs()[0]

    def run(x: np.ndarray) -> list[np.ndarray]:
        if not isinstance(entry.shape[0], int):
            at_once: list[np.ndarray] = session.run(tensors, {entry.name: x})
            return at_once
        one_by_one = [session.run(tensors, {entry.name: image[None]}) for image in x]
        return [np.concatenate(parts) for parts in zip(*one_by_one, strict=True)]

    return run


def svg(rows: list[Sqnr]) -> str:
    """A chart of all rows: a bar for the activation, a mark each for the step and the weights."""
    left, scale, height = 190, 9, 18  # pixels: names, a dB, a row
    values = [v for row in rows for v in (row.weight, row.step, row.activation) if v is not None]
    right = max([40.0, *values]) + 5
    low = min([0.0, *values])

    def at(db: float) -> float:
        return round(left + (db - low) * scale, 1)

    bottom = height * (len(rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11" '
        f'viewBox="0 0 {at(right)} {bottom + 20}">',
        f'<text x="{left}" y="12">SQNR in dB: bar = activation, | = step alone, ● = weights</text>',
    ]
    for tick in range(math.ceil(low / 10) * 10, int(right), 10):
        parts.append(
            f'<path d="M{at(tick)} {height}V{bottom}" stroke="#ddd"/>'
            f'<text x="{at(tick)}" y="{bottom + 13}" text-anchor="middle">{tick}</text>'
        )
    for i, row in enumerate(rows):
        y = height * (i + 1.5)
        parts.append(
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{html.escape(row.layer)}</text>'
        )
        if row.activation is not None:
            width = round(abs(at(row.activation) - at(0)), 1)
            parts.append(
                f'<rect x="{min(at(0), at(row.activation))}" y="{y - 6}" width="{width}" height="12" '
                'fill="#9dc3e6"/>'
            )
        if row.step is not None:
            parts.append(
                f'<path d="M{at(row.step)} {y - 7}v14" stroke="#1f4e79" stroke-width="2"/>'
            )
        if row.weight is not None:
            parts.append(f'<circle cx="{at(row.weight)}" cy="{y}" r="3.5" fill="#c55a11"/>')
    return "\n".join([*parts, "</svg>\n"])
