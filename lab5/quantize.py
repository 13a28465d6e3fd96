"""1.4: static INT8 quantisation as QOperator, per channel, int8 weights, MinMax.

What the assignment leaves open decides whether the result is right and fast: activations are uint8
(int8 ones have no fast path on x86) and weights use 7 bits (``reduce_range``), so that no pair of
products overflows 16 bits on a CPU without VNNI and the file gives the same answers everywhere.

In notebooks: ``quantize_to_int8``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab5.assignment import IMAGE_SIZE, INPUT_NAME, OPSET
from lab5.cli import without_advice
from lab5.errors import CalibrationError, ExportError, QuantizationError
from lab5.files import opset, replacing
from lab5.text import Text

if TYPE_CHECKING:
    import numpy as np
    import onnx

METHODS: Final = ("MinMax", "Entropy", "Percentile")
MAX_IMAGES: Final = 10_000  # a reader that yields more has no end

# Normalised pixels lie in about -2..2.1. Calibration must reach both sides of the mean, or dark or
# light pixels are cut off; noise stays within 6, but pixels of 0..255 do not.
_REACH: Final = 1.0
_FAR: Final = 10.0

# Floating-point operators that carry weights, and what each becomes in QOperator.
_FLOAT: Final = ("Conv", "Gemm", "MatMul")
_CONVOLUTION: Final = "QLinearConv"
_ACTIVATIONS: Final = {_CONVOLUTION: (2, 7), "QGemm": (2, 8)}  # inputs: zero points of x and y
_QUANTIZED: Final = ("QuantizeLinear", "DequantizeLinear", _CONVOLUTION)


def quantize_to_int8(fp32_path, int8_path, reader, method="MinMax"):
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    quantize_static(
        model_input=fp32_path,
        model_output=int8_path,
        calibration_data_reader=reader,
        quant_format=QuantFormat.QOperator,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
    )


def quantize(
    fp32: Path,
    int8: Path,
    reader: Any,
    method: str = "MinMax",
    improve: Callable[[Path, Path, Any], None] | None = None,
) -> None:
    """Quantise ``fp32`` into ``int8``, verified before it takes its name.

    The same bytes as ``quantize_to_int8`` gives for the two paths and the same batches.

    Args:
        reader: an onnxruntime ``CalibrationDataReader`` for the input ``input``; read once.
        method: ``MinMax``, ``Entropy`` or ``Percentile``.
        improve: gets ``fp32``, the new file and the batches read, before it is verified.

    Raises:
        CalibrationError: the reader yields nothing, or images that no preprocessing made.
        QuantizationError: the input cannot be quantised or the result is not what 1.4 asks for.
    """
    if method not in METHODS:
        raise QuantizationError(
            f"There is no calibration method {method!r}. Use one of {', '.join(METHODS)}.",
            zh=f"沒有 {method!r} 這種校準方法。請使用 {'、'.join(METHODS)} 之一。",
        )
    graph = checked_fp32(fp32)
    from lab5.calibration import BatchReader

    images = BatchReader(_checked_images(reader), INPUT_NAME)
    with replacing(int8) as temporary:
        try:
            with without_advice():
                # The graph, not its path: given a path, onnxruntime writes a second file beside it.
                quantize_to_int8(graph, str(temporary), images, method)
            if improve:
                improve(fp32, temporary, images)
        except OSError:
            raise
        except Exception as error:  # onnxruntime raises whatever it stumbles over
            raise QuantizationError(
                f"{fp32.name} cannot be quantised ({type(error).__name__}: {error}). "
                "Give the FP32 file as torch exported it.",
                zh=f"無法量化 {fp32.name}（{type(error).__name__}）。請使用 torch 匯出的 FP32 原檔。",
            ) from error
        verify_int8(temporary)


def checked_fp32(path: Path) -> onnx.ModelProto:
    """The FP32 graph, refused when it is quantised or optimised already or not what 1.3 asks for."""
    from lab5.export import verify_fp32

    try:
        graph = verify_fp32(path)
    except ExportError as error:
        raise QuantizationError(error.text.en, zh=error.text.zh) from error
    nodes = graph.graph.node
    if found := sorted({node.op_type for node in nodes} & set(_QUANTIZED)):
        raise QuantizationError(
            f"{path.name} is quantised already (it has {', '.join(found)}). Give the FP32 file.",
            zh=f"{path.name} 已經量化過（含有 {'、'.join(found)}）。請改用 FP32 的檔案。",
        )
    if found := sorted({n.op_type for n in nodes if n.domain not in ("", "ai.onnx")}):
        raise QuantizationError(
            f"{path.name} was optimised by onnxruntime: it has operators that are not ONNX's own "
            f"({', '.join(found)}). Give the FP32 file as torch exported it.",
            zh=f"{path.name} 已被 onnxruntime 最佳化過，含有非 ONNX 標準的運算（{'、'.join(found)}）。"
            "請使用 torch 匯出的 FP32 原檔。",
        )
    return graph


def _checked_images(reader: Any) -> list[np.ndarray]:
    """All batches of ``reader``, each (N, 3, 32, 32) float32 and as preprocessing makes them."""
    import numpy as np

    batches: list[np.ndarray] = []
    while (feed := reader.get_next()) is not None:
        batch = np.asarray(feed.get(INPUT_NAME, ()))
        if batch.dtype != np.float32 or batch.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
            raise CalibrationError(
                f"The calibration reader gives {batch.dtype} {batch.shape} as {sorted(feed)}; expected "
                f"float32 (N, 3, {IMAGE_SIZE}, {IMAGE_SIZE}) as ['{INPUT_NAME}'].",
                zh=f"校準資料讀取器給的是 {sorted(feed)}：{batch.dtype} {batch.shape}，"
                f"應為 '{INPUT_NAME}'：float32 (N, 3, {IMAGE_SIZE}, {IMAGE_SIZE})。",
            )
        batches.append(batch)
        if sum(map(len, batches)) > MAX_IMAGES:
            raise CalibrationError(
                f"The calibration reader yields more than {MAX_IMAGES:,} images. "
                "get_next must return None at the end.",
                zh=f"校準資料讀取器給了超過 {MAX_IMAGES:,} 張影像。get_next 結束時要回傳 None。",
            )
    if not sum(map(len, batches)):
        raise CalibrationError(
            "The calibration reader yields no image. Was it read before? Call rewind() first.",
            zh="校準資料讀取器沒有給出任何影像。是否已經讀過一次？請先呼叫 rewind()。",
        )
    low, high = min(b.min() for b in batches), max(b.max() for b in batches)
    if not (-_FAR < low < -_REACH and _REACH < high < _FAR):
        raise CalibrationError(
            f"The calibration images lie in {low:.2f}..{high:.2f}; normalised photographs fill about "
            "-2..2.1. With such ranges INT8 loses most of its accuracy, so nothing was written. "
            "Preprocess the images as for inference: divide by 255, subtract the mean, divide by the "
            "standard deviation.",
            zh=f"校準影像的數值範圍是 {low:.2f} 到 {high:.2f}；正規化後的照片約為 -2 到 2.1。"
            "這樣的範圍會讓 INT8 的準確率大幅下降，因此沒有寫出檔案。"
            "請和推論時一樣前處理：除以 255、減去平均、除以標準差。",
        )
    return batches


def verify_int8(path: Path) -> onnx.ModelProto:
    """Read an INT8 file back and check that it is what 1.4 asks for.

    QOperator throughout, opset 13, int8 weights, uint8 activations, every convolution with one scale
    for each output channel.

    Raises:
        QuantizationError: it is not.
    """
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises protobuf and checker errors
        raise QuantizationError(
            f"{path.name} is no valid ONNX file: {error}. Quantise again.",
            zh=f"{path.name} 不是有效的 ONNX 檔。請重新量化。",
        ) from error
    found = opset(model)
    if found != OPSET:
        raise QuantizationError(
            f"{path.name} is opset {found}, expected {OPSET}. Quantise the opset {OPSET} FP32 file.",
            zh=f"{path.name} 是 opset {found}，應為 {OPSET}。請量化 opset {OPSET} 的 FP32 檔。",
        )
    operators = Counter(node.op_type for node in model.graph.node)
    left = [f"{operators[name]} {name}" for name in _FLOAT if operators[name]]
    if left or not operators[_CONVOLUTION]:
        raise QuantizationError(
            f"{path.name} is not QOperator throughout: it has {', '.join(left) or 'no ' + _CONVOLUTION}. "
            "Pass quant_format=QuantFormat.QOperator, not the string 'QOperator'.",
            zh=f"{path.name} 不是完整的 QOperator 格式：{'、'.join(left) or '沒有 ' + _CONVOLUTION}。"
            '請傳入 quant_format=QuantFormat.QOperator，而不是字串 "QOperator"。',
        )
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _ACTIVATIONS and (fault := _fault(node, stored)):
            raise QuantizationError(
                f"{path.name}: {node.name or node.output[0]} has {fault.en}.",
                zh=f"{path.name}：{node.name or node.output[0]} {fault.zh}。",
            )
    return model


def _fault(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> Text | None:
    """What is wrong with a layer that has weights."""
    from onnx import TensorProto

    zeros = [node.input[i] for i in _ACTIVATIONS[node.op_type] if i < len(node.input)]
    weight, scale = node.input[3:5]
    if {weight, scale, *zeros} - set(stored):
        return Text(
            "weights or zero points that are not stored in the file", "的權重或零點不在檔案中"
        )
    if stored[weight].data_type != TensorProto.INT8:
        return Text(
            "weights that are not int8: pass weight_type=QuantType.QInt8",
            "的權重不是 int8：請傳入 weight_type=QuantType.QInt8",
        )
    if any(stored[name].data_type != TensorProto.UINT8 for name in zeros):
        return Text(
            "int8 activations, slower than FP32 on x86: pass activation_type=QuantType.QUInt8",
            "的 activation 是 int8，在 x86 上比 FP32 慢：請傳入 activation_type=QuantType.QUInt8",
        )
    one_each = list(stored[scale].dims) == list(stored[weight].dims[:1])
    if node.op_type == _CONVOLUTION and not one_each:
        return Text(
            "one scale for all channels: pass per_channel=True",
            "的所有通道共用一個 scale：請傳入 per_channel=True",
        )
    return None


if __name__ == "__main__":
    from lab5.__main__ import run

    run("quantize")
