"""The benchmark's hand-ins: faults as people make them, and right ones that are made otherwise."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab5.assignment import CHECKPOINT, TEMPLATE, FileNames
from lab5.files import FIXTURES, replacing
from lab5.grading.evidence import inputs
from tests.handin import quantise

NAMES: Final = FileNames("N26140692")
Edit = Callable[["HandIn"], None]


@dataclass(frozen=True)
class Fault:
    """A change of a hand-in, and the causes that must be named for it; none: it stays right.

    Args:
        slots: what it changes: two that change the same do not fit into one hand-in.
    """

    name: str
    causes: frozenset[str]
    slots: frozenset[str]
    edit: Edit

    def fits(self, other: Fault) -> bool:
        return not ({"alone"} & (self.slots | other.slots)) and not (self.slots & other.slots) and (
            not self.causes & other.causes
        )  # fmt: skip


class HandIn:
    """A right hand-in, to be edited."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._notebook = copy.deepcopy(shop.notebook)
        self.files: dict[str, Callable[[], bytes]] = {
            NAMES.fp32: lambda: shop.fp32, NAMES.int8: lambda: shop.int8,
        }  # fmt: skip
        self.with_notebook = True
        self.checkpoints: list[Path] = []

    @property
    def cells(self) -> list[str]:
        if not self.with_notebook:
            return []
        return ["".join(c["source"]) for c in self._notebook["cells"] if c["cell_type"] == "code"]

    def code(self, old: str, new: str) -> None:
        """Replace what stands once in the code cells.

        Raises:
            ValueError: it does not.
        """
        count = 0
        for cell in self._notebook["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "code" and old in text:
                count += text.count(old)
                cell["source"] = text.replace(old, new).splitlines(keepends=True)
        if count != 1:
            raise ValueError(f"{old!r} stands there {count} times")

    def written(self) -> dict[str, bytes]:
        found = {NAMES.notebook: json.dumps(self._notebook).encode()} if self.with_notebook else {}
        return found | {name: make() for name, make in self.files.items()}


class Shop:
    """What hand-ins are made of, each made once."""

    def __init__(self, folder: Path) -> None:
        from lab5.checkpoint import load_model
        from lab5.models import cached_pair
        from lab5.notebook import fill, read_notebook

        self.folder, self.weights = folder, FIXTURES / CHECKPOINT
        self.notebook = fill(read_notebook(FIXTURES / TEMPLATE), NAMES)
        for cell in self.notebook["cells"]:  # the comparison as the assignment writes it
            text = "".join(cell["source"])
            if "def timed_run" in text:
                start = text.index("    # 一次的時間不準")
                end = text.index("    p_fp32 = softmax_np")
                cell["source"] = (text[:start] + COMPARE + text[end:]).splitlines(keepends=True)
        pair = cached_pair(self.weights)
        self.fp32, self.int8 = pair.fp32.read_bytes(), pair.int8.read_bytes()
        self.net = load_model(self.weights)[0]
        self._made: dict[str, bytes] = {}

    def once(self, name: str, make: Callable[[], bytes]) -> bytes:
        path = self.folder / f"once-{name}"
        if not path.exists():
            with replacing(path) as temporary:
                temporary.write_bytes(make())
        return path.read_bytes()

    def exported(self, net: Any, **options: Any) -> bytes:
        import torch

        from lab5.export import restore_initializers

        buffer = io.BytesIO()
        given: dict[str, Any] = {"input_names": ["input"], "output_names": ["output"], "opset_version": 13,
                                 "dynamic_axes": {"input": {0: "N"}, "output": {0: "N"}}, "dynamo": False}  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), buffer, **{**given, **options})  # type: ignore[arg-type]
        path = self.folder / "exported.onnx"
        path.write_bytes(buffer.getvalue())
        restore_initializers(path)  # an untrained network has equal ones
        return path.read_bytes()

    def edited(self, edit: Callable[[Any], Any], of: str = "fp32") -> bytes:
        import onnx

        model = onnx.load_from_string(getattr(self, of))
        edit(model)
        return bytes(model.SerializeToString())

    def quantised(self, fp32: bytes, images: np.ndarray | None = None, **options: Any) -> bytes:
        path = self.folder / "quantised.onnx"
        quantise(fp32, path, images, **options)
        return path.read_bytes()


COMPARE: Final = """    t0 = time.time()
    logits_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]
    fp32_ms = (time.time() - t0) * 1000
    t1 = time.time()
    logits_int8 = sess_int8.run([out_int8], {in_int8: x})[0]
    int8_ms = (time.time() - t1) * 1000

"""

FAULTS: Final[list[Fault]] = []
RIGHT: Final[list[Fault]] = []

_RGB = 'img = image.convert("RGB").resize((32, 32))'
_ARRAY = "arr = np.asarray(img, dtype=np.float32) / 255.0"
_NORM = "arr = (arr - CIFAR10_MEAN) / CIFAR10_STD"
_CHW = "arr = arr.transpose(2, 0, 1)"
_BATCH = "arr = arr[None, ...].astype(np.float32)"


def _code(
    name: str, cause: str, *edits: tuple[str, str], slots: str = "", into: list[Fault] = FAULTS
) -> None:
    def edit(h: HandIn) -> None:
        for old, new in edits:
            h.code(old, new)

    where = set(slots.split()) or {old for old, _ in edits}
    into.append(Fault(name, frozenset(cause.split()), frozenset(where), edit))


# 2.1, by the line that is changed
for _name, _cause, _new in (
    ("no conversion", "not-converted-to-rgb", "img = image.resize((32, 32))"),
    ("28x28", "another-size", 'img = image.convert("RGB").resize((28, 28))'),
    ("224x224", "another-size", 'img = image.convert("RGB").resize((224, 224))'),
    ("64x64", "another-size", 'img = image.convert("RGB").resize((64, 64))'),
    ("bilinear", "another-filter", 'img = image.convert("RGB").resize((32, 32), Image.BILINEAR)'),
    ("nearest", "another-filter", 'img = image.convert("RGB").resize((32, 32), resample=0)'),
    ("lanczos", "another-filter", 'img = image.convert("RGB").resize((32, 32), Image.LANCZOS)'),
    ("corner", "cropped", 'img = image.convert("RGB").crop((0, 0, 32, 32))'),
    ("fit", "cropped", 'from PIL import ImageOps; img = ImageOps.fit(image.convert("RGB"), (32, 32))'),
    ("resize 36, crop", "cropped", 'img = image.convert("RGB").resize((36, 36)).crop((2, 2, 34, 34))'),
    ("pad", "padded", 'from PIL import ImageOps; img = ImageOps.pad(image.convert("RGB"), (32, 32))'),
    ("thumbnail", "thumbnail-for-resize", 'img = image.convert("RGB"); img.thumbnail((32, 32))'),
    ("not resized", "not-resized", 'img = image.convert("RGB")'),
    ("resized twice", "resized-twice", 'img = image.convert("RGB").resize((16, 16)).resize((32, 32))'),
    ("grey", "grey-for-colour", 'img = image.convert("L").convert("RGB").resize((32, 32))'),
    ("on white", "laid-on-a-background", 'rgba = image.convert("RGBA"); img = Image.new("RGB", image.size, (255, 255, 255)); img.paste(rgba, mask=rgba.getchannel("A")); img = img.resize((32, 32))'),
    ("on black", "laid-on-a-background", 'rgba = image.convert("RGBA"); img = Image.new("RGBA", image.size, (0, 0, 0, 255)); img.alpha_composite(rgba); img = img.convert("RGB").resize((32, 32))'),
    ("resized, then converted", "resized-before-converting", 'img = image.resize((32, 32)).convert("RGB")'),
    ("HSV", "other-colour-space", 'img = image.convert("RGB").resize((32, 32)).convert("HSV")'),
    ("mirrored", "mirrored", 'from PIL import ImageOps; img = ImageOps.mirror(image.convert("RGB").resize((32, 32)))'),
):  # fmt: skip
    _code(f"2.1 {_name}", _cause, (_RGB, _new))
for _name, _cause, _new in (
    ("no / 255", "not-divided-by-255", "arr = np.asarray(img, dtype=np.float32)"),
    (
        "/ 255 twice",
        "divided-by-255-twice",
        "arr = np.asarray(img, dtype=np.float32) / 255.0; arr /= 255",
    ),
    ("/ 256", "divided-by-256", "arr = np.array(img).astype(np.float32) / 256"),
    (
        "/ 127.5 - 1",
        "scaled-to-minus-one-one",
        "arr = np.asarray(img, dtype=np.float32) / 127.5 - 1.0",
    ),
    ("// 255", "divided-as-integers", "arr = np.asarray(img) // 255"),
    ("/ 100", "divided-by-another-number", "arr = np.asarray(img, dtype=np.float32) / 100.0"),
):
    _code(f"2.1 {_name}", _cause, (_ARRAY, _new))
for _name, _cause, _new in (
    (
        "mean and std exchanged",
        "mean-and-deviation-exchanged",
        "arr = (arr - CIFAR10_STD) / CIFAR10_MEAN",
    ),
    ("no mean", "mean-not-subtracted", "arr = arr / CIFAR10_STD"),
    ("no std", "not-divided-by-the-deviation", "arr = arr - CIFAR10_MEAN"),
    ("not normalised", "not-normalised", "pass"),
    (
        "ImageNet",
        "other-constants",
        "arr = (arr - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])",
    ),
    ("0.5", "scaled-to-minus-one-one", "arr = (arr - 0.5) / 0.5"),
    ("MNIST", "other-constants", "arr = (arr - 0.1307) / 0.3081"),
    (
        "std of pytorch-cifar",
        "other-constants",
        "arr = (arr - CIFAR10_MEAN) / np.float32([0.2023, 0.1994, 0.2010])",
    ),
    ("constants BGR", "other-constants", "arr = (arr - CIFAR10_MEAN[::-1]) / CIFAR10_STD[::-1]"),
    ("mean added", "mean-added", "arr = (arr + CIFAR10_MEAN) / CIFAR10_STD"),
    ("times std", "multiplied-by-the-deviation", "arr = (arr - CIFAR10_MEAN) * CIFAR10_STD"),
    (
        "twice",
        "normalised-twice",
        "arr = ((arr - CIFAR10_MEAN) / CIFAR10_STD - CIFAR10_MEAN) / CIFAR10_STD",
    ),
    ("precedence", "divided-before-subtracted", "arr = arr / CIFAR10_STD - CIFAR10_MEAN"),
    (
        "own statistics",
        "scaled-by-its-own-statistics",
        "arr = (arr - arr.mean(axis=(0, 1))) / arr.std(axis=(0, 1))",
    ),
    ("clipped", "clipped", "arr = np.clip((arr - CIFAR10_MEAN) / CIFAR10_STD, 0, 1)"),
):
    _code(f"2.1 {_name}", _cause, (_NORM, _new))
for _name, _cause, _new in (
    ("BGR", "channels-reversed", "arr = arr[:, :, ::-1].transpose(2, 0, 1)"),
    ("BGR by index", "channels-reversed", "arr = arr[..., [2, 1, 0]].transpose(2, 0, 1)"),
    ("GBR", "channels-permuted", "arr = arr[..., [1, 2, 0]].transpose(2, 0, 1)"),
    ("channels last", "channels-last", "pass"),
    ("reshape", "reshape-for-transpose", "arr = arr.reshape(3, 32, 32)"),
    ("2, 1, 0", "height-and-width-exchanged", "arr = arr.transpose(2, 1, 0)"),
    ("0, 2, 1", "axes-in-another-order", "arr = np.swapaxes(arr, 1, 2)"),
):
    _code(f"2.1 {_name}", _cause, (_CHW, _new))
for _name, _cause, _new in (
    ("no batch", "no-batch-axis", "arr = arr.astype(np.float32)"),
    ("two batches", "batch-axis-twice", "arr = arr[None, None].astype(np.float32)"),
    ("float64", "double-precision", "arr = np.expand_dims(arr, 0).astype(float)"),
    ("float16", "half-precision", "arr = arr[None].astype(np.float16)"),
    ("tensor", "another-type", "arr = torch.from_numpy(arr[None]).float()"),
    ("integers", "rounded-to-integers", "arr = arr[None].astype(np.int32).astype(np.float32)"),
    (
        "random flip",
        "random-augmentation",
        "arr = (arr + 0.1 * np.random.randn(3, 32, 32))[None].astype(np.float32)",
    ),
):
    _code(f"2.1 {_name}", _cause, (_BATCH, _new))

# 1.1, 1.2, 1.3: the notebook's network, and what leads to the export
_FORWARD = "return F.relu(self.left(x) + self.shortcut(x))"
for _name, _cause, _old, _new in (
    ("no shortcut", "shortcut-missing", _FORWARD, "return F.relu(self.left(x))"),
    ("shortcut twice", "shortcut-doubled", _FORWARD, "return F.relu(self.left(x) + self.shortcut(x) + self.shortcut(x))"),
    ("no last ReLU", "relu-missing", _FORWARD, "return self.left(x) + self.shortcut(x)"),
    ("ReLU before +", "relu-before-the-addition", _FORWARD, "return F.relu(self.left(x)) + self.shortcut(x)"),
    ("leaky ReLU", "another-activation", _FORWARD, "return F.relu(self.left(x) + self.shortcut(x))"),
    ("stride of layer3", "another-stride", "256, 2, stride=2", "256, 2, stride=1"),
    ("maximum", "maximum-for-average", "F.avg_pool2d", "F.max_pool2d"),
    ("softmax", "softmax-included", "return self.fc(out)", "return F.softmax(self.fc(out), dim=1)"),
    ("biases", "convolutions-with-bias", "stride=stride, padding=1, bias=False)", "stride=stride, padding=1)"),
    ("7x7", "another-architecture", "nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1", "nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3"),
):  # fmt: skip
    if _name != "leaky ReLU":
        _code(f"1.1 {_name}", _cause, (_old, _new), slots="network")
_code(
    "1.1 linear for fc",
    "parameters-renamed",
    ("self.fc = nn", "self.linear = nn"),
    ("self.fc(out)", "self.linear(out)"),
    slots="network",
)
_LOAD = "    model.load_state_dict(state)"
for _name, _cause, _old, _new in (
    ("not loaded", "weights-not-loaded", _LOAD, "    model.state_dict()"),
    (
        "loaded into another",
        "weights-not-loaded",
        _LOAD,
        "    ResNet18(BasicBlock).load_state_dict(state)",
    ),
    ("no eval", "training-mode", "    model.eval()", "    model"),
    ("train()", "training-mode", "    model.eval()", "    model.eval(); model.train()"),
    ("eval not called", "training-mode", "    model.eval()", "    model.eval"),
):
    _code(f"1.2 {_name}", _cause, (_old, _new), slots="export")

# 1.5, 2.2
_INT8_RUN = "logits_int8 = sess_int8.run([out_int8], {in_int8: x})[0]"
_FP32_RUN = "logits_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]"
_LABELS = (
    "LABELS = ['plane', 'car', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']"
)
_SOFTMAX = "    e = np.exp(x - x.max())\n    return e / e.sum()"
for _name, _cause, _old, _new in (
    ("FP32 twice", "one-session-twice", _INT8_RUN, "logits_int8 = sess_fp32.run([out_fp32], {in_fp32: x})[0]"),
    ("INT8 twice", "one-session-twice", _FP32_RUN, "logits_fp32 = sess_int8.run([out_int8], {in_int8: x})[0]"),
    ("results exchanged", "models-exchanged", "    speedup =", "    top3_fp32, top3_int8 = top3_int8, top3_fp32\n    speedup ="),
    ("no softmax", "softmax-missing", _SOFTMAX, "    return x"),
    ("softmax twice", "softmax-twice", _SOFTMAX, "    e = np.exp(x - x.max())\n    e = np.exp(e / e.sum())\n    return e / e.sum()"),
    ("wrong axis", "softmax-over-the-wrong-axis", _SOFTMAX, "    e = np.exp(x - x.max())[None]\n    return (e / e.sum(axis=0))[0]"),
    ("sigmoid", "another-function-for-softmax", _SOFTMAX, "    return 1 / (1 + np.exp(-x))"),
    ("per cent", "probabilities-in-per-cent", "float(probs[i])", "float(probs[i]) * 100"),
    ("not reversed", "least-likely-listed", "np.argsort(probs)[::-1][:3]", "np.argsort(probs)[:3]"),
    ("cat and dog", "labels-permuted", _LABELS, _LABELS.replace("'cat', 'deer', 'dog'", "'dog', 'deer', 'cat'")),
    ("sorted", "labels-permuted", _LABELS, "LABELS = ['bird', 'car', 'cat', 'deer', 'dog', 'frog', 'horse', 'plane', 'ship', 'truck']"),
    ("x[0]", "batch-axis-in-the-comparison", "    x = preprocess(image)", "    x = preprocess(image)[0]"),
    ("x[None]", "batch-axis-in-the-comparison", "    x = preprocess(image)", "    x = preprocess(image)[None]"),
    ("out_fp32 =", "name-assigned-before-it-is-read", _FP32_RUN, "out_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]; logits_fp32 = out_fp32"),
    ("upside down", "speedup-upside-down", "speedup = fp32_ms / int8_ms", "speedup = int8_ms / fp32_ms"),
    ("difference", "difference-for-quotient", "speedup = fp32_ms / int8_ms", "speedup = fp32_ms - int8_ms"),
    ("one clock", "clock-started-once", "    t1 = time.time()\n    logits_int8", "    t1 = t0\n    logits_int8"),
    ("preprocessing timed", "preprocessing-is-timed", "    x = preprocess(image)\n    # Your progarm\n    t0 = time.time()", "    t0 = time.time()\n    x = preprocess(image)\n    # Your progarm"),
    ("path ignored", "path-ignored", "ort.InferenceSession(model_path, providers", "ort.InferenceSession(FP32_MODEL, providers"),
    ("not returned", "session-not-returned", "  return ort.InferenceSession(model_path", "  session = ort.InferenceSession(model_path"),
    ("providers ignored", "providers-ignored", "providers=providers)  #", "providers=['CPUExecutionProvider'])  #"),
    ("opened twice", "one-file-opened-twice", "sess_int8 = build_session(MODEL_PATH_INT8", "sess_int8 = build_session(MODEL_PATH_FP32"),
):  # fmt: skip
    _code(
        f"2.2 {_name}",
        _cause,
        (_old, _new),
        slots="session"
        if "session" in _cause or "path" in _cause or "provider" in _cause or "file" in _cause
        else f"page {_old}",
    )
_code("2.2 seconds", "seconds-for-milliseconds", ("fp32_ms = (time.time() - t0) * 1000", "fp32_ms = time.time() - t0"),
      ("int8_ms = (time.time() - t1) * 1000", "int8_ms = time.time() - t1"), (":.2f} ms\\nINT8: {int8_ms:.2f} ms", ":.5f} ms\\nINT8: {int8_ms:.5f} ms"), slots="times page")  # fmt: skip
_code(
    "2.2 times exchanged",
    "times-exchanged",
    ("FP32: {fp32_ms", "FP32: {int8_ms"),
    ("INT8: {int8_ms", "INT8: {fp32_ms"),
    slots="times page",
)


# The models


def _model(name: str, cause: str, fp32: Callable[[Shop], bytes] | None = None, int8: Callable[[Shop], bytes] | None = None,
           *, requantised: bool = False, lone: bool = False, code: tuple[str, str] | None = None, into: list[Fault] = FAULTS) -> None:  # fmt: skip
    def edit(h: HandIn) -> None:
        shop = h.shop
        key = name.replace(" ", "-").replace("/", "-")
        if fp32 is not None:
            h.files[NAMES.fp32] = lambda: shop.once(key, lambda: fp32(shop))
        if int8 is not None:
            h.files[NAMES.int8] = lambda: shop.once(f"{key}-int8", lambda: int8(shop))
        elif requantised and fp32 is not None:
            h.files[NAMES.int8] = lambda: shop.once(
                f"{key}-int8", lambda: shop.quantised(shop.once(key, lambda: fp32(shop)))
            )
        elif fp32 is not None:
            del h.files[NAMES.int8]
        if lone:
            h.with_notebook = False
            if int8 is not None and fp32 is None:
                del h.files[NAMES.fp32]
        if code is not None:
            h.code(*code)

    slots = {"fp32", "int8"} | ({"alone"} if lone or into is RIGHT else set())
    into.append(Fault(name, frozenset(cause.split()), frozenset(slots), edit))


def _weights(change: Callable[[Any, Any], None]) -> Callable[[Shop], bytes]:
    """The FP32 file of a network whose weights were changed."""

    def make(shop: Shop) -> bytes:
        import torch

        net = copy.deepcopy(shop.net)
        with torch.no_grad():
            change(net, torch.Generator().manual_seed(5))
        return shop.exported(net.eval())

    return make


def _fresh(net: Any, generator: Any, names: Callable[[str], bool]) -> None:
    import torch

    from lab5.model import BasicBlock, ResNet18

    torch.manual_seed(3)
    made = ResNet18(BasicBlock).state_dict()
    for name, value in net.state_dict().items():
        if names(name):
            value.copy_(made[name])


def _noisy(
    net: Any, generator: Any, names: Callable[[str], bool] = lambda name: True, much: float = 0.05
) -> None:
    import torch

    for name, value in net.named_parameters():
        if value.dim() > 1 and names(name):
            value.mul_(1 + much * torch.randn(value.shape, generator=generator))


def _norms(net: Any, change: Callable[[Any], None]) -> None:
    import torch

    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            change(module)


def _set(module: Any, **values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, float) and name == "eps":
            module.eps = value
        else:
            getattr(module, name).data.copy_(value)


def _graph(edit: Callable[[Any], Any]) -> Callable[[Shop], bytes]:
    return lambda shop: shop.edited(edit)


def _nodes(model: Any, op: str) -> list[Any]:
    return [n for n in model.graph.node if n.op_type == op]


def _bypass(model: Any, node: Any, keep: int = 0) -> None:
    """Without the node: whoever reads its output reads its input."""
    for other in model.graph.node:
        other.input[:] = [node.input[keep] if n == node.output[0] else n for n in other.input]
    model.graph.node.remove(node)


def _doubled(model: Any, number: int) -> None:
    from onnx import helper

    add = _nodes(model, "Add")[number]
    at = list(model.graph.node).index(add)
    out = add.output[0]
    add.output[0] = f"{out}_once"
    model.graph.node.insert(at + 1, helper.make_node("Add", [add.output[0], add.input[1]], [out]))


def _ending(model: Any, op: str, **attributes: Any) -> None:
    from onnx import helper

    last = model.graph.node[-1]
    last.output[0] = "logits"
    model.graph.node.append(helper.make_node(op, ["logits"], ["output"], **attributes))


def _beginning(model: Any) -> None:
    from onnx import helper, numpy_helper

    first = next(n for n in model.graph.node if "input" in n.input)
    first.input[0] = "scaled"
    model.graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "many"))
    model.graph.node.insert(0, helper.make_node("Div", ["input", "many"], ["scaled"]))


def _pooled(model: Any, op: str) -> None:
    (pool,) = _nodes(model, "AveragePool")
    pool.op_type = op
    if op.startswith("Global"):
        del pool.attribute[:]


def _strided(model: Any) -> None:
    """layer4 without its stride; the pooling takes the whole."""
    for node in [
        n for n in _nodes(model, "Conv") if "layer4/layer4.0" in n.name or "layer4.0" in n.name
    ]:
        for attribute in node.attribute:
            if attribute.name == "strides":
                attribute.ints[:] = [1, 1]
    _pooled(model, "GlobalAveragePool")


def _permuted(net: Any, generator: Any) -> None:
    order = [0, 1, 2, 5, 4, 3, 6, 7, 9, 8]
    net.fc.weight.copy_(net.fc.weight[order])
    net.fc.bias.copy_(net.fc.bias[order])


_model(
    "1.2 random",
    "weights-not-loaded",
    _weights(lambda n, g: _fresh(n, g, lambda _: True)),
    requantised=True,
)
_model(
    "1.2 fc random",
    "weights-loaded-in-part",
    _weights(lambda n, g: _fresh(n, g, lambda k: k.startswith("fc"))),
)
_model(
    "1.2 layer4 random",
    "weights-loaded-in-part",
    _weights(lambda n, g: _fresh(n, g, lambda k: k.startswith("layer4"))),
    requantised=True,
)
_model(
    "1.2 conv1 random",
    "weights-loaded-in-part",
    _weights(lambda n, g: _fresh(n, g, lambda k: k.startswith("conv1"))),
    lone=True,
)
_model(
    "1.2 shortcuts random",
    "weights-loaded-in-part",
    _weights(lambda n, g: _fresh(n, g, lambda k: "shortcut" in k)),
)
_model("1.2 another checkpoint", "another-checkpoint", _weights(_noisy), requantised=True)
_model(
    "1.2 one layer tuned",
    "layers-changed",
    _weights(lambda n, g: _noisy(n, g, lambda k: k == "layer3.1.left.0.weight")),
)
_model("1.2 classes permuted", "classes-in-another-order", _weights(_permuted))
_model(
    "1.3 eps 1e-3",
    "batch-norm-folded-wrongly",
    _weights(lambda n, g: _norms(n, lambda m: _set(m, eps=1e-3))),
)
_model(
    "1.3 no mean",
    "batch-norm-folded-wrongly",
    _weights(lambda n, g: _norms(n, lambda m: m.running_mean.zero_())),
)
_model(
    "1.3 no variance",
    "batch-norm-folded-wrongly",
    _weights(lambda n, g: _norms(n, lambda m: m.running_var.fill_(1 - 1e-5))),
)
_model(
    "1.3 no gamma",
    "batch-norm-folded-wrongly",
    _weights(lambda n, g: _norms(n, lambda m: m.weight.data.fill_(1))),
)
_model(
    "1.3 variance squared",
    "batch-norm-folded-wrongly",
    _weights(
        lambda n, g: _norms(n, lambda m: m.running_var.copy_((m.running_var + 1e-5) ** 2 - 1e-5))
    ),
)
_model(
    "1.3 softmax",
    "softmax-included",
    _graph(lambda m: _ending(m, "Softmax", axis=1)),
    requantised=True,
)
_model("1.3 log_softmax", "softmax-included", _graph(lambda m: _ending(m, "LogSoftmax", axis=1)))
_model("1.3 / 255 inside", "preprocessing-in-the-model", _graph(_beginning))
_model(
    "1.3 no shortcut in block 0",
    "shortcut-missing",
    _graph(lambda m: _bypass(m, _nodes(m, "Add")[0])),
)
_model(
    "1.3 no shortcut in block 5",
    "shortcut-missing",
    _graph(lambda m: _bypass(m, _nodes(m, "Add")[5])),
    lone=True,
)
_model("1.3 shortcut twice in block 3", "shortcut-doubled", _graph(lambda m: _doubled(m, 3)))
_model("1.3 shortcut twice in block 6", "shortcut-doubled", _graph(lambda m: _doubled(m, 6)))
_model("1.3 no ReLU", "relu-missing", _graph(lambda m: _bypass(m, _nodes(m, "Relu")[4])))
_model("1.3 no first ReLU", "relu-missing", _graph(lambda m: _bypass(m, _nodes(m, "Relu")[0])))
_model("1.3 maximum", "maximum-for-average", _graph(lambda m: _pooled(m, "GlobalMaxPool")))
_model("1.3 stride of layer4", "another-stride", _graph(_strided), lone=True)
_model(
    "1.3 opset 17", "another-opset", lambda s: s.exported(s.net, opset_version=17), requantised=True
)
_model(
    "1.3 opset 11",
    "another-opset",
    _graph(lambda m: setattr(m.opset_import[0], "version", 11)),
    code=("opset_version=13", "opset_version=11"),
)
_model("1.3 opset 18", "another-opset", _graph(lambda m: setattr(m.opset_import[0], "version", 18)))
_model(
    "1.3 other names",
    "other-names",
    lambda s: s.exported(s.net, input_names=["x"], output_names=["y"], dynamic_axes=None),
)


def _quantised(images: np.ndarray | None = None, **options: Any) -> Callable[[Shop], bytes]:
    def make(shop: Shop) -> bytes:
        return shop.quantised(shop.fp32, images, **options)

    return make


def _types() -> Any:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType

    return QuantFormat, QuantType, CalibrationMethod


def _pixels(count: int = 12) -> np.ndarray:
    """Pictures as pixels 0..255, (N, 3, 32, 32)."""
    from lab5.assignment import CIFAR10_MEAN, CIFAR10_STD

    x = inputs.scenes(count, seed=31)
    return (x * np.array(CIFAR10_STD)[:, None, None] + np.array(CIFAR10_MEAN)[:, None, None]).clip(
        0, 1
    ) * 255


def _scaled(model: Any, factor: float, which: slice) -> None:
    """The scale of some layers' outputs multiplied, wherever it is read."""
    from onnx import numpy_helper

    stored = {t.name: t for t in model.graph.initializer}
    for node in _nodes(model, "QLinearConv")[which]:
        tensor = stored[node.input[6]]
        value = numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, np.float32), tensor.name))


def _one_weight(model: Any) -> None:
    from onnx import numpy_helper

    stored = {t.name: t for t in model.graph.initializer}
    tensor = stored[_nodes(model, "QLinearConv")[7].input[3]]
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(value[::-1].copy(), tensor.name))


def _dynamic(shop: Shop) -> bytes:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = shop.folder / "dynamic.onnx"
    quantize_dynamic(onnx.load_from_string(shop.fp32), path, weight_type=QuantType.QUInt8)
    return path.read_bytes()


_rng = np.random.default_rng(8)
_model(
    "1.4 QDQ by a string",
    "qdq-format",
    int8=lambda s: s.quantised(s.fp32, quant_format="QOperator"),
    code=("quant_format=QuantFormat.QOperator", 'quant_format="QOperator"'),
)
_model(
    "1.4 QDQ",
    "qdq-format",
    int8=lambda s: s.quantised(s.fp32, quant_format=_types()[0].QDQ),
    lone=True,
)
_model(
    "1.4 int8 activations",
    "int8-activations",
    int8=lambda s: s.quantised(s.fp32, activation_type=_types()[1].QInt8),
    code=("        activation_type=QuantType.QUInt8,", ""),
)
_model(
    "1.4 per tensor",
    "per-tensor-weights",
    int8=_quantised(per_channel=False),
    code=("per_channel=True", "per_channel=False"),
)
_model(
    "1.4 uint8 weights",
    "another-weight-type",
    int8=lambda s: s.quantised(s.fp32, weight_type=_types()[1].QUInt8),
)
_model(
    "1.4 first left out",
    "convolutions-left-out",
    int8=lambda s: s.quantised(s.fp32, nodes_to_exclude=["/conv1/conv1.0/Conv"]),
)
_model(
    "1.4 of an older FP32",
    "made-from-another-fp32",
    int8=lambda s: s.quantised(_weights(_noisy)(s)),
)
_model(
    "1.4 of random weights",
    "made-from-another-fp32",
    int8=lambda s: s.quantised(_weights(lambda n, g: _fresh(n, g, lambda _: True))(s)),
)
_model(
    "1.4 one layer's weights", "int8-layers-changed", int8=lambda s: s.edited(_one_weight, "int8")
)
_model(
    "1.4 calibrated 0..1",
    "calibrated-on-another-range",
    int8=_quantised(_rng.random((12, 3, 32, 32))),
    code=(
        "np.random.randn(self.batch_size, 3, 32, 32)",
        "np.random.rand(self.batch_size, 3, 32, 32)",
    ),
)
_model(
    "1.4 calibrated on pixels / 255",
    "calibrated-on-another-range",
    int8=_quantised(_pixels() / 255),
)
_model("1.4 calibrated 0..255", "calibrated-on-another-range", int8=_quantised(_pixels()))
_model(
    "1.4 calibrated on zeros",
    "calibrated-on-another-range",
    int8=_quantised(np.zeros((4, 3, 32, 32))),
)
_model(
    "1.4 calibrated -1..1", "calibrated-on-another-range", int8=_quantised(_pixels() / 127.5 - 1)
)
_model(
    "1.4 calibrated on faint noise",
    "calibrated-on-another-range",
    int8=_quantised(_rng.standard_normal((8, 3, 32, 32)) / 20),
    lone=True,
)
_model(
    "1.4 calibrated without the mean",
    "calibrated-on-another-range",
    int8=lambda s: s.quantised(
        s.fp32, _pixels() / 255 / np.array([0.2470, 0.2435, 0.2616])[:, None, None]
    ),
)
_model(
    "1.4 saturates",
    "activations-saturate",
    int8=lambda s: s.edited(lambda m: _scaled(m, 0.15, slice(5, 6)), "int8"),
)
_model(
    "1.4 all saturate",
    "activations-saturate",
    int8=lambda s: s.edited(lambda m: _scaled(m, 0.2, slice(None)), "int8"),
)
_model(
    "1.4 too wide",
    "range-too-wide",
    int8=lambda s: s.edited(lambda m: _scaled(m, 25, slice(9, 10)), "int8"),
)
_model(
    "1.4 without VNNI",
    "other-answers-without-vnni",
    int8=_quantised(reduce_range=False),
    code=("reduce_range=True", "reduce_range=False"),
)
_model("1.4 copy of FP32", "not-quantised", int8=lambda s: s.fp32)
_model("1.4 dynamic", "quantised-dynamically", int8=_dynamic)


# Checkpoints


def _saved(
    name: str,
    cause: str,
    change: Callable[[dict[str, Any], Any], Any],
    *,
    into: list[Fault] = FAULTS,
) -> None:
    def edit(h: HandIn) -> None:
        import torch

        path = h.shop.folder / f"{name.replace(' ', '-').replace('.', '-')}.pth"
        if not path.exists():
            state = {k: v.clone() for k, v in h.shop.net.state_dict().items()}
            torch.save(change(state, torch), path)
        h.checkpoints.append(path)
        h.files.clear()
        h.with_notebook = False

    into.append(Fault(name, frozenset(cause.split()), frozenset({"alone"}), edit))


def _cifar(name: str) -> str:
    """The names of pytorch-cifar's ResNet18."""
    for old, new in (("conv1.0.", "conv1."), ("conv1.1.", "bn1."), ("left.0.", "conv1."), ("left.1.", "bn1."),
                     ("left.3.", "conv2."), ("left.4.", "bn2."), ("fc.", "linear.")):  # fmt: skip
        if name.startswith(old) or f".{old}" in name:
            return name.replace(old, new, 1)
    return name


def _without(state: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k not in names}


def _rows(state: dict[str, Any]) -> dict[str, Any]:
    order = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    return state | {k: state[k][order] for k in ("fc.weight", "fc.bias")}


def _vgg(torch: Any) -> dict[str, Any]:
    return {f"features.{i}.weight": torch.zeros(64, 64, 3, 3) for i in range(13)} | {
        "classifier.weight": torch.zeros(10, 512)
    }


_saved("1.2 module.", "keys-prefixed", lambda s, t: {f"module.{k}": v for k, v in s.items()})
_saved("1.2 net.", "keys-prefixed", lambda s, t: {f"net.{k}": v for k, v in s.items()})
_saved("1.2 in a dict", "weights-inside", lambda s, t: {"state_dict": s, "epoch": 3})
_saved(
    "1.2 pytorch-cifar's names", "keys-renamed", lambda s, t: {_cifar(k): v for k, v in s.items()}
)
_saved(
    "1.2 body for left",
    "keys-renamed",
    lambda s, t: {k.replace("left", "body"): v for k, v in s.items()},
)
_saved(
    "1.2 linear for fc in the file",
    "keys-renamed",
    lambda s, t: {k.replace("fc.", "linear."): v for k, v in s.items()},
)
_saved("1.2 rows reversed", "checkpoint-classes-in-another-order", lambda s, t: _rows(s))
_saved("1.2 VGG", "checkpoint-of-another-architecture", lambda s, t: _vgg(t))
_saved("1.2 lacks fc.bias", "checkpoint-incomplete", lambda s, t: _without(s, "fc.bias"))
_saved(
    "1.2 NaN", "checkpoint-incomplete", lambda s, t: s | {"fc.bias": s["fc.bias"] * float("nan")}
)


# Right ones

_code("as it is", "", into=RIGHT)
for _name, _old, _new in (
    ("PIL's fromarray", _ARRAY, "arr = np.array(img).astype(np.float32) / 255.0"),
    ("divided in place", _ARRAY, "arr = np.asarray(img, dtype=np.float32); arr = arr / 255"),
    ("times 1 / 255", _ARRAY, "arr = np.asarray(img, dtype=np.float32) * (1 / 255.0)"),
    ("float64 within", _ARRAY, "arr = np.asarray(img, dtype=np.float64) / 255.0"),
    ("more digits", _NORM, "arr = (arr - np.array([0.49139968, 0.48215827, 0.44653124])) / np.array([0.24703233, 0.24348505, 0.26158768])"),
    ("constants * 255", _NORM, "arr = (arr * 255 - CIFAR10_MEAN * 255) / (CIFAR10_STD * 255)"),
    ("channel by channel", _NORM, "arr = np.stack([(arr[..., i] - CIFAR10_MEAN[i]) / CIFAR10_STD[i] for i in range(3)], -1)"),
    ("moveaxis", _CHW, "arr = np.moveaxis(arr, -1, 0)"),
    ("rollaxis", _CHW, "arr = np.transpose(arr, (2, 0, 1))"),
    ("stack of channels", _CHW, "arr = np.stack([arr[:, :, 0], arr[:, :, 1], arr[:, :, 2]])"),
    ("reversed twice", _CHW, "arr = arr[..., ::-1][..., ::-1].transpose(2, 0, 1)"),
    ("expand_dims", _BATCH, "arr = np.expand_dims(arr, axis=0).astype(np.float32)"),
    ("reshape to the batch", _BATCH, "arr = arr.reshape(1, 3, 32, 32).astype(np.float32)"),
    ("contiguous", _BATCH, "arr = np.ascontiguousarray(arr[np.newaxis], dtype=np.float32)"),
    ("bicubic by name", _RGB, 'img = image.convert("RGB").resize((32, 32), Image.BICUBIC)'),
    ("RGBA dropped", _RGB, 'img = image.convert("RGBA").convert("RGB").resize((32, 32))'),
    ("upright", _RGB, 'from PIL import ImageOps; img = ImageOps.exif_transpose(image).convert("RGB").resize((32, 32))'),
    ("airplane, automobile", _LABELS, _LABELS.replace("'plane', 'car'", "'airplane', 'automobile'")),
    ("softmax of the row", "softmax_np(logits_fp32)", "softmax_np(logits_fp32[0])"),
    ("perf_counter", "    t0 = time.time()\n    logits_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]\n    fp32_ms = (time.time() - t0) * 1000",
     "    t0 = time.perf_counter()\n    logits_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]\n    fp32_ms = (time.perf_counter() - t0) * 1000"),
    ("warmed up", "    t0 = time.time()\n", "    sess_fp32.run(None, {in_fp32: x}); sess_int8.run(None, {in_int8: x})\n    t0 = time.time()\n"),
    ("more in the text", 'Speedup: {speedup:.2f}x"', 'Speedup: {speedup:.2f}x\\nsame: {list(top3_fp32)[0] == list(top3_int8)[0]}"'),
    ("speed-up in per cent", 'Speedup: {speedup:.2f}x"', 'Speedup: {speedup:.2f} (INT8 {100 * (speedup - 1):.0f} % faster)"'),
    ("out = relu", _FORWARD, "out = self.left(x)\n        out += self.shortcut(x)\n        return torch.relu(out)"),
    ("adaptive pooling", "F.avg_pool2d(out, 4)", "F.adaptive_avg_pool2d(out, 1)"),
    ("mean for pooling", "F.avg_pool2d(out, 4)", "out.mean(dim=(2, 3), keepdim=True)"),
    ("strict=False", "load_state_dict(state)", "load_state_dict(state, strict=False)"),
):  # fmt: skip
    _code(f"right: {_name}", "", (_old, _new), into=RIGHT)


def _unfolded(shop: Shop) -> bytes:
    import torch

    return shop.exported(
        shop.net, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False
    )


def _by_dynamo(shop: Shop) -> bytes:
    import torch

    from lab5.export import graph_by_dynamo

    return bytes(graph_by_dynamo(shop.net, (torch.zeros(2, 3, 32, 32),)).SerializeToString())


def _documented(model: Any) -> None:
    model.doc_string, model.producer_name = "EAI", "student"


_model(
    "right: fixed batch",
    "",
    lambda s: s.exported(s.net, dynamic_axes=None),
    requantised=True,
    into=RIGHT,
)
_model("right: BatchNorm kept", "", _unfolded, int8=lambda s: s.int8, into=RIGHT)
_model("right: dynamo restated", "", _by_dynamo, requantised=True, into=RIGHT)
_model("right: documented", "", _graph(_documented), into=RIGHT)
_model("right: calibrated on pictures", "", int8=_quantised(inputs.scenes(24, seed=77)), into=RIGHT)
_model(
    "right: calibrated on more noise",
    "",
    int8=_quantised(np.random.default_rng(9).standard_normal((40, 3, 32, 32))),
    into=RIGHT,
)
_model(
    "right: another seed",
    "",
    int8=_quantised(np.random.default_rng(4).standard_normal((8, 3, 32, 32))),
    into=RIGHT,
)
_model("right: FP32 alone", "", lambda s: s.fp32, lone=True, into=RIGHT)
_model("right: INT8 alone", "", int8=lambda s: s.int8, lone=True, into=RIGHT)
_model(
    "right: entropy",
    "",
    int8=lambda s: s.quantised(
        s.fp32, calibrate_method=_types()[2].Percentile, extra_options={"CalibPercentile": 99.999}
    ),
    into=RIGHT,
)
_saved("right: checkpoint", "", lambda s, t: s, into=RIGHT)
_saved(
    "right: thop's counts",
    "",
    lambda s, t: {"total_ops": t.zeros(1), "total_params": t.zeros(1), **s},
    into=RIGHT,
)
_saved(
    "right: no num_batches_tracked",
    "",
    lambda s, t: {k: v for k, v in s.items() if "num_batches" not in k},
    into=RIGHT,
)
_saved(
    "right: half precision",
    "",
    lambda s, t: {k: v.half() if v.is_floating_point() else v for k, v in s.items()},
    into=RIGHT,
)
