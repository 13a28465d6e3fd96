"""1.1 to 1.3: what makes the FP32 file, or the notebook's network, compute or hold something else.

What it computes is compared with the reference network with the same weights and one thing done wrongly;
what it holds, layer by layer, with the checkpoint. Of a network that the assignment names in place of
``lab5.model``'s, neither is known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab5.assignment import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    CLASSES,
    INPUT_NAME,
    NUM_CLASSES,
    OPSET,
    OUTPUT_NAME,
    network_source,
)
from lab5.compare import softmax
from lab5.diagnosis import fp32_mends as mends
from lab5.diagnosis.core import Findings, cause, listed
from lab5.diagnosis.reference import ALL, BLOCKS, Net, Reference
from lab5.diagnosis.source import Place, Source, where
from lab5.grading.checks.observed import relative
from lab5.grading.core import Fault
from lab5.grading.evidence import inputs
from lab5.grading.evidence.checkpoint import layers_of, reference_parameters
from lab5.grading.evidence.onnx_file import Layer, in_order, is_quantised, trains
from lab5.grading.stand_ins.given import seeded_input, seeded_weights
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence

_SAME: Final = 2e-4  # of the largest logit
_CLOSE: Final = 1e-3  # of the largest weight of a layer
LAYERS: Final = (
    "conv1.0", *(f"{block}.left.{n}" for block in BLOCKS for n in (0, 3)),
    *(f"layer{stage}.0.shortcut.0" for stage in (2, 3, 4)), "fc",
)  # fmt: skip

# What it computes: Net -> what it would be


def _each(what: tuple[float, ...], number: float) -> Iterator[tuple[tuple[float, ...], str]]:
    """``number`` for all blocks, for those with and without a convolution in the shortcut, for each."""
    with_ = {2, 4, 6}
    chosen = [set(range(8)), set(range(8)) - with_, with_, *({i} for i in range(8))]
    for blocks in chosen:
        names = "every block" if len(blocks) == 8 else listed([BLOCKS[i] for i in sorted(blocks)])
        yield tuple(number if i in blocks else one for i, one in enumerate(what)), names


@cause(
    "1.1",
    Text(
        "The shortcut is not added in {}: the residual connection is missing.",
        "{} 沒有加上 shortcut：少了殘差連接。",
    ),
    symptoms=("same-class", "ten-percent"),
)
def shortcut_missing() -> Iterator[tuple[Net, str]]:
    for blocks, names in _each(ALL, 0):
        yield Net(shortcut=blocks), names


@cause(
    "1.1",
    Text("The shortcut is added twice in {}.", "{} 的 shortcut 加了兩次。"),
    symptoms=("same-class",),
)
def shortcut_doubled() -> Iterator[tuple[Net, str]]:
    for blocks, names in _each(ALL, 2):
        yield Net(shortcut=blocks), names


@cause("1.1", Text("A ReLU is missing: {}.", "缺少 ReLU：{}。"), symptoms=("same-class",))
def relu_missing() -> Iterator[tuple[Net, str]]:
    for blocks, names in _each(ALL, 0):
        yield Net(last=blocks), f"at the end of {names}"
        yield Net(inner=blocks), f"between the convolutions of {names}"
    yield Net(first=False), "behind conv1"


@cause(
    "1.1",
    Text(
        "The ReLU stands before the shortcut is added, not behind it.",
        "ReLU 放在加 shortcut 之前，應該在之後。",
    ),
)
def relu_before_the_addition() -> Iterator[tuple[Net, str]]:
    yield Net(early=True), ""


@cause(
    "1.1",
    Text(
        "Another activation stands where the ReLU was trained: {}.", "ReLU 被換成其他激活函數：{}。"
    ),
)
def another_activation() -> Iterator[tuple[Net, str]]:
    leaky = [
        ((("op", "LeakyRelu"), ("alpha", a)), f"leaky ReLU ({a})") for a in (0.01, 0.1, 0.2, 0.3)
    ]
    others = [((("op", op),), op) for op in
              ("Elu", "Selu", "Gelu", "Relu6", "Sigmoid", "Tanh", "Silu", "Softplus")]  # fmt: skip
    for how, words in (*leaky, *others):
        yield Net(ending=how), f"{words} at the end of every block"
        yield Net(inside=how), f"{words} between the convolutions of every block"
        yield Net(activation=how), f"{words} everywhere"


@cause(
    "1.1",
    Text(
        "A stride is another: {} for conv1 and layer1 to layer4, not 1, 1, 2, 2, 2.",
        "stride 不同：conv1、layer1～layer4 為 {}，應為 1, 1, 2, 2, 2。",
    ),
    symptoms=("same-class", "ten-percent"),
)
def another_stride() -> Iterator[tuple[Net, str]]:
    right = Net().strides
    others = [s for s in itertools.product((1, 2), repeat=5) if s != right and s[1] == 1]
    for strides in sorted(others, key=lambda s: sum(a != b for a, b in zip(s, right, strict=True))):
        yield Net(strides=strides), ", ".join(map(str, strides))
    yield Net(second=True), "at the second convolution"


@cause(
    "1.1",
    Text("Maximum pooling stands in place of average pooling.", "用了最大池化，應為平均池化。"),
)
def maximum_for_average() -> Iterator[tuple[Net, str]]:
    yield Net(pool="max"), ""


@cause(
    "1.1",
    Text(
        "A maximum pooling stands behind conv1, as in ImageNet's ResNet18.",
        "conv1 之後多了最大池化，像 ImageNet 的 ResNet18。",
    ),
)
def pooling_behind_the_stem() -> Iterator[tuple[Net, str]]:
    yield Net(pool="stem"), ""


# logits -> what is returned


@cause(
    "1.3",
    Text(
        "The model ends with {}: the page takes the softmax again, and all classes look alike.",
        "模型最後多了 {}：網頁又做一次 softmax，各類別機率因此接近。",
    ),
    symptoms=("ten-percent",),
)
def softmax_included(z: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    yield softmax(z), "softmax"
    shifted = z - z.max(1, keepdims=True)
    yield shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), "log_softmax"
    yield 1 / (1 + np.exp(-z.clip(-500, 500))), "sigmoid"
    yield softmax(z.T).T, "softmax over the batch"
    yield softmax(softmax(z)), "two softmax"
    yield z.clip(0), "ReLU"
    yield np.tanh(z), "tanh"


@cause(
    "1.3",
    Text("The model changes its input once more: {}.", "模型對輸入又做了一次處理：{}。"),
    symptoms=("same-class",),
)
def preprocessing_in_the_model(x: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (CIFAR10_MEAN, CIFAR10_STD))
    yield x / 255, "/ 255"
    yield (x - mean) / std, "(x - mean) / std"
    yield (x / 255 - mean) / std, "(x / 255 - mean) / std"
    yield x[:, ::-1], "channels reversed"
    yield x.transpose(0, 1, 3, 2), "height and width exchanged"
    yield x * 255, "* 255"
    yield x * 2 - 1, "* 2 - 1"
    yield x * std + mean, "x * std + mean"


BODIES: Final = (
    shortcut_missing, shortcut_doubled, relu_missing, relu_before_the_addition, maximum_for_average,
    pooling_behind_the_stem, another_activation, another_stride,
)  # fmt: skip


def computed(
    found: np.ndarray, reference: Reference, x: np.ndarray
) -> list[tuple[Callable[..., Any], str]] | None:
    """The fewest causes with which the reference gives ``found``; None: nothing does."""

    def fits(z: np.ndarray | None) -> bool:
        return z is not None and z.shape[1:] == found.shape[1:] and bool(
            np.abs(z - found[: len(z)]).max() <= _SAME * max(1.0, float(np.abs(found).max()))
        )  # fmt: skip

    def heads(z: np.ndarray | None) -> str | None:
        options = [] if z is None else softmax_included(z.astype(np.float64))
        return next((words for made, words in options if fits(made)), None)

    plain = reference.logits()
    if fits(plain):
        return []
    if words := heads(plain):
        return [(softmax_included, words)]
    for other, words in preprocessing_in_the_model(x):
        z = reference.logits(x=np.ascontiguousarray(other, np.float32))
        if fits(z):
            return [(preprocessing_in_the_model, words)]
        if head := heads(z):
            return [(preprocessing_in_the_model, words), (softmax_included, head)]
    options = [(step, words, net) for step in BODIES for net, words in step()]
    whole = [one for one in options if one[1] in ("", "every block", "at the end of every block")]
    for step, words, net in [*whole, *(one for one in options if one not in whole)]:
        z = reference.logits(net, x[:1])  # one image will do: ten numbers to four digits
        if fits(z):
            return [(step, words)]
        if head := heads(z):
            return [(step, words), (softmax_included, head)]
    for (one, first, a), (two, second, b) in itertools.combinations(whole, 2):
        changed = {k: v for k, v in vars(b).items() if v != vars(Net())[k]}
        if one is not two and fits(reference.logits(replace(a, **changed), x[:1])):
            return [(one, first), (two, second)]
    return None


# What it holds


@cause(
    "1.2",
    Text(
        "The weights were never loaded: every layer is as the network was made, random.",
        "權重完全沒有載入：每一層都還是隨機初始值。",
    ),
    symptoms=("same-class", "ten-percent"),
)
def weights_not_loaded(layer: Layer) -> bool:
    """As nn.Conv2d and nn.Linear make it: uniform within 1 / sqrt(fan in), no BatchNorm trained."""
    assert layer.folded is not None
    bound = 1 / np.sqrt(layer.weight[0].size)
    most = float(np.abs(layer.folded).max())
    spread = float(layer.folded.std()) / bound
    bias = layer.folded_bias
    still = bias is None or not layer.is_convolution or float(np.abs(bias).max()) < 1e-6
    return still and 0.9 * bound < most < 1.0001 * bound and abs(spread - 3**-0.5) < 0.03


@cause(
    "1.2",
    Text(
        "The weights were loaded in part; as they were made, random, are: {}.",
        "權重只載入了一部分，仍為隨機值的有：{}。",
    ),
    symptoms=("same-class", "ten-percent"),
)
def weights_loaded_in_part(layer: Layer) -> bool:
    return weights_not_loaded(layer)


@cause(
    "1.2",
    Text(
        "The weights are of another checkpoint than best_model.pth.",
        "權重來自另一個權重檔，不是 best_model.pth。",
    ),
)
def another_checkpoint(mine: Layer, given: Layer) -> bool:
    return not same(mine, given)


@cause(
    "1.2",
    Text(
        "These layers hold other numbers than best_model.pth, all others the same: {}.",
        "這些層的數值與 best_model.pth 不同，其餘都相同：{}。",
    ),
)
def layers_changed(mine: Layer, given: Layer) -> bool:
    return not same(mine, given)


@cause(
    "1.2",
    Text("The classes are in another order in the last layer: {}.", "最後一層的類別順序不同：{}。"),
)
def classes_in_another_order(weight: np.ndarray, given: np.ndarray) -> list[int] | None:
    """Which class of the checkpoint each output is; None: they are other classes."""
    apart = np.abs(weight[:, None] - given[None]).max(2)
    order = [int(i) for i in apart.argmin(1)]
    fits = apart[range(len(order)), order].max() <= _CLOSE * np.abs(given).max()
    return (
        order
        if fits and sorted(order) == list(range(len(given))) and order != sorted(order)
        else None
    )


@cause(
    "1.3",
    Text(
        "BatchNorm is folded wrongly into the convolutions: {}.", "BatchNorm 合併到卷積時算錯：{}。"
    ),
    symptoms=("same-class",),
)
def batch_norm_folded_wrongly(
    w: np.ndarray, g: np.ndarray, b: np.ndarray, m: np.ndarray, v: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    f = g / np.sqrt(v + 1e-5)

    def scaled(factor: np.ndarray) -> np.ndarray:
        weights: np.ndarray = w * factor[:, None, None, None]
        return weights

    yield scaled(f), b * np.ones_like(m), "the mean is left out"
    yield scaled(f), -m * f, "the shift (beta) is left out"
    yield scaled(f), b + m * f, "the mean is added"
    yield scaled(f), np.zeros_like(m), "the bias is left out"
    yield scaled(f), b - m, "the mean is not scaled"
    yield w, b - m * f, "the weights are not scaled"
    yield w, np.zeros_like(m), "it is left out"
    yield w / np.sqrt(1 + 1e-5), np.zeros_like(m), "its statistics were not loaded"
    yield scaled(1 / np.sqrt(v + 1e-5)), b - m / np.sqrt(v + 1e-5), "the scale (gamma) is left out"
    yield scaled(g), b - m * g, "the variance is left out"
    h = g / (v + 1e-5)
    yield scaled(h), b - m * h, "the variance in place of its square root"
    h = g * np.sqrt(v + 1e-5)
    yield scaled(h), b - m * h, "multiplied by the deviation"
    for epsilon in (0.0, 1e-3, 1e-2, 1e-1, 1.0):
        h = g / np.sqrt(v + epsilon)
        yield scaled(h), b - m * h, f"epsilon is {epsilon:g}, not 1e-05"


@cause(
    "1.2",
    Text(
        "The model was exported in training mode: BatchNorm uses the statistics of the picture at hand.",
        "匯出時是訓練模式：BatchNorm 用的是當下圖片的統計值。",
    ),
    symptoms=("same-class",),
)
def training_mode(node: Any) -> bool:
    return trains(node)


@cause(
    "1.1",
    Text(
        "It is another architecture than the assignment's ResNet18: {}.",
        "不是本作業的 ResNet18 架構：{}。",
    ),
)
def another_architecture(shapes: list[tuple[int, ...]]) -> Text:
    """What these weights' shapes are of."""
    threes = sum(len(s) == 4 for s in shapes)
    first = next((s for s in shapes if len(s) == 4), ())
    if first and first[2:] != (3, 3):
        return Text(
            f"its first convolution is {first[2]}x{first[3]}, as ImageNet's",
            f"第一個卷積是 {first[2]}x{first[3]}，像 ImageNet 的",
        )
    last = next((s for s in reversed(shapes) if len(s) == 2), ())
    if last and NUM_CLASSES not in last:
        return Text(f"it has {min(last)} classes", f"類別數為 {min(last)}")
    depth = {36: "ResNet34", 53: "ResNet50", 104: "ResNet101", 13: "VGG16", 12: "ResNet10"}.get(
        threes, ""
    )
    return Text.of(f"{threes} Conv {depth}".strip())


@cause("1.3", Text("The FP32 file is opset {}.", "FP32 檔為 opset {}。"))
def another_opset(opset: int) -> bool:
    return opset != OPSET


@cause("1.3", Text("The input and the output have other names: {}.", "輸入與輸出的名稱不同：{}。"))
def other_names(names: list[str]) -> bool:
    return names != [INPUT_NAME, OUTPUT_NAME]


@cause("1.3", Text("The FP32 file is quantised.", "FP32 檔是量化過的。"))
def quantised_fp32(operators: dict[str, int]) -> bool:
    return any(map(is_quantised, operators))


@cause(
    "1.3",
    Text("The FP32 file computes in half precision (float16).", "FP32 檔以半精度（float16）計算。"),
)
def half_precision_model(types: set[int]) -> bool:
    return 10 in types


def same(mine: Layer, given: Layer) -> bool:
    pairs = ((mine.folded, given.folded), (mine.folded_bias, given.folded_bias))
    return all(_alike(a, b) for a, b in pairs)


def _alike(a: Any, b: Any, close: float = _CLOSE) -> bool:
    if a is None:
        a = np.zeros_like(b)
    if np.size(a) != np.size(b):
        return False
    apart = float(np.abs(np.reshape(a, np.shape(b)) - b).max())
    return apart <= close * max(float(np.abs(b).max()), 1e-6)


def held(
    layers: list[Layer], given: list[Layer] | None, weights: Path | None, found: Findings
) -> None:
    """Name what the 21 layers ``in_order`` hold in place of the checkpoint's weights."""
    found.tries((weights_not_loaded, weights_loaded_in_part))
    still = [name for name, layer in zip(LAYERS, layers, strict=True) if weights_not_loaded(layer)]
    if len(still) == len(LAYERS):
        found.name(weights_not_loaded, _spread(layers[0]), mend=_AGAIN)
        return

    def name_still() -> None:
        if still:
            evidence = _spread(layers[LAYERS.index(still[0])])
            found.name(weights_loaded_in_part, evidence, detail=listed(still), mend=_AGAIN)

    if given is None:
        name_still()
        return
    found.tries(
        (another_checkpoint, layers_changed, classes_in_another_order, batch_norm_folded_wrongly)
    )
    differ = [n for n, a, b in zip(LAYERS, layers, given, strict=True) if not same(a, b)]
    if not differ:
        return
    order = classes_in_another_order(layers[20].weight, given[20].weight)
    if order is not None:
        shown = ", ".join(CLASSES[i] for i in order)
        found.name(
            classes_in_another_order,
            Text(
                "Its rows are the checkpoint's in this order.", "各列是權重檔的列，只是順序不同。"
            ),
            detail=shown,
            mend=_AGAIN,
        )
        differ.remove("fc")
    if differ and weights is not None and (words := _folding(layers, differ, weights)):
        found.name(
            batch_norm_folded_wrongly,
            Text(f"This predicts {listed(differ)}.", f"可預測 {listed(differ)} 的數值。"),
            detail=words,
            mend=_AGAIN,
        )
        return
    name_still()
    differ = [name for name in differ if name not in still]
    if not differ:
        return
    evidence = Text(
        f"{len(LAYERS) - len(differ)} of {len(LAYERS)} layers are the checkpoint's.",
        f"{len(LAYERS)} 層中有 {len(LAYERS) - len(differ)} 層與權重檔相同。",
    )
    if len(differ) > len(LAYERS) // 2:
        found.name(another_checkpoint, evidence, mend=_AGAIN)
    else:
        found.name(layers_changed, evidence, detail=listed(differ), mend=_AGAIN)


def _spread(layer: Layer) -> Text:
    bound = 1 / np.sqrt(layer.weight[0].size)
    most = float(np.abs(layer.weight).max())
    return Text(
        f"Uniform within ±{bound:.4f} as PyTorch makes it (largest {most:.4f}), BatchNorm untouched.",
        f"均勻分布於 ±{bound:.4f}，正是 PyTorch 的初始值（最大 {most:.4f}），BatchNorm 未動過。",
    )


def _folding(layers: list[Layer], differ: list[str], weights: Path) -> str | None:
    """Which wrong folding gives all layers that differ."""
    from lab5.checkpoint import read_checkpoint

    state = {k: v.float().numpy() for k, v in read_checkpoint(weights).state.items()}
    convolutions = [name for name in differ if name != "fc"]
    if len(convolutions) < len(differ) or not convolutions:
        return None
    options: list[set[str]] = []
    for name in convolutions:
        stem, _, number = name.rpartition(".")
        norm = [
            state[f"{stem}.{int(number) + 1}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        layer = layers[LAYERS.index(name)]
        options.append({
            words for w, b, words in batch_norm_folded_wrongly(state[f"{name}.weight"], *norm)
            if _alike(layer.folded, w, 2e-4) and _alike(layer.folded_bias, b, 2e-4)
        })  # fmt: skip
    common = set.intersection(*options)
    return min(common) if common else None


# Looking


def look(e: Evidence, found: Findings, source: Source | None) -> None:
    """Name what is wrong with the FP32 file."""
    file = e.fp32
    found.tries(
        (
            another_opset,
            other_names,
            quantised_fp32,
            half_precision_model,
            training_mode,
        )
    )
    graph = file.model.graph
    export = source.call("export") if source else None
    if quantised_fp32(file.operators):
        found.name(quantised_fp32, listed(sorted(file.operators)), mend=_AGAIN)
        return
    if half_precision_model({t.data_type for t in graph.initializer}):
        found.name(half_precision_model, "FLOAT16", mend=_AGAIN)
    if another_opset(file.opset):
        at, mend = mends.export(source, export, opset_version=str(OPSET), dynamo="False")
        found.name(
            another_opset,
            Text.of(f"{file.model.producer_name} {file.model.producer_version}"),
            detail=_why_opset(file, source, export),
            at=at,
            mend=mend,
        )
    stored = {t.name for t in graph.initializer}
    names = [v.name for v in (*graph.input, *graph.output) if v.name not in stored]
    if other_names(names):
        at, mend = mends.export(source, export, input_names='["input"]', output_names='["output"]')
        found.name(other_names, ", ".join(names), detail=", ".join(names), at=at, mend=mend)
    if any(map(training_mode, file.nodes)):
        at, mend = mends.eval_mode(source, export)
        found.name(training_mode, "BatchNormalization(training_mode=1)", at=at, mend=mend)
    if network_source():
        return
    found.tries((another_architecture,))
    layers = in_order(file.layers)
    if layers is None:
        shapes = [layer.weight.shape for layer in file.layers]
        found.name(
            another_architecture,
            Text.of(f"{len(shapes)} != 21"),
            detail=another_architecture(shapes),
            mend=_AGAIN,
        )
        return
    if any(map(training_mode, file.nodes)):
        return  # its statistics are no constants
    found.tries((*BODIES, softmax_included, preprocessing_in_the_model))
    try:
        logits = e.fp32_parity
    except Fault:
        logits = None
    x = inputs.parity()
    steps = None if logits is None else computed(logits, Reference(layers, x), x)
    for step, words in steps or []:
        found.name(step, _agrees(), detail=words, mend=_AGAIN)
    if steps is None:
        found.unknown.append(
            Text("The FP32 file computes something that no known cause predicts.", "FP32 檔的計算結果沒有任何已知原因能預測。")
        )  # fmt: skip
    held(layers, e.handed_out if e.weights else None, e.weights, found)


# Where the notebook itself is at fault, its own lines stand there instead.
_AGAIN: Final = Text(
    "Export again, load_state_dict(state) and eval() before it, and hand in the file that it writes.",
    "請重新匯出（匯出前先 load_state_dict(state) 與 eval()），並繳交新產生的檔案。",
)


def _agrees() -> Text:
    return Text(
        "With the same weights, the reference network changed so gives the same logits; unchanged, others.",
        "權重相同時，參考網路這樣改就得到相同的 logits；不改則不同。",
    )


def _why_opset(file: Any, source: Source | None, export: Place | None) -> Text:
    asked = mends.keyword(export, "opset_version")
    dynamo = any(
        p.key.startswith("pkg.torch") for n in file.nodes for p in n.metadata_props
    ) or any(n.name.startswith("node_") for n in file.nodes)
    number = file.opset
    exporter = f"{file.model.producer_name} {file.model.producer_version}".strip()
    if isinstance(asked, int) and asked != OPSET and asked == number:
        return Text(f"{number}: the notebook asks for it", f"{number}：notebook 就是這樣指定的")
    if dynamo or number >= 18:
        return Text(
            f"{number}, though {asked or OPSET} was wanted: torch's dynamo exporter ({exporter}; the default since torch 2.9) "
            f"knows none below 18, fails to convert and says nothing; dynamo=False writes a true {OPSET}",
            f"{number}，而不是 {asked or OPSET}：torch 的 dynamo 匯出器（{exporter}，torch 2.9 起的預設）最低只有 18，轉換失敗也不報錯；加上 dynamo=False 才會真的寫成 {OPSET}",
        )
    return Text(
        f"{number}, written by {exporter} (opset_version={number})",
        f"{number}，由 {exporter} 寫成（opset_version={number}）",
    )


# The notebook's own code


@cause(
    "1.1",
    Text(
        "The network's parameters have other names, so the checkpoint does not load: {}.",
        "網路的參數名稱不同，權重檔無法載入：{}。",
    ),
)
def parameters_renamed(found: dict[str, list[int]], wanted: dict[str, list[int]]) -> list[str]:
    """The first names that differ, if the shapes are the same in their order."""
    if len(found) != len(wanted) or any(
        a != b for a, b in zip(found.values(), wanted.values(), strict=True)
    ):
        return []
    return [f"{a} ≠ {b}" for a, b in zip(found, wanted, strict=True) if a != b]


@cause(
    "1.1",
    Text(
        "The convolutions have biases ({}), which the checkpoint does not have: bias=False is missing.",
        "卷積有 bias（{}），權重檔沒有：缺少 bias=False。",
    ),
)
def convolutions_with_bias(found: dict[str, list[int]], wanted: dict[str, list[int]]) -> list[str]:
    more = [n for n in found if n not in wanted]
    return (
        more
        if more and all(n.endswith(".bias") for n in more) and set(wanted) <= set(found)
        else []
    )


@cause("1.1", Text("A BatchNorm is missing: {}.", "缺少 BatchNorm：{}。"))
def batch_norm_missing(found: dict[str, list[int]], wanted: dict[str, list[int]]) -> list[str]:
    less = [n for n in wanted if n not in found]
    gone = {n.rpartition(".")[0] for n in less}
    whole = all(f"{stem}.running_var" in wanted for stem in gone)
    return sorted(gone) if less and whole and set(found) <= set(wanted) else []


def look_at_code(e: Evidence, found: Findings, source: Source) -> None:
    """Name what is wrong with the notebook's network and with what leads to its export."""
    if not network_source():
        _network(e, found, source)
    export = e.probe("export")
    call = source.call("load_state_dict")
    found.tries((weights_not_loaded, training_mode, another_opset))
    if export["loaded"] and not any(one["loaded"] for one in export["loaded"]):
        at, lines = mends.load(source, call)
        found.name(
            weights_not_loaded,
            Text("The model that is exported does not hold the weights.", "匯出的模型沒有權重。"),
            at=at,
            mend=lines,
        )
    elif export.get("spoiled"):
        found.remarks.append(
            Text("Loading is not strict: a misnamed tensor would be left random without a word.", "權重不是嚴格載入：名稱不符的張量會保持隨機值而不報錯。")
        )  # fmt: skip
    if export["loaded"] and all(one["training"] for one in export["loaded"]):
        at, mend = mends.eval_mode(source, source.call("export"))
        found.name(training_mode, "model.training == True", at=at, mend=mend)
    asked = mends.keyword(source.call("export"), "opset_version")
    if isinstance(asked, int) and asked != OPSET and not found.has(another_opset):
        at, mend = mends.export(
            source, source.call("export"), opset_version=str(OPSET), dynamo="False"
        )
        found.name(another_opset, f"opset_version={asked}", detail=str(asked), at=at, mend=mend)


def _network(e: Evidence, found: Findings, source: Source) -> None:
    probe = e.probe("network")
    got, want = probe.get("parameters"), reference_parameters()
    names = (parameters_renamed, convolutions_with_bias, batch_norm_missing)
    found.tries((*names, another_architecture, *BODIES, softmax_included))
    at = where(source.class_(probe.get("network")))
    if got is not None and got != want:
        for step in names:
            if differing := step(got, want):
                found.name(
                    step,
                    Text.of(listed(differing)),
                    detail=listed(differing, 3),
                    at=at,
                    mend=mends.classes(source, probe),
                )
                return
        shapes = [tuple(s) for n, s in got.items() if n.endswith("weight") and len(s) > 1]
        differ = [f"{n} {got.get(n)}" for n in {**want, **got} if want.get(n) != got.get(n)]
        found.name(
            another_architecture,
            Text.of(listed(differ, 3)),
            detail=another_architecture(shapes),
            at=at,
            mend=mends.classes(source, probe),
        )
        return
    output = probe.get("output")
    if got is None or (
        isinstance(output, np.ndarray) and relative(output, e.reference_output) <= _CLOSE
    ):
        return
    steps: list[tuple[Callable[..., Any], str]] | None
    if isinstance(output, np.ndarray):
        layers, x = layers_of(seeded_weights(got, e.seed)), seeded_input(e.seed)
        steps = computed(output, Reference(layers, x), x)
    elif "multiplied" in str(probe.get("error")) or "too small" in str(probe.get("error")):
        steps = [(another_stride, mends.strides(source))]
    else:
        return
    for step, words in steps or []:
        line, mend = mends.network(source, probe, step.__name__, words)
        evidence = _agrees() if isinstance(output, np.ndarray) else Text.of(probe["error"])
        found.name(step, evidence, detail=words, at=line or at, mend=mend)
    if steps is None:
        found.unknown.append(
            Text("The notebook's network computes something that no known cause predicts.", "notebook 的網路計算結果沒有任何已知原因能預測。")
        )  # fmt: skip
