"""1.1 to 1.5: from PyTorch to ONNX."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from lab5.assignment import (
    CHECKPOINT,
    IMAGE_SIZE,
    INPUT_NAME,
    NUM_CLASSES,
    OPSET,
    OUTPUT_NAME,
    network_source,
)
from lab5.grading.checks.layout import fp32_present, int8_present, notebook_present
from lab5.grading.checks.observed import errors_of, exchanged, relative, require_libraries
from lab5.grading.core import Advice, Blocked, Fault, check
from lab5.grading.evidence.checkpoint import reference_parameters
from lab5.grading.evidence.onnx_file import is_quantised, steps_apart, trains
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence

PARITY: Final = 1e-3  # largest difference of logits, relative to the largest logit (at least 1)
# Here calibration on random normal images gives 0.05 to 0.09, with other weights up to 0.25;
# on uniform ones in 0..1, which are not normalised, 0.47 and more.
MAX_RELATIVE_L2: Final = 0.3
MIN_AGREEMENT: Final = 0.75  # 0.88 to 1; uniform 0.63
SIZE_RANGE: Final = (0.2, 0.35)  # INT8 file to FP32 file
MAX_SLOWDOWN: Final = 1.5  # INT8's time to FP32's: 1.0 without VNNI, int8 activations 2.6 to 6
DYNAMIC_OPERATORS: Final = (
    "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat", "DynamicQuantizeLSTM",
)  # fmt: skip
QUANTISED_OPERATORS: Final = ("QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd")


# 1.1


@check(
    "1.1", 1, zh="notebook 定義了 BasicBlock 與 ResNet18", needs=[notebook_present], runs=True,
    hint=Text("Rename ResBlock to BasicBlock and ResNet to ResNet18.", "請將 ResBlock 改名為 BasicBlock、ResNet 改名為 ResNet18。"),
)  # fmt: skip
def network_names(e: Evidence) -> None:
    """The notebook defines BasicBlock and ResNet18."""
    found = e.probe("network")
    want = ["BasicBlock", "ResNet18"]
    if not set(want) <= set(found["classes"]):
        raise Fault(
            Text("A class is missing or has another name.", "缺少類別或類別名稱不符。"),
            want=", ".join(want),
            got=", ".join(found["classes"]) or "—",
        )


@check(
    "1.1", 2, zh="網路的參數名稱與形狀和 resnet18.py 相同", needs=[notebook_present], runs=True,
    hint=Text("Keep the names left, shortcut, conv1, layer1 … layer4, fc of resnet18.py.", "請保留 resnet18.py 的 left、shortcut、conv1、layer1～layer4、fc 等名稱。"),
)  # fmt: skip
def network_parameters(e: Evidence) -> None:
    """The network has the reference's parameters, by name and shape."""
    found, want = e.probe("network"), reference_parameters()
    got = found.get("parameters")
    if got is None:
        require_libraries(found)
        raise Fault(
            Text("The network cannot be built.", "無法建立網路。"),
            want=f"ResNet18(BasicBlock, num_classes={NUM_CLASSES})",
            got=errors_of(found),
        )
    differ = [f"{n} {got[n]}" for n in got if want.get(n) != got[n]]
    lacking = [f"{n} {want[n]}" for n in want if n not in got]
    if differ or lacking:
        raise Fault(
            Text("Parameters differ from the reference's.", "參數與參考架構不同。"),
            want=", ".join(lacking[:4])
            or ", ".join(f"{d.split()[0]} {want.get(d.split()[0])}" for d in differ[:4]),
            got=", ".join(differ[:4]) or Text("they are missing", "缺少"),
        )


@check(
    "1.1", 2, zh="權重相同時，輸出與 resnet18.py 相同", needs=[network_parameters], runs=True,
    hint=Text("Compare forward() with resnet18.py: strides, ReLU, shortcut, pooling.", "請對照 resnet18.py 的 forward：stride、ReLU、shortcut、pooling。"),
)  # fmt: skip
def network_output(e: Evidence) -> None:
    """With the same weights the network gives the reference's output."""
    import numpy as np

    found, want = e.probe("network"), e.reference_output
    got = found.get("output")
    if not isinstance(got, np.ndarray):
        require_libraries(found)
        raise Fault(
            Text("The network does not run.", "網路無法執行。"),
            want=f"(2, {NUM_CLASSES})",
            got=errors_of(found),
        )
    if not relative(got, want) <= PARITY:
        raise Fault(
            Text("The outputs differ.", "輸出不同。"),
            want=Text("the reference's logits", "參考架構的 logits"),
            got=f"{got.shape}" if got.shape != want.shape else f"Δ {relative(got, want):.2g}",
        )


# 1.2


def _exports(e: Evidence) -> list[dict[str, Any]]:
    found = e.probe("export")
    if not found["loaded"]:
        require_libraries(found)
        raise Blocked(
            Text(
                "torch.onnx.export was not reached: see 1.3.",
                "沒有執行到 torch.onnx.export，見 1.3。",
            )
        )
    return list(found["loaded"])


@check(
    "1.2", 1, zh="匯出前已將權重檔載入模型", needs=[notebook_present], runs=True,
    hint=Text("model.load_state_dict(state) before torch.onnx.export.", "在 torch.onnx.export 之前呼叫 model.load_state_dict(state)。"),
)  # fmt: skip
def weights_loaded(e: Evidence) -> None:
    """The model that is exported holds the checkpoint's weights."""
    found = e.probe("export")
    if not any(export["loaded"] for export in _exports(e)):
        require_libraries(found)
        raise Fault(
            Text("The exported model does not hold the weights.", "匯出的模型沒有載入權重。"),
            want="load_state_dict(state)",
            got=errors_of(found),
        )


@check(
    "1.2", 1, zh="權重採嚴格載入：名稱不符就報錯", needs=[weights_loaded], runs=True,
    hint='state = {k: v for k, v in state.items() if not k.endswith(("total_ops", "total_params"))}; model.load_state_dict(state)',
)  # fmt: skip
def weights_loaded_strictly(e: Evidence) -> None:
    """Loading is strict: a checkpoint with a wrong name is refused."""
    if e.probe("export")["spoiled"]:
        raise Advice(
            Text(
                "A checkpoint with a misnamed tensor is exported all the same: every weight is loaded now, "
                "but with another name a layer stays random without a word, and FP32 and INT8 are wrong.",
                "名稱錯誤的權重檔仍會被匯出：目前權重都有載入，但名稱若不符，該層會保持隨機值而不報錯，"
                "FP32 與 INT8 的答案都會錯。",
            ),
            want=Text("an error", "報錯"),
            got=Text("no error", "沒有報錯"),
        )


@check(
    "1.2", 1, zh="匯出時模型為 eval 模式", needs=[notebook_present], runs=True,
    hint=Text("model.eval() after load_state_dict.", "load_state_dict 之後呼叫 model.eval()。"),
)  # fmt: skip
def model_in_eval_mode(e: Evidence) -> None:
    """The model is in eval mode when it is exported."""
    if all(export["training"] for export in _exports(e)):
        raise Fault(
            Text("It is in training mode.", "模型仍在訓練模式。"),
            want="model.training == False",
            got="True",
        )


# 1.3: the file comes first, as 1.2 looks into it


@check(
    "1.3", 1, zh="notebook 呼叫 torch.onnx.export", needs=[notebook_present], runs=True,
    hint=Text("Fill in torch.onnx.export(...) and call the function.", "請填入 torch.onnx.export(...) 並呼叫該函式。"),
)  # fmt: skip
def export_called(e: Evidence) -> None:
    """The notebook calls torch.onnx.export."""
    found = e.probe("export")
    if not any(export["called"] for export in found["exports"]):
        require_libraries(found)
        raise Fault(
            Text("The exporter was not reached.", "沒有執行到匯出。"),
            want="torch.onnx.export(model, …)",
            got=errors_of(found),
        )


@check(
    "1.3", 2, zh="FP32 檔是有效的 ONNX 模型", needs=[fp32_present],
    hint=Text("Export again and load the file with onnx.checker.", "請重新匯出，並用 onnx.checker 檢查。"),
)  # fmt: skip
def fp32_valid(e: Evidence) -> None:
    """The FP32 file is a valid ONNX model that onnxruntime loads."""
    if e.fp32.refused:
        raise Fault(
            Text("onnx.checker refuses it.", "onnx.checker 檢查不通過。"),
            want=Text("valid", "有效"),
            got=e.fp32.refused,
        )
    assert e.fp32.session is not None


@check(
    "1.3", 2, zh="FP32 檔為 opset {opset}", needs=[fp32_valid],
    hint="torch.onnx.export(..., opset_version={opset}, dynamo=False)",
)  # fmt: skip
def fp32_opset(e: Evidence) -> None:
    """The FP32 file is opset {opset}."""
    found = e.fp32.opset
    if found > OPSET:
        raise Advice(
            Text(
                f"It is opset {found}: torch 2.9 and later write at least 18 whatever is asked. The answers "
                f"are the same; a runtime that knows no opset above {OPSET} does not load it.",
                f"opset 為 {found}：torch 2.9 起的匯出器至少寫成 18。計算結果相同，但只支援到 opset {OPSET} 的執行環境無法載入。",
            ),
            want=OPSET,
            got=found,
        )
    if found != OPSET:
        raise Fault(Text("It is an older opset.", "opset 較舊。"), want=OPSET, got=found)


def _signature(value: Any) -> tuple[str, int, list[int]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, [d.dim_value for d in tensor.shape.dim]


@check(
    "1.3", 1, zh="輸入名為 input，輸出名為 output", needs=[fp32_valid],
    hint=Text('input_names=["input"], output_names=["output"].', '請設定 input_names=["input"], output_names=["output"]。'),
)  # fmt: skip
def fp32_names(e: Evidence) -> None:
    """The input is named input and the output output."""
    graph = e.fp32.model.graph
    stored = {t.name for t in graph.initializer}
    got = [v.name for v in (*graph.input, *graph.output) if v.name not in stored]
    if got != [INPUT_NAME, OUTPUT_NAME]:
        raise Fault(
            Text("The names differ.", "名稱不同。"),
            want=f"{INPUT_NAME}, {OUTPUT_NAME}",
            got=", ".join(got),
        )


@check(
    "1.3", 1, zh="輸入 (N, 3, 32, 32)、輸出 (N, {classes})，皆為 float32，N 為 1 或不固定", needs=[fp32_valid],
    hint=Text("Export with torch.randn(1, 3, 32, 32).", "請以 torch.randn(1, 3, 32, 32) 匯出。"),
)  # fmt: skip
def fp32_shapes(e: Evidence) -> None:
    """The input is (N, 3, 32, 32) and the output (N, {classes}), float32, N one or any."""
    import onnx

    graph = e.fp32.model.graph
    stored = {t.name for t in graph.initializer}
    values = [_signature(v) for v in (*graph.input, *graph.output) if v.name not in stored]
    one = onnx.TensorProto.FLOAT
    want = [(one, [3, IMAGE_SIZE, IMAGE_SIZE]), (one, [NUM_CLASSES])]
    batches = {size for _, _, shape in values for size in shape[:1]}
    if [(kind, shape[1:]) for _, kind, shape in values] != want or not batches <= {0, 1}:
        raise Fault(
            Text("Shapes or types differ.", "形狀或型別不同。"),
            want=f"(N, 3, 32, 32) float32 -> (N, {NUM_CLASSES}) float32",
            got=", ".join(
                f"{shape} {onnx.TensorProto.DataType.Name(kind)}" for _, kind, shape in values
            ),
        )


@check(
    "1.3", 1, zh="FP32 檔是浮點推論圖：沒有訓練節點，也沒有量化", needs=[fp32_valid],
    hint=Text("Export in eval mode, and do not quantise this file.", "請以 eval 模式匯出，且不要量化這個檔案。"),
)  # fmt: skip
def fp32_inference_graph(e: Evidence) -> None:
    """The FP32 file is an inference graph in floating point: nothing of training, nothing quantised."""
    bad = [n.op_type for n in e.fp32.nodes if n.op_type == "Dropout" or trains(n)]
    bad += [
        op for op in e.fp32.operators if is_quantised(op) or op in (*DYNAMIC_OPERATORS, "QGemm")
    ]
    if bad:
        raise Fault(
            Text("It holds other nodes.", "含有不該有的節點。"),
            want="Conv, Relu, Add, AveragePool, Gemm …",
            got=", ".join(sorted(set(bad))),
        )


@check(
    "1.3", 2, zh="FP32 檔的計算與 PyTorch 的 ResNet18 相同", needs=[fp32_inference_graph],
    hint=Text("Export the ResNet18 itself, in eval mode, with nothing before or after it.", "請匯出 ResNet18 本身（eval 模式），前後不要加其他運算。"),
)  # fmt: skip
def fp32_parity(e: Evidence) -> None:
    """The FP32 file computes what PyTorch's ResNet18 computes with the same weights."""
    (_, want), got = e.rebuilt, e.fp32_parity
    if not relative(got, want) <= PARITY:
        raise Fault(
            Text("The logits differ.", "logits 不同。"),
            want=f"Δ ≤ {PARITY:g}",
            got=f"Δ {relative(got, want):.2g}" if got.shape == want.shape else f"{got.shape}",
        )


@check(
    "1.2", 2, zh="FP32 檔帶有 {checkpoint} 的權重", needs=[fp32_inference_graph],
    hint=Text("Load {checkpoint} strictly, then export again.", "請嚴格載入 {checkpoint} 後重新匯出。"),
)  # fmt: skip
def fp32_carries_weights(e: Evidence) -> Text | str | None:
    """The FP32 file carries {checkpoint}'s weights."""
    biases = [layer.folded_bias for layer in e.fp32.layers if layer.is_convolution]
    if not any(bias is not None and abs(bias).max() > 1e-6 for bias in biases):
        raise Fault(
            Text(
                "Its weights were never trained: every BatchNorm is as it was made.",
                "權重未經訓練：所有 BatchNorm 都還是初始值。",
            ),
            want=CHECKPOINT,
            got=Text("random weights", "隨機權重"),
        )
    if e.weights is None:
        return Text(
            "Trained weights; give --weights to compare them with the checkpoint's.",
            "是訓練過的權重；加上 --weights 可與權重檔比對。",
        )
    if network_source():
        difference = relative(e.fp32_parity, e.rebuilt[1])
        if not difference <= PARITY:
            raise Fault(
                Text("It carries other weights.", "權重不同。"),
                want=f"{CHECKPOINT}, Δ ≤ {PARITY:g}",
                got=f"Δ {difference:.2g}",
            )
        return None
    for number, difference in enumerate(e.carried, 1):
        if not difference <= PARITY:
            raise Fault(
                Text(f"Layer {number} carries other weights.", f"第 {number} 層的權重不同。"),
                want=f"{CHECKPOINT}, Δ ≤ {PARITY:g}",
                got=f"Δ {difference:.2g}",
            )
    return None


# 1.4


@check(
    "1.4", 1, zh="notebook 以 quantize_static 將 FP32 檔量化成另一個檔", needs=[notebook_present], runs=True,
    hint=Text("Fill in quantize_static(...) and call the function.", "請填入 quantize_static(...) 並呼叫該函式。"),
)  # fmt: skip
def quantize_called(e: Evidence) -> None:
    """The notebook calls quantize_static from the FP32 file to another one."""
    found = e.probe("quantize")
    good = [c for c in found["calls"] if c["called"] and c["reader"] and _forward(c)]
    if not good:
        called = [c for c in found["calls"] if c["called"]]
        if not called:
            require_libraries(found)
        raise Fault(
            Text("quantize_static was not called so.", "沒有這樣呼叫 quantize_static。"),
            want="quantize_static(FP32, INT8, reader, …)",
            got="{model_input} -> {model_output}".format(**called[0])
            if called
            else errors_of(found),
        )


def _forward(call: dict[str, Any]) -> bool:
    """From one file to another, and not from INT8's to FP32's."""
    names = [str(call[key] or "").lower() for key in ("model_input", "model_output")]
    exchanged = "int8" in names[0] and "fp32" in names[1]
    return not exchanged and (call["model_input"] is None or names[0] != names[1])


@check(
    "1.4", 0, zh="INT8 檔是 onnxruntime 能載入的 ONNX 模型", needs=[int8_present],
    hint=Text("Quantise again.", "請重新量化。"),
)  # fmt: skip
def int8_valid(e: Evidence) -> None:
    """The INT8 file is an ONNX model that onnxruntime loads and that is quantised."""
    assert e.int8.session is not None
    if not {"QuantizeLinear", *QUANTISED_OPERATORS, *DYNAMIC_OPERATORS} & set(e.int8.operators):
        raise Fault(
            Text("It is not quantised.", "沒有量化。"),
            want="QLinearConv …",
            got=", ".join(sorted(e.int8.operators)),
        )


@check(
    "1.4", 1, zh="INT8 檔為靜態量化", needs=[int8_valid],
    hint=Text("quantize_static with calibration data, not quantize_dynamic.", "請用 quantize_static 與校準資料，不要用 quantize_dynamic。"),
)  # fmt: skip
def int8_static(e: Evidence) -> None:
    """The INT8 file is quantised statically: scales are fixed in the file."""
    dynamic = [op for op in DYNAMIC_OPERATORS if op in e.int8.operators]
    if dynamic:
        raise Fault(
            Text("It is quantised dynamically.", "是動態量化。"),
            want="QLinearConv …",
            got=", ".join(dynamic),
        )


@check(
    "1.4", 1, zh="INT8 檔為 QOperator 格式", needs=[int8_static],
    hint="from onnxruntime.quantization import QuantFormat; quantize_static(..., quant_format=QuantFormat.QOperator)",
)  # fmt: skip
def int8_qoperator(e: Evidence) -> None:
    """The INT8 file is in the QOperator format."""
    ops = e.int8.operators
    if "QLinearConv" not in ops:
        raise Advice(
            Text(
                "It is in the QDQ format, which is what the string 'QOperator' gives. Accuracy is the same and, "
                "with uint8 activations, so is the speed: onnxruntime fuses the nodes when it loads the file.",
                '是 QDQ 格式，字串 "QOperator" 就會得到它。準確度相同；activation 為 uint8 時速度也相同：'
                "onnxruntime 載入時會合併節點。",
            ),
            want="QLinearConv",
            got=", ".join(
                f"{ops[op]} {op}"
                for op in ("Conv", "QuantizeLinear", "DequantizeLinear")
                if op in ops
            ),
        )


@check(
    "1.4", 1, zh="每個卷積都已量化", needs=[int8_static],
    hint=Text("Do not exclude nodes or limit op_types_to_quantize.", "不要排除節點，也不要限制 op_types_to_quantize。"),
)  # fmt: skip
def int8_every_convolution(e: Evidence) -> None:
    """Every convolution is quantised."""
    left = e.int8.float_layers.count("Conv") + e.int8.float_layers.count("FusedConv")
    if left:
        done = sum(layer.is_convolution for layer in e.int8.layers if layer.scale is not None)
        raise Fault(
            Text("Convolutions are left in floating point.", "仍有浮點卷積。"),
            want=left + done,
            got=done,
        )


def _convolutions(e: Evidence) -> list[Any]:
    found = [layer for layer in e.int8.layers if layer.is_convolution and layer.scale is not None]
    if not found:
        raise Fault(
            Text("It has no quantised convolution.", "沒有量化的卷積。"), want="20", got="0"
        )
    return found


@check(
    "1.4", 1, zh="卷積權重為逐通道（per channel）量化", needs=[int8_static],
    hint=Text("per_channel=True.", "請設定 per_channel=True。"),
)  # fmt: skip
def int8_per_channel(e: Evidence) -> None:
    """The convolutions' weights are quantised per channel."""
    flat = [layer for layer in _convolutions(e) if layer.scale.size != len(layer.weight)]
    if flat:
        raise Fault(
            Text("One scale for a whole weight.", "整個權重共用一個 scale。"),
            want=f"{len(flat[0].weight)} scales",
            got=f"{flat[0].scale.size} ({len(flat)} Conv)",
        )


@check(
    "1.4", 1, zh="權重為 int8", needs=[int8_static],
    hint=Text("weight_type=QuantType.QInt8.", "請設定 weight_type=QuantType.QInt8。"),
)  # fmt: skip
def int8_weight_type(e: Evidence) -> None:
    """The weights are int8."""
    types = sorted({str(integers.dtype) for integers in e.int8.stored})
    if types != ["int8"]:
        raise Fault(
            Text("The weights have another type.", "權重型別不同。"),
            want="int8",
            got=", ".join(types),
        )


@check(
    "1.4", 0, zh="相鄰權重的乘積和不會溢位", needs=[int8_weight_type],
    hint="quantize_static(..., reduce_range=True)",
)  # fmt: skip
def int8_no_overflow(e: Evidence) -> None:
    """No CPU overflows on the weights: the products of neighbours fit into 16 bits."""
    bounds = e.int8.pair_bounds
    unsafe = [bound.layer for bound in bounds if not bound.safe]
    if unsafe:
        raise Advice(
            Text(
                f"In {len(unsafe)} of {len(bounds)} layers products of neighbouring weights can exceed 16 bits: "
                "an x86 CPU without VNNI (AVX2; many of Colab's) may give other answers.",
                f"{len(bounds)} 層中有 {len(unsafe)} 層相鄰權重的乘積可能超出 16 位元："
                "在沒有 VNNI 的 x86 CPU（AVX2，Colab 常見）上答案可能不同。",
            ),
            want=Text("none", "無"),
            got=", ".join(unsafe),
        )


@check(
    "1.4", 1, zh="INT8 檔由這個 FP32 檔量化而來", needs=[int8_static, fp32_inference_graph],
    hint=Text("Quantise the FP32 file that you hand in.", "請量化所繳交的 FP32 檔。"),
)  # fmt: skip
def int8_from_fp32(e: Evidence) -> None:
    """The INT8 file was made from this FP32 file: its weights are within half a step."""
    sources = e.fp32.layers
    before: Counter[tuple[int, ...]] = Counter()
    for number, layer in enumerate(_convolutions(e), 1):
        shape = layer.weight.shape
        same = [s for s in sources if s.weight.shape == shape]
        at = before[shape]  # its own is most likely the one in the same place
        before[shape] += 1
        weights = {id(w): w for s in same[at:] + same[:at] for w in (s.folded, s.weight)}
        steps = float("inf")
        for weight in (w for w in weights.values() if w is not None):
            if (steps := min(steps, steps_apart(layer, weight))) <= 0.51:
                break
        if not steps <= 0.51:
            raise Fault(
                Text(f"Convolution {number} has other weights.", f"第 {number} 個卷積的權重不同。"),
                want=Text("at most half a step", "最多半個量化步階"),
                got=f"{steps:.3g}",
            )


@check(
    "1.4", 1, zh="校準合理：對未見過的影像，INT8 與 FP32 的結果相符", needs=[int8_static, fp32_inference_graph],
    hint=Text(
        "Calibrate on data like the model's input: normalised pictures, or random normal, not uniform 0..1.",
        "校準資料要像模型的輸入：正規化後的圖片或常態分布亂數，不要用 0～1 均勻亂數。",
    ),
)  # fmt: skip
def int8_agrees(e: Evidence) -> Text | str:
    """INT8 agrees with FP32 on pictures that it was not calibrated on."""
    import numpy as np

    from lab5.study.evaluate import agreement, relative_l2

    fp32, int8 = e.held_out
    same = agreement(fp32, int8) / 100
    comparable = np.isfinite(int8).all() and fp32.any()
    l2 = relative_l2(int8, fp32) if comparable else float("inf")
    shown = f"{same:.0%}, L2 {l2:.3f}"
    if not (same >= MIN_AGREEMENT and l2 <= MAX_RELATIVE_L2):
        raise Fault(
            Text("The answers differ: the calibration did not fit.", "結果差異大：校準範圍不合。"),
            want=f"≥ {MIN_AGREEMENT:.0%}, L2 ≤ {MAX_RELATIVE_L2:g}",
            got=shown,
        )
    return Text(f"Agreement {shown}.", f"一致率 {shown}。")


@check(
    "1.4", 1, zh="INT8 檔約為 FP32 檔的四分之一", needs=[int8_valid, fp32_valid],
    hint=Text("Keep the int8 weights only.", "檔案內只需保留 int8 權重。"),
)  # fmt: skip
def int8_size(e: Evidence) -> Text | str:
    """The INT8 file has about a quarter of the FP32 file's size."""
    share = e.int8.size / e.fp32.size
    shown = f"{e.int8.size / 1e6:.1f} / {e.fp32.size / 1e6:.1f} MB = {share:.0%}"
    if not SIZE_RANGE[0] <= share <= SIZE_RANGE[1]:
        raise Fault(
            Text("The size is another.", "大小不符。"),
            want=f"{SIZE_RANGE[0]:.0%}–{SIZE_RANGE[1]:.0%}",
            got=shown,
        )
    return shown


@check(
    "1.4", 1, zh="INT8 不比 FP32 慢，activation 在 x86 上有快速路徑", needs=[int8_static, fp32_inference_graph],
    hint="quantize_static(..., activation_type=QuantType.QUInt8)",
)  # fmt: skip
def int8_speed(e: Evidence) -> Text | str:
    """INT8 is not slower than FP32 on one thread, and x86 has a fast path for its activations."""
    slowdown = e.slowdown(MAX_SLOWDOWN)
    if e.int8.signed_activations or slowdown > MAX_SLOWDOWN:
        cause = (
            Text("its activations are int8, for which x86 has no fast path",
                 "activation 為 int8，在 x86 上沒有快速路徑")
            if e.int8.signed_activations
            else Text("this CPU has no fast path for it", "這個 CPU 沒有對應的快速路徑")
        )  # fmt: skip
        raise Advice(
            Text(
                f"INT8 takes {slowdown:.1f} times as long as FP32 here: {cause.en}.",
                f"在這台機器上 INT8 的時間是 FP32 的 {slowdown:.1f} 倍：{cause.zh}。",
            ),
            want=f"uint8, ≤ {MAX_SLOWDOWN:g}x",
            got=f"{'int8' if e.int8.signed_activations else 'uint8'}, {slowdown:.1f}x",
        )
    return Text(f"{1 / slowdown:.1f} times as fast.", f"速度為 FP32 的 {1 / slowdown:.1f} 倍。")


# 1.5


def _session_calls(e: Evidence) -> list[dict[str, Any]]:
    found = e.probe("session")
    if not found["calls"]:
        raise Fault(
            Text("There is no build_session.", "沒有 build_session 函式。"),
            want="build_session(model_path, providers)",
            got=errors_of(found),
        )
    return list(found["calls"])


@check(
    "1.5", 4, zh="build_session 開啟指定路徑的模型並傳回 session", needs=[notebook_present], runs=True,
    hint="return ort.InferenceSession(model_path, providers=providers)",
)  # fmt: skip
def session_path(e: Evidence) -> None:
    """build_session opens the model at the path given, and returns the session."""
    for call in _session_calls(e):
        kind = "int8" if "INT8" in call["file"] else "fp32"
        if call.get("error"):
            require_libraries(e.probe("session"))
            raise Fault(
                Text("It fails.", "執行失敗。"),
                want=Text("a session", "session 物件"),
                got=call["error"],
            )
        if not call["opened"] or call["opened"][-1]["kind"] != kind:
            got = ", ".join(o["file"] for o in call["opened"]) or "—"
            raise Fault(
                Text("It opens another file.", "開啟了其他檔案。"), want=call["file"], got=got
            )


@check(
    "1.5", 4, zh="build_session 使用指定的 providers", needs=[notebook_present], runs=True,
    hint=Text("Pass providers=providers on.", "請把 providers=providers 傳下去。"),
)  # fmt: skip
def session_providers(e: Evidence) -> None:
    """build_session uses the providers given."""
    for call in _session_calls(e):
        got = call["opened"][-1]["providers"] if call["opened"] else None
        if got != call["providers"]:
            raise Fault(
                Text("It uses others.", "使用了其他 providers。"),
                want=", ".join(call["providers"]),
                got=", ".join(got) if got else "—",
            )


@check(
    "1.5", 2, zh="notebook 以 build_session 開啟 FP32 與 INT8 兩個模型", needs=[notebook_present], runs=True,
    hint="sess_fp32 = build_session(FP32_MODEL, …); sess_int8 = build_session(INT8_MODEL, …)",
)  # fmt: skip
def sessions_opened(e: Evidence) -> None:
    """The notebook opens a session for each of the two models."""
    found = e.probe("opened")
    kinds = {opened["kind"] for opened in found["opened"]}
    if kinds != {"fp32", "int8"}:
        require_libraries(found)
        raise Fault(
            Text("It does not open both.", "沒有開啟兩個模型。"),
            want="FP32, INT8",
            got=", ".join(o["file"] for o in found["opened"]) or errors_of(found),
        )
    if crossed := exchanged(found["named"]):
        raise Fault(
            Text("The models are exchanged.", "兩個模型對調了。"),
            want="sess_fp32 = FP32, sess_int8 = INT8",
            got=", ".join(crossed),
        )
