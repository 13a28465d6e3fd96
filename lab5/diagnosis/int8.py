"""1.4: what makes INT8 another file, slow, or wrong where FP32 is right.

The ranges that stand in the file are compared with those that each kind of calibration image predicts.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab5.diagnosis.core import CAUSES, Findings, cause, listed
from lab5.diagnosis.fp32 import LAYERS, training_mode, weights_not_loaded
from lab5.diagnosis.source import Mend, Place, Source, where
from lab5.grading.core import Fault
from lab5.grading.evidence import inputs
from lab5.grading.evidence.onnx_file import Layer, in_order, is_quantised
from lab5.grading.evidence.onnx_file import steps_apart as steps_of
from lab5.study.saturation import layer_bound
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence

_HALF_STEP: Final = 0.51
_DYNAMIC: Final = ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
_SPARE: Final = 0.35  # a range that is smaller than this part of the smallest right one saturates
_WIDE: Final = 6.0  # … and so many times the largest right one wastes the 256 steps


@cause("1.4", Text("The INT8 file is not quantised: {}.", "INT8 檔沒有量化：{}。"))
def not_quantised(operators: dict[str, int]) -> bool:
    return not any(map(is_quantised, operators))


@cause(
    "1.4",
    Text(
        "It is quantised dynamically (quantize_dynamic): scales are computed anew for each picture.",
        "是動態量化（quantize_dynamic）：每張圖片都重新計算 scale。",
    ),
    symptoms=("int8-slow",),
)
def quantised_dynamically(operators: dict[str, int]) -> bool:
    return any(op in operators for op in _DYNAMIC)


@cause(
    "1.4",
    Text(
        "The INT8 file is in the QDQ format, not QOperator: {}.",
        "INT8 檔是 QDQ 格式，不是 QOperator：{}。",
    ),
)
def qdq_format(operators: dict[str, int]) -> bool:
    whole = any(op.startswith("QLinear") or op == "QGemm" for op in operators)
    return "DequantizeLinear" in operators and not whole


@cause(
    "1.4",
    Text(
        "Its activations are int8, for which x86 has no fast path: INT8 is slower than FP32. {}",
        "activation 是 int8，x86 沒有快速路徑：INT8 會比 FP32 慢。{}",
    ),
    symptoms=("int8-slow",),
)
def int8_activations(signed: bool) -> bool:
    return signed


@cause(
    "1.4",
    Text(
        "The weights of a convolution share one scale: per_channel=True is missing.",
        "一個卷積的權重共用一個 scale：缺少 per_channel=True。",
    ),
)
def per_tensor_weights(layer: Layer) -> bool:
    return layer.scale is not None and layer.scale.size != len(layer.weight)


@cause("1.4", Text("The weights are {}, not int8.", "權重是 {}，不是 int8。"))
def another_weight_type(layer: Layer) -> bool:
    return layer.integers is not None and layer.integers.dtype != np.int8


@cause(
    "1.4",
    Text(
        "Not every convolution is quantised: {} left in floating point.",
        "不是每個卷積都量化了：{} 個仍是浮點。",
    ),
)
def convolutions_left_out(float_layers: list[str]) -> int:
    return sum(op in ("Conv", "FusedConv") for op in float_layers)


@cause(
    "1.4",
    Text("INT8 was made from another FP32 file: {}.", "INT8 檔是由另一個 FP32 檔量化的：{}。"),
    symptoms=("int8-wrong",),
)
def made_from_another_fp32(layer: Layer, source: Layer) -> bool:
    return steps_apart(layer, source) > _HALF_STEP


@cause(
    "1.4",
    Text(
        "These layers of INT8 hold other weights than FP32's, all others the same: {}.",
        "INT8 的這些層與 FP32 的權重不同，其餘相同：{}。",
    ),
    symptoms=("int8-wrong",),
)
def int8_layers_changed(layer: Layer, source: Layer) -> bool:
    return steps_apart(layer, source) > _HALF_STEP


@cause(
    "1.4",
    Text("INT8 was calibrated on the wrong range of input: {}.", "INT8 校準時輸入的範圍不對：{}。"),
    symptoms=("int8-wrong", "ten-percent"),
)
def calibrated_on_another_range() -> Iterator[tuple[float, float, Text]]:
    """The range of the input that each kind of wrong image predicts."""
    yield (
        0,
        1,
        Text(
            "pixels in 0..1 that were not normalised (or np.random.rand)",
            "沒有正規化的 0～1 像素（或 np.random.rand）",
        ),
    )
    yield 0, 255, Text("pixels in 0..255", "0～255 的像素")
    yield (
        -1,
        1,
        Text(
            "pixels in -1..1, not normalised as in training", "-1～1 的像素，與訓練時的正規化不同"
        ),
    )
    yield (
        -0.5,
        0.5,
        Text(
            "pixels in -0.5..0.5, not normalised as in training",
            "-0.5～0.5 的像素，與訓練時的正規化不同",
        ),
    )
    yield (
        -2.118,
        2.64,
        Text("pixels normalised with ImageNet's constants", "用 ImageNet 常數正規化的像素"),
    )
    yield 0, 4.107, Text("pixels from which the mean was not subtracted", "沒有減去平均的像素")
    yield (
        -0.4914,
        0.5535,
        Text("pixels that were not divided by the deviation", "沒有除以標準差的像素"),
    )
    yield -1.99, 1045.2, Text("pixels that were not divided by 255", "沒有除以 255 的像素")
    yield (
        -1.99,
        0,
        Text(
            "pixels that were divided by 255 twice, or black pictures",
            "除以 255 兩次的像素，或全黑圖片",
        ),
    )
    yield 0, 0, Text("zeros", "全是零")


@cause(
    "1.4",
    Text(
        "Activations saturate: what the layer gives is cut off at {}.",
        "activation 飽和：層的輸出被截在 {}。",
    ),
    symptoms=("int8-wrong",),
)
def activations_saturate(high: float, least: float) -> bool:
    return high < _SPARE * least


@cause(
    "1.4",
    Text(
        "The range of an activation is far too wide, so that few of its 256 steps are used: {}.",
        "activation 的範圍太寬，256 階只用到幾階：{}。",
    ),
    symptoms=("int8-wrong",),
)
def range_too_wide(high: float, most: float) -> bool:
    return high > _WIDE * most


@cause(
    "1.4",
    Text(
        "On processors without VNNI it gives other answers: products of neighbouring weights exceed 16 bits in {} layers (reduce_range=True is missing).",
        "在沒有 VNNI 的處理器上答案不同：{} 層中相鄰權重的乘積超出 16 位元（缺少 reduce_range=True）。",
    ),
    symptoms=("int8-wrong",),
)
def other_answers_without_vnni(layers: list[Layer]) -> int:
    bounds = [
        layer_bound("", one.integers)
        for one in layers
        if one.integers is not None and one.integers.dtype == np.int8
    ]
    return sum(not bound.safe for bound in bounds)


def steps_apart(layer: Layer, source: Layer) -> float:
    """The largest difference of a quantised layer to a float one, in its steps."""
    options = [
        w for w in (source.folded, source.weight) if w is not None and w.shape == layer.weight.shape
    ]
    return min((steps_of(layer, weight) for weight in options), default=float("inf"))


# The ranges in the file


def _reach(scale: np.ndarray, zero: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest that a quantised tensor can hold."""
    limits = np.iinfo(zero.dtype)
    step, middle = float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0])
    return (limits.min - middle) * step, (limits.max - middle) * step


class Ranges:
    """The ranges that an INT8 file gives to FP32's tensors."""

    def __init__(self, e: Evidence) -> None:
        self._fp32, self._int8 = e.fp32, e.int8

    @cached_property
    def found(self) -> dict[str, tuple[float, float]]:
        from onnx import numpy_helper

        from lab5.study.sqnr import OUTPUT_SCALE, SUFFIX

        stored = {t.name: t for t in self._int8.model.graph.initializer}
        known = {o for n in self._fp32.nodes for o in n.output} | {
            v.name for v in self._fp32.model.graph.input
        }
        # before it in FP32, behind it in INT8, where it is folded
        known -= {n.input[0] for n in self._fp32.nodes if n.op_type == "BatchNormalization"}
        found: dict[str, tuple[float, float]] = {}
        for node in self._int8.nodes:
            place = OUTPUT_SCALE.get(node.op_type)
            step = node.input[place : place + 2] if place is not None else []
            if len(step) < 2 or not stored.keys() >= set(step):
                continue
            name = node.output[0].removesuffix(SUFFIX)
            if node.op_type == "QuantizeLinear" and name not in known:
                name = node.input[0]
            scale, zero = (numpy_helper.to_array(stored[n]) for n in step)
            if name in known and name not in found and scale.size == 1:
                found[name] = _reach(scale, zero)
        return found

    def predicted(self, batches: list[np.ndarray]) -> list[dict[str, tuple[float, float]]]:
        """The smallest and the largest of FP32's values for each batch of images, of the tensors found."""
        import onnx

        from lab5.study.sqnr import runner

        entry = self._fp32.model.graph.input[0].name
        names = [n for n in self.found if n != entry]
        model = onnx.ModelProto()
        model.CopyFrom(self._fp32.model)
        values = dict(zip(names, runner(model, names)(np.concatenate(batches)), strict=True))
        ends = np.cumsum([0, *map(len, batches)])
        return [
            {n: (float(v[a:b].min()), float(v[a:b].max())) for n, v in values.items()}
            for a, b in itertools.pairwise(ends)
        ]


def look(e: Evidence, found: Findings, source: Source | None) -> None:
    """Name what is wrong with the INT8 file, FP32 being as it is."""
    operators = e.int8.operators
    call = source.call("quantize_static") if source else None
    found.tries((not_quantised, quantised_dynamically, qdq_format, int8_activations, per_tensor_weights,
                 another_weight_type, convolutions_left_out, other_answers_without_vnni))  # fmt: skip

    def mended(before: str = "", **keywords: str | None) -> Mend:
        if source is None or call is None:
            given = ", ".join(f"{k}={v}" for k, v in keywords.items())
            return None, f"quantize_static(…, {given})"
        return call.at, source.with_keywords(call, before, **keywords)

    if not_quantised(operators):
        detail = Text("it computes in floating point", "仍以浮點計算")
        if e.zip.path("fp32") and e.int8.path.read_bytes() == e.fp32.path.read_bytes():
            detail = Text("it is a copy of the FP32 file", "它是 FP32 檔的複本")
        at, mend = _whole_call(source, call)
        found.name(not_quantised, listed(sorted(operators)), detail=detail, at=at, mend=mend)
        return
    if quantised_dynamically(operators):
        dynamic = source.call("quantize_dynamic") if source else None
        at, mend = _whole_call(source, dynamic)
        found.name(
            quantised_dynamically,
            listed([op for op in _DYNAMIC if op in operators]),
            at=at,
            mend=mend,
        )
        return
    _settings(e, found, call, mended)
    _vnni(e, found, source, mended)
    if e.zip.path("fp32") and any(map(training_mode, e.fp32.nodes)):
        return  # whose weights are no constants
    if e.zip.path("fp32"):
        _beside_fp32(e, found, source, call)
    else:
        _input_alone(e, found, source, call)


def _settings(
    e: Evidence, found: Findings, call: Place | None, mended: Callable[..., Mend]
) -> None:
    """Name what the call of ``quantize_static`` left out or gave otherwise."""
    operators = e.int8.operators
    if qdq_format(operators):
        given = _given(call, "quant_format")
        why = Text("that is the default of quant_format", "這是 quant_format 的預設值")
        if isinstance(given, str):
            why = Text(
                f'quant_format="{given}" is a string; onnxruntime asks whether it is QuantFormat.QOperator and takes any string for QDQ',
                f'quant_format="{given}" 是字串；onnxruntime 只認 QuantFormat.QOperator，任何字串都當成 QDQ',
            )
        elif given is not None:
            why = Text.of(f"quant_format={given}")
        elif call is None:
            why = Text(
                'the string "QOperator" gives it as well as QuantFormat.QDQ',
                '字串 "QOperator" 與 QuantFormat.QDQ 都會得到它',
            )
        at, mend = mended(
            "from onnxruntime.quantization import QuantFormat", quant_format="QuantFormat.QOperator"
        )
        shown = ", ".join(
            f"{operators[op]} {op}"
            for op in ("Conv", "QuantizeLinear", "DequantizeLinear")
            if op in operators
        )
        found.name(qdq_format, shown, detail=why, at=at, mend=mend)
    if int8_activations(e.int8.signed_activations):
        at, mend = mended(
            "from onnxruntime.quantization import QuantType", activation_type="QuantType.QUInt8"
        )
        given = _given(call, "activation_type")
        why = Text(
            "" if given else "That is the default of activation_type.",
            "" if given else "這是 activation_type 的預設值。",
        )
        found.name(int8_activations, "QuantizeLinear: int8", detail=why, at=at, mend=mend)
    layers = [layer for layer in e.int8.layers if layer.is_convolution and layer.scale is not None]
    if flat := [one for one in layers if per_tensor_weights(one)]:
        at, mend = mended(per_channel="True")
        found.name(per_tensor_weights, f"{len(flat)} Conv", at=at, mend=mend)
    types = sorted(
        {
            str(one.integers.dtype)
            for one in e.int8.layers
            if another_weight_type(one) and one.integers is not None
        }
    )
    if types:
        at, mend = mended(
            "from onnxruntime.quantization import QuantType", weight_type="QuantType.QInt8"
        )
        found.name(another_weight_type, ", ".join(types), detail=", ".join(types), at=at, mend=mend)
    if left := convolutions_left_out(e.int8.float_layers):
        at, mend = mended(nodes_to_exclude=None, op_types_to_quantize=None, nodes_to_quantize=None)
        found.name(convolutions_left_out, f"{left} Conv", detail=str(left), at=at, mend=mend)


def _vnni(e: Evidence, found: Findings, source: Source | None, mended: Callable[..., Mend]) -> None:
    call = source.call("quantize_static") if source else None
    unsafe = other_answers_without_vnni(e.int8.layers)
    if not unsafe or found.has(another_weight_type):
        return
    if source is not None and _given(call, "reduce_range") is None:
        # as the assignment's own call: right here, and said all the same
        found.remarks.append(CAUSES["other-answers-without-vnni"].sentence(str(unsafe)))
        return
    at, mend = mended(reduce_range="True")
    found.name(
        other_answers_without_vnni,
        Text(
            f"255 times two neighbouring weights exceed 32767 in {unsafe} layers.",
            f"{unsafe} 層中，相鄰兩個權重的 255 倍超過 32767。",
        ),
        detail=str(unsafe),
        at=at,
        mend=mend,
    )


def _given(call: Place | None, name: str) -> Any:
    """A keyword of the call: a string's own value, otherwise its text; None: it is not there."""
    if call is None:
        return None
    value = next((k.value for k in call.node.keywords if k.arg == name), None)
    if value is None:
        return None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return _Shown(ast.unparse(value))


class _Shown:
    """Code, to be told from a string."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def _whole_call(source: Source | None, call: Place | None) -> Mend:
    wanted = (
        "quantize_static(fp32_path, int8_path, reader, quant_format=QuantFormat.QOperator, per_channel=True, reduce_range=True, "
        "activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)"
    )
    if source is None or call is None:
        return None, wanted
    dynamic = "dynamic" in ast.unparse(call.node.func)
    return call.at, source.replaced(call, wanted) if dynamic else wanted


def _beside_fp32(e: Evidence, found: Findings, source: Source | None, call: Place | None) -> None:
    found.tries((made_from_another_fp32, int8_layers_changed, calibrated_on_another_range, activations_saturate,
                 range_too_wide))  # fmt: skip
    try:
        fp32, int8 = in_order(e.fp32.layers), in_order(e.int8.layers)
    except Fault:
        return
    if fp32 is None or int8 is None:
        return
    pairs = [
        (name, a, b) for name, a, b in zip(LAYERS, int8, fp32, strict=True) if a.scale is not None
    ]
    differ = [name for name, a, b in pairs if made_from_another_fp32(a, b)]
    at = where(call)
    if len(differ) > len(pairs) // 2:
        words = _origin(e, int8)
        mend = Text(
            "Quantise the FP32 file that is handed in, again.", "請重新量化所繳交的 FP32 檔。"
        )
        found.name(
            made_from_another_fp32,
            Text(
                f"{len(differ)} of {len(pairs)} layers are more than half a step off.",
                f"{len(pairs)} 層中有 {len(differ)} 層相差超過半個步階。",
            ),
            detail=words,
            at=at,
            mend=mend,
        )
        return
    if differ:
        found.name(
            int8_layers_changed,
            Text(
                f"More than half a step off: {listed(differ)}.",
                f"相差超過半個步階：{listed(differ)}。",
            ),
            detail=listed(differ),
            mend=Text("Quantise again.", "請重新量化。"),
        )
        return
    _calibration(e, found, source, call)


def _origin(e: Evidence, int8: list[Layer]) -> Text:
    """Which file INT8 was made from, as far as one knows."""
    if all(weights_not_loaded(_as_float(one)) for one in int8[:17]):
        return Text("one whose weights were never loaded", "權重從未載入的檔案")
    if e.weights is not None:
        try:
            given = e.handed_out
        except Exception:  # whatever is wrong with the checkpoint is told elsewhere
            given = []
        if given and all(
            steps_apart(a, b) <= _HALF_STEP
            for a, b in zip(int8, given, strict=True)
            if a.scale is not None
        ):
            return Text(
                "one with the checkpoint's weights, which FP32 has not",
                "帶有權重檔的權重的檔案，而 FP32 檔沒有",
            )
    return Text("its weights are none of FP32's", "權重與 FP32 檔都不同")


def _as_float(layer: Layer) -> Layer:
    return Layer("Conv", layer.weight, None, folded=layer.weight)


def _right(low: float, high: float) -> bool:
    """As random normal images or normalised pictures give it."""
    noise = -6.5 < low < -3 and 3 < high < 6.5
    return noise or (-2.06 < low < -1.04 and 1.04 < high < 2.2)


def _input_range(e: Evidence) -> tuple[float, float] | None:
    """What the file's input can hold."""
    from onnx import numpy_helper

    graph = e.int8.model.graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    entry = next((v.name for v in graph.input if v.name not in stored), "")
    node = next((n for n in e.int8.nodes if n.op_type == "QuantizeLinear" and n.input[0] == entry
                 and len(n.input) > 2), None)  # fmt: skip
    if node is None or not stored.keys() >= set(node.input[1:3]):
        return None
    return _reach(*(stored[n] for n in node.input[1:3]))


def _input_alone(e: Evidence, found: Findings, source: Source | None, call: Place | None) -> None:
    found.tries((calibrated_on_another_range,))
    if mine := _input_range(e):
        _name_range(*mine, found, source, call)


def _name_range(
    low: float, high: float, found: Findings, source: Source | None, call: Place | None
) -> bool:
    """Name the calibration by the range of the input; whether it is a wrong one."""
    if _right(low, high):
        return False
    width = high - low
    fits = []
    for a, b, words in calibrated_on_another_range():
        if (b == a and width < 1e-3) or (
            b > a and abs(low - a) < 0.04 * (b - a) and abs(high - b) < 0.04 * (b - a)
        ):
            fits.append((abs(width - (b - a)), words))
    detail = min(fits, key=lambda one: one[0])[1] if fits else None
    if detail is None and -1.2 < low / high < -0.8:
        detail = Text(
            f"random numbers of deviation about {high / 4.2:.2g}, not 1",
            f"標準差約 {high / 4.2:.2g} 的亂數，應為 1",
        )
    if detail is None:
        detail = Text("no kind of image that is known", "不屬於任何已知的影像")
    reader = source.call(r"np\.random\.\w+|\w*Reader\w*") if source else None
    wrong = ("np.random.rand", "np.random.uniform", "np.zeros")
    calls = source.nodes(ast.Call) if source else ()
    place = next((p for p in calls if ast.unparse(p.node.func) in wrong), reader)
    mend = Text(
        "Calibrate on what the network will see: preprocess the pictures as for inference, or np.random.randn.",
        "校準資料要和推論時的輸入一樣：同樣前處理的圖片，或 np.random.randn。",
    )
    if source and place and ast.unparse(place.node.func) == "np.random.rand":
        mend = Text.of(
            source.replaced(
                place, ast.unparse(place.node).replace("np.random.rand(", "np.random.randn(", 1)
            )
        )
    found.name(
        calibrated_on_another_range,
        Text(
            f"The file's input holds {low:.4g} to {high:.4g}; normal random numbers fill ±4.4, normalised pictures -1.99..2.13.",
            f"檔案的輸入範圍是 {low:.4g}～{high:.4g}；常態亂數約 ±4.4，正規化的圖片為 -1.99～2.13。",
        ),
        detail=detail,
        at=where(place or call),
        mend=mend,
    )
    return True


def _calibration(e: Evidence, found: Findings, source: Source | None, call: Place | None) -> None:
    mine = _input_range(e)
    if mine is None or _name_range(*mine, found, source, call):
        return
    ranges = Ranges(e)
    entry = e.fp32.model.graph.input[0].name
    if entry not in {v.name for v in e.int8.model.graph.input}:
        return  # INT8's tensors are called otherwise
    try:
        noise = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
        seen = ranges.predicted([noise, inputs.scenes(3, seed=5)])
    except Exception:  # FP32 that does not run is another matter
        return
    cut, wide = [], []
    for name, (least, most) in ranges.found.items():
        if name == entry:
            continue
        highs = [max(abs(low) if least < 0 else 0, high) for low, high in (p[name] for p in seen)]
        reach = max(abs(least), most)
        if activations_saturate(reach, min(highs)):
            cut.append((name, reach, min(highs)))
        elif range_too_wide(reach, max(highs)):
            wide.append((name, reach, max(highs)))
    at = where(call)
    for step, list_ in ((activations_saturate, cut), (range_too_wide, wide)):
        if list_:
            name, reach, want = list_[0]
            shown = f"{reach:.3g} ({name}" + (f", … {len(list_)})" if len(list_) > 1 else ")")
            mend = Text(
                "Quantise again with CalibrationMethod.MinMax.",
                "請以 CalibrationMethod.MinMax 重新量化。",
            )
            found.name(
                step,
                Text(
                    f"{name}: ±{reach:.3g} in the file, FP32 reaches {want:.3g}.",
                    f"{name}：檔案中為 ±{reach:.3g}，FP32 會到 {want:.3g}。",
                ),
                detail=shown,
                at=at,
                mend=mend,
            )
