"""1.1 to 1.5: the network, its weights, the export, the quantisation, the sessions; the files' names."""

from __future__ import annotations

import ast
import re
from typing import Final

from lab5.assignment import REAL_IMAGES, TEMPLATE_FP32, TEMPLATE_INT8, file_name
from lab5.grading.evidence.blanks import is_ellipsis
from lab5.notebook.filling import (
    Filling,
    dedented,
    function,
    kind_of,
    name_of,
    parameters,
    put,
    steps,
    with_remarks,
)
from lab5.notebook.source import module, renamed
from lab5.notebook.source import network as reference


def rename_models(f: Filling) -> None:
    """The template's model names become the student's, comments apart."""
    for cell in f.cells:
        for node in reversed([n for n in cell.tree.body if isinstance(n, ast.Assign)]):
            name = ast.unparse(node.targets[0])
            if (
                is_ellipsis(node.value)
                and re.search("model|path|onnx", name, re.I)
                and kind_of(name)
            ):
                cell.replace(*cell.span(node.value), f'"{getattr(f.names, kind_of(name))}"')
        rows = []
        for row in cell.rows:
            code, hash_, remark = row.partition("#")
            code = code.replace(TEMPLATE_INT8, f.names.int8).replace(TEMPLATE_FP32, f.names.fp32)
            for role in ("fp32", "int8"):
                code = code.replace(file_name(role, "學號"), getattr(f.names, role))
            rows.append(code + hash_ + remark)
        if rows != cell.rows:
            cell.text = "\n".join(rows)


def network(f: Filling) -> None:
    block = next((name for name in ("BasicBlock", "ResBlock") if f.find(name)), "BasicBlock")
    calls = [call for _, call in f.calls("ResNet18")]
    source = reference().source("ResNet18")
    given = next((_block_argument(call) for call in calls), ("ResBlock", None))
    if given is None:  # the block is fixed
        source = source.replace("self, ResBlock, ", "self, ").replace("ResBlock", block)
    else:
        source = source.replace("ResBlock", given[0])
    _class(f, block, reference().source("BasicBlock").replace("BasicBlock", block), block)
    _class(f, "ResNet18", source, block)
    wanted = {"BasicBlock", *filter(None, given[1:] if given else ())}
    found = f.find("ResNet18")
    assert found is not None
    cell, network = found
    for name in sorted(wanted - cell.bound()):
        cell.insert(cell.end(network), f"\n\n{name} = {block}  # 同一個區塊的另一個名稱", "")


def _block_argument(call: ast.Call) -> tuple[str, str | None] | None:
    """How ``ResNet18(…)`` is given its block: the parameter's name, and the class; None if it is not."""
    for value in call.args[:1]:
        return None if isinstance(value, ast.Constant) else ("ResBlock", name_of(value))
    for keyword in call.keywords:
        if keyword.arg and "class" not in keyword.arg:
            return keyword.arg, name_of(keyword.value)
    return None


def _class(f: Filling, name: str, source: str, block: str) -> None:
    """Put the class in, or the methods that it lacks."""
    if (found := f.find(name)) is None:
        other = f.find("ResNet18") if name == block else f.find(block)
        if name == block and other:
            cell, row = other[0], other[1].lineno - 1
            cell.insert(row, f"{source}\n\n", "")
        elif other:
            other[0].insert(other[0].end(other[1]), f"\n\n{source}", "")
        else:
            cell, row, indent = f.room("1.1")
            cell.insert(row, f"{source}\n", indent)
        return
    cell, theirs = found
    (ours,) = ast.parse(source).body
    assert isinstance(ours, ast.ClassDef)
    if cell.is_hollow(theirs):
        rows = source.split("\n")
        first = ours.body[0].lineno - 1
        put(cell, theirs, dedented(rows[first:]))
        return
    for method in [m for m in ours.body if isinstance(m, ast.FunctionDef)]:
        _method(f, name, method, source, block)


def _method(f: Filling, name: str, ours: ast.FunctionDef, source: str, block: str) -> None:
    found = f.find(name)
    assert found is not None
    cell, theirs = found
    methods = {m.name.strip("_"): m for m in theirs.body if isinstance(m, ast.FunctionDef)}
    rows = source.split("\n")
    attributes = {n.attr for n in ast.walk(theirs) if isinstance(n, ast.Attribute)}
    if (mine := methods.get(ours.name.strip("_"))) is None:
        if ours.name in ("__init__", "forward") or ours.name in attributes:
            cell.insert(
                cell.end(theirs),
                "\n" + dedented(rows[ours.lineno - 1 : ours.end_lineno]),
                cell.inside(theirs),
            )
        return
    if not (cell.is_hollow(mine) or cell.blanks(mine)):
        return
    body = dedented(with_remarks(rows, ours.body[0].lineno, ours.end_lineno))
    if (layers := methods.get("make_layer")) is not None:
        if len(layers.args.args) < 5:
            body = re.sub(r"make_layer\(\w+, ", "make_layer(", body)
        body = body.replace("self.make_layer", f"self.{layers.name}")
    if len(mine.args.args) < len(ours.args.args):  # the block is fixed
        ours.args.args = [a for a in ours.args.args if a.arg not in ("ResBlock", "block")]
    names = {"ResBlock": block, "block": block} | parameters(ours, mine)
    put(cell, mine, renamed(body, names))


def _nothing(f: Filling, known: set[str], names: dict[str, str]) -> tuple[list[str], list[str]]:
    return [], []


def _unwrapping(f: Filling, known: set[str], names: dict[str, str]) -> tuple[list[str], list[str]]:
    return [renamed(line, {"state": names["state"]}) for line in f.unwrap], []


def load(f: Filling) -> None:
    ours = module("model").body("load_weights")
    steps(
        f,
        "1.2",
        "load_state_dict",
        module("model"),
        ours,
        ("state_dict",),
        ("state_dict",),
        _unwrapping,
    )


def export(f: Filling) -> None:
    ours = renamed(module("export").body("write_onnx"), {"fp32_path": f'"{f.names.fp32}"'})
    order = ("model", "args", "f")
    required = (*order, "input_names", "output_names", "opset_version")
    steps(f, "1.3", "onnx.export", module("export"), ours, order, required, _nothing)


def quantize(f: Filling) -> None:
    ours = module("quantize").body("quantize_to_int8")
    required = ("model_input", "model_output", "calibration_data_reader", "quant_format", "per_channel", "weight_type")  # fmt: skip
    steps(
        f, "1.4", "quantize_static", module("quantize"), ours, required[:3], required, _calibration
    )
    if f.calibration == "random":
        _seed(f)


def _calibration(f: Filling, known: set[str], names: dict[str, str]) -> tuple[list[str], list[str]]:
    """What decides the reader before ``quantize_static``, and what comes after it."""
    if f.calibration == "synthetic":
        before = [
            module("study.refine").closure(["refine_int8"], known),
            module("study.synthetic").closure(["synthetic_images"], known),
            module("calibration").closure(["even_batches", "BatchReader"], known),
            "reader = BatchReader(even_batches(synthetic_images(torch_model)), INPUT_NAME)",
        ]
        return ["\n\n".join(before)], [renamed("refine_int8(fp32_path, int8_path, reader)", names)]
    if f.calibration == "cifar10":
        before = [
            "from torchvision.datasets import CIFAR10",
            module("calibration").closure(["even_batches", "BatchReader"], known),
            f'images = CIFAR10("cifar10", download=True).data[:{REAL_IMAGES}] / np.float32(255)\n'
            "images = ((images - CIFAR10_MEAN) / CIFAR10_STD).transpose(0, 3, 1, 2)\n"
            "reader = BatchReader(even_batches(np.ascontiguousarray(images)), INPUT_NAME)",
        ]
        return ["\n\n".join(before)], []
    if f.calibration == "random":
        return [], []
    return [
        f"reader = CIFARLikeCalibReader(\n    image_dir={f.calibration!r}, input_name=INPUT_NAME, "
        f"batch_size=1, num_batches={REAL_IMAGES},\n)"
    ], []


_SEED: Final = re.compile(r"\.(seed|manual_seed)\(\s*\d+\s*\)")


def _seed(f: Filling) -> None:
    """The given reader draws at random: seeded right above, it gives the same INT8 file each time."""
    for cell in f.cells:
        for node in cell.tree.body:
            made = getattr(node, "value", None)
            if not (isinstance(node, ast.Assign) and isinstance(made, ast.Call)):
                continue
            target, maker = ast.unparse(node.targets[0]), ast.unparse(made.func)
            if target != "reader" and "Reader" not in maker:
                continue
            row = node.lineno - 1
            found = f.find(maker)
            source = ast.unparse(found[1]) if found else ""
            library = "torch" if "torch.rand" in source and "np.random" not in source else "np"
            seed = "torch.manual_seed(0)" if library == "torch" else "np.random.seed(0)"
            if not any(_SEED.search(text) for text in cell.rows[:row]):
                cell.insert(row, f"{seed}  # 固定亂數種子，每次執行都得到相同的 INT8 檔", "")
            return


def session(f: Filling) -> None:
    for cell, call in f.calls("InferenceSession"):
        inside = cell.around(call.lineno - 1)
        if inside and inside.name == "build_session" and not (call.args or call.keywords):
            ours = ast.parse(module("session").body("build_session")).body[0]
            assert isinstance(ours, ast.Return)
            assert ours.value is not None
            assert isinstance(inside, ast.FunctionDef)
            (own,) = ast.parse(module("session").source("build_session")).body
            text = renamed(ast.unparse(ours.value), parameters(own, inside))
            cell.complete(call, text, ("path_or_bytes",))
    function(f, "1.5", "session", "build_session")
