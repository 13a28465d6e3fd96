"""The TODO parts 1.1 to 2.4: how each is announced, how it is filled, how a filled one is known.

Each fill looks for its part by the syntax tree, wherever it stands; only where nothing stands does the
marker's place decide. What a student has written already is kept.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lab5.assignment import REAL_IMAGES, TEMPLATE_FP32, TEMPLATE_INT8, FileNames
from lab5.errors import NotebookError
from lab5.notebook.cell import Cell, Definition, is_blank, is_ellipsis
from lab5.notebook.source import Module, bound_by, module, read_by, renamed

COMPARE: Final = "compare_fp32_int8"
KINDS: Final = ("fp32", "int8")


@dataclass(frozen=True)
class Filling:
    """A notebook's code cells while they are filled, and what the student asked for."""

    cells: list[Cell]
    names: FileNames
    calibration: str = "random"
    unwrap: Sequence[str] = ()  # statements that take the weights out of their checkpoint

    def find(self, *names: str) -> tuple[Cell, Definition] | None:
        """The last definition of one of ``names``."""
        for cell in reversed(self.cells):
            if definition := cell.definition(*names):
                return cell, definition
        return None

    def calls(self, name: str) -> list[tuple[Cell, ast.Call]]:
        return [(cell, call) for cell in self.cells for call in cell.calls(name)]

    def marker(self, item: str) -> tuple[Cell, int] | None:
        for cell in self.cells:
            for row, part in markers(cell):
                if part == item:
                    return cell, row
        return None

    def room(self, item: str) -> tuple[Cell, int, str]:
        """Where a part goes of which nothing stands there: cell, row, indentation."""
        cell, row = self.place(item)
        return cell, *cell.room(row)

    def place(self, item: str) -> tuple[Cell, int]:
        """The TODO of a part: cell and row."""
        if place := self.marker(item):
            return place
        raise NotebookError(
            f"The template has no place for {item}: neither its code nor its TODO. "
            "Use the handed-out EAI_lab5.ipynb.",
            zh=f"模板中找不到 {item} 的位置。請使用老師提供的 EAI_lab5.ipynb。",
        )


# 1.1


def _network(f: Filling) -> None:
    block = next((name for name in ("BasicBlock", "ResBlock") if f.find(name)), "BasicBlock")
    calls = [call for _, call in f.calls("ResNet18")]
    source = module("model").source("ResNet18")
    given = next((_block_argument(call) for call in calls), ("ResBlock", None))
    if given is None:  # the block is fixed
        source = source.replace("self, ResBlock, ", "self, ").replace("ResBlock", block)
    else:
        source = source.replace("ResBlock", given[0])
    _class(f, block, module("model").source("BasicBlock").replace("BasicBlock", block), block)
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
        return None if isinstance(value, ast.Constant) else ("ResBlock", _name(value))
    for keyword in call.keywords:
        if keyword.arg and "class" not in keyword.arg:
            return keyword.arg, _name(keyword.value)
    return None


def _name(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


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
        _put(cell, theirs, _dedented(rows[first:]))
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
                "\n" + _dedented(rows[ours.lineno - 1 : ours.end_lineno]),
                cell.inside(theirs),
            )
        return
    if not (cell.is_hollow(mine) or cell.blanks(mine)):
        return
    body = _dedented(_with_remarks(rows, ours.body[0].lineno, ours.end_lineno))
    if (layers := methods.get("make_layer")) is not None:
        if len(layers.args.args) < 5:
            body = re.sub(r"make_layer\(\w+, ", "make_layer(", body)
        body = body.replace("self.make_layer", f"self.{layers.name}")
    if len(mine.args.args) < len(ours.args.args):  # the block is fixed
        ours.args.args = [a for a in ours.args.args if a.arg not in ("ResBlock", "block")]
    names = {"ResBlock": block, "block": block} | _parameters(ours, mine)
    _put(cell, mine, renamed(body, names))


# 1.2 and 1.3


def _load(f: Filling) -> None:
    ours = module("model").body("load_weights")
    _steps(f, "1.2", "load_state_dict", module("model"), ours, ("state_dict",), ("state_dict",))


def _export(f: Filling) -> None:
    ours = renamed(module("export").body("write_onnx"), {"fp32_path": f'"{f.names.fp32}"'})
    order = ("model", "args", "f")
    required = (*order, "input_names", "output_names", "opset_version")
    _steps(f, "1.3", "onnx.export", module("export"), ours, order, required)


# 1.4


def _quantize(f: Filling) -> None:
    ours = module("quantize").body("quantize_to_int8")
    required = ("model_input", "model_output", "calibration_data_reader", "quant_format", "per_channel", "weight_type")  # fmt: skip
    _steps(f, "1.4", "quantize_static", module("quantize"), ours, required[:3], required)
    if f.calibration == "random":
        _seed(f)


def _calibration(f: Filling, known: set[str], names: dict[str, str]) -> tuple[str, str]:
    """What decides the reader before ``quantize_static``, and what comes after it."""
    if f.calibration == "synthetic":
        before = [
            module("study.refine").closure(["refine_int8"], known),
            module("study.synthetic").closure(["synthetic_images"], known),
            module("calibration").closure(["even_batches", "BatchReader"], known),
            "reader = BatchReader(even_batches(synthetic_images(torch_model)), INPUT_NAME)",
        ]
        return "\n\n".join(before), renamed("refine_int8(fp32_path, int8_path, reader)", names)
    if f.calibration == "cifar10":
        before = [
            "from torchvision.datasets import CIFAR10",
            module("calibration").closure(["even_batches", "BatchReader"], known),
            f'images = CIFAR10("cifar10", download=True).data[:{REAL_IMAGES}] / np.float32(255)\n'
            "images = ((images - CIFAR10_MEAN) / CIFAR10_STD).transpose(0, 3, 1, 2)\n"
            "reader = BatchReader(even_batches(np.ascontiguousarray(images)), INPUT_NAME)",
        ]
        return "\n\n".join(before), ""
    if f.calibration == "random":
        return "", ""
    return (
        f"reader = CIFARLikeCalibReader(\n    image_dir={f.calibration!r}, input_name=INPUT_NAME, "
        f"batch_size=1, num_batches={REAL_IMAGES},\n)",
        "",
    )


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


# 1.5 and 2.1


def _session(f: Filling) -> None:
    for cell, call in f.calls("InferenceSession"):
        inside = cell.around(call.lineno - 1)
        if inside and inside.name == "build_session" and not (call.args or call.keywords):
            ours = ast.parse(module("session").body("build_session")).body[0]
            assert isinstance(ours, ast.Return)
            assert ours.value is not None
            assert isinstance(inside, ast.FunctionDef)
            (own,) = ast.parse(module("session").source("build_session")).body
            text = renamed(ast.unparse(ours.value), _parameters(own, inside))
            cell.complete(call, text, ("path_or_bytes",))
    _function(f, "1.5", "session", "build_session")


def _preprocess(f: Filling) -> None:
    _function(f, "2.1", "preprocess", "preprocess")


def _function(f: Filling, item: str, module_name: str, name: str) -> None:
    """Put the function in, or its body where that is blank."""
    ours = module(module_name)
    if (found := f.find(name)) is None:
        cell, row, indent = f.room(item)
        cell.insert(
            row, ours.closure([name], cell.bound() | {"CIFAR10_MEAN", "CIFAR10_STD"}), indent
        )
        return
    cell, theirs = found
    if not (cell.is_hollow(theirs) or cell.blanks(theirs)):
        return
    (own,) = ast.parse(ours.source(name)).body
    names = _parameters(own, theirs) | _constants(cell)
    body = renamed(ours.body(name), names)
    needed = read_by(ast.parse(body)) - cell.bound(theirs) - bound_by(ast.parse(body))
    _put(cell, theirs, "\n".join([*ours.imports(needed), body]))


def _constants(cell: Cell) -> dict[str, str]:
    """What the notebook calls the mean and the standard deviation, if otherwise."""
    names = {}
    for ours, word in (("CIFAR10_MEAN", "mean"), ("CIFAR10_STD", "std")):
        others = [name for name in cell.bound() if word in name.lower().split("_")]
        if ours not in cell.bound() and others:
            names[ours] = max(others, key=lambda name: (name.isupper(), name))
    return names


# 2.2

# What a name that the code below reads stands for.
_ROLES: Final = (
    ("speedup", r"speed|ratio|faster"),
    ("top", r"top"),
    ("seconds", r"_s_|sec"),
    ("ms", r"ms_|_t_|_t\d|time|lat|elapsed|dt_|dur|cost"),
    ("probs", r"_p_|_p\d|prob|soft|conf"),
    ("logits", r"out|logit|pred|res|_y_|_y\d|raw|score"),
)


def _compare(f: Filling) -> None:
    found = f.find(COMPARE)
    if found is None:
        raise NotebookError(
            f"The template has no function {COMPARE}. Use the handed-out EAI_lab5.ipynb.",
            zh=f"模板中沒有 {COMPARE} 函式。請使用老師提供的 EAI_lab5.ipynb。",
        )
    cell, compare = found
    for blank in reversed(cell.blanks(compare)):
        if isinstance(blank, ast.Assign):  # ``fp32_ms =``: read below, and bound like what else is
            cell.cut(blank)
    wanted = _wanted(cell, _again(cell))
    if not wanted and not _empty(_again(cell)):
        return
    from lab5.notebook.trial import works

    before, tried = cell.text, []
    for index in ("", "[0]"):  # whether the given functions take (1, 10) or (10,)
        cell.text = before
        sessions = _answer(cell, wanted, index)
        tried.append(cell.text)
        if works([c.source for c in f.cells], sessions):
            return
    cell.text = tried[0]


def _again(cell: Cell) -> Definition:
    compare = cell.definition(COMPARE)
    assert compare is not None
    return compare


def _empty(compare: Definition) -> list[ast.Call]:
    """The calls without arguments of what takes logits or probabilities, the last one first."""
    found = [
        node
        for node in ast.walk(compare)
        if isinstance(node, ast.Call)
        and not (node.args or node.keywords)
        and re.search(r"softmax|^top", ast.unparse(node.func))
    ]
    return sorted(found, key=lambda node: (-node.lineno, -node.col_offset))


def _wanted(cell: Cell, compare: Definition) -> dict[str, str]:
    """The names that the function reads and nothing there binds, each with its role."""
    assert not isinstance(compare, ast.ClassDef)
    own = {a.arg for a in ast.walk(compare.args) if isinstance(a, ast.arg)}
    own |= {
        n.id
        for n in ast.walk(compare)
        if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }
    own |= bound_by(ast.Module(compare.body, []))
    # Not what a given ``run([out_fp32], {in_fp32: x})`` reads: the names of the model's ends.
    runs = [
        c
        for c in ast.walk(compare)
        if isinstance(c, ast.Call) and ast.unparse(c.func).endswith(".run")
    ]
    own |= {name for call in runs for name in read_by(call)}
    elsewhere, found = cell.bound(), {}
    for name in dict.fromkeys(n.id for n in ast.walk(compare) if isinstance(n, ast.Name)):
        role = next((r for r, words in _ROLES if re.search(words, f"_{name.lower()}_")), "")
        if name in own or not role or not (_kind(name) or role == "speedup"):
            continue
        # Even one that is bound above: the cells before call other results out_fp32 or y_fp32.
        if name not in elsewhere or (name.islower() and role in ("ms", "logits", "probs")):
            found[name] = role
    text = ast.unparse(compare)
    return {
        name: "seconds" if role == "ms" and re.search(rf"\b{name} \* 1000", text) else role
        for name, role in found.items()
    }


def _kind(text: str) -> str:
    """Which of the two models a piece of code is about."""
    low = text.lower()
    if re.search(r"int8|i8|quant", low):
        return "int8"
    return "fp32" if re.search(r"fp32|f32|float", low) else ""


def _answer(cell: Cell, wanted: dict[str, str], index: str) -> list[str]:
    """Time both models below ``# Your progarm`` and hand the results on; the sessions' names."""
    compare = _again(cell)
    names = {kind: {role: n for n, role in wanted.items() if _kind(n) == kind} for kind in KINDS}
    for kind in KINDS:
        names[kind].setdefault("logits", f"logits_{kind}")
        names[kind].setdefault("probs", f"p_{kind}")
    empty = _empty(compare)
    for at, call in enumerate(empty):
        statement = next(
            s
            for s in ast.walk(compare)
            if isinstance(s, ast.stmt) and call in ast.walk(s) and not hasattr(s, "body")
        )
        kind = _kind(cell.segment(statement)) if len(empty) != 2 else KINDS[1 - at]
        role = "logits" if "softmax" in ast.unparse(call.func) else "probs"
        cell.complete(
            call, f"f({names[kind or 'fp32'][role]}{index if role == 'logits' else ''})", (role,)
        )
    compare = _again(cell)
    picture = next(
        (
            _name(n.targets[0])
            for n in ast.walk(compare)
            if isinstance(n, ast.Assign) and "preprocess(" in ast.unparse(n.value)
        ),
        None,
    )
    sessions, blocks = [], []
    timed = module("compare").closure(
        ["timed_run"], cell.bound() | bound_by(ast.Module(compare.body, []))
    )
    if "timed_run" not in cell.bound(compare):
        blocks.append(timed + "\n")
    if picture is None:
        assert not isinstance(compare, ast.ClassDef)
        picture = "x"
        blocks.append(f"x = preprocess({compare.args.args[0].arg})")
    for kind in KINDS:
        mine = names[kind]
        sessions.append(_session_name(cell, kind))
        ms = mine.get("ms", f"{kind}_ms")
        blocks.append(f"{mine['logits']}, {ms} = timed_run({sessions[-1]}, {picture})")
        if index and mine["logits"] in wanted:
            blocks.append(f"{mine['logits']} = {mine['logits']}[0]  # (1, 10) -> (10,)")
        if mine["probs"] in wanted:
            given = "" if mine["logits"] in wanted else index
            blocks.append(f"{mine['probs']} = softmax_np({mine['logits']}{given})")
        if "top" in mine:
            blocks.append(f"{mine['top']} = top3_map({mine['probs']})")
        if "seconds" in mine:
            blocks.append(f"{mine['seconds']} = {ms} / 1000")
    for name in [n for n, role in wanted.items() if role == "speedup"]:
        times = [names[kind].get("ms", f"{kind}_ms") for kind in KINDS]
        blocks.append(f"{name} = {times[0]} / {times[1]}")
    row, indent = _hole(
        cell,
        compare,
        set(wanted) | {names[k]["logits"] for k in KINDS} | {names[k]["probs"] for k in KINDS},
    )
    cell.insert(row, "\n".join(blocks), indent)
    return sessions


def _calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _session_name(cell: Cell, kind: str) -> str:
    names = sorted(n for n in cell.bound() if _kind(n) == kind and "sess" in n.lower())
    return f"sess_{kind}" if not names or f"sess_{kind}" in names else names[0]


def _hole(cell: Cell, compare: Definition, results: set[str]) -> tuple[int, str]:
    """Below ``# Your progarm``, else above the first statement that reads a result."""
    for row, part in markers(cell):
        if part == "2.2" and compare.lineno <= row < cell.end(compare):
            return cell.room(row)
    for statement in compare.body:
        if read_by(statement) & results:
            return statement.lineno - 1, cell.inside(compare)
    return cell.end(compare), cell.inside(compare)


# 2.3 and 2.4


def _interface(f: Filling) -> None:
    body = module("app").body("build_interface")
    ours = body[body.index("return ") :].replace("return ", "demo = ", 1)
    call = ours.removeprefix("demo = ")
    if found := f.calls("Interface"):
        cell, theirs = found[-1]
        given = {k.arg for k in theirs.keywords}
        dots = [v for v in (*theirs.args, *(k.value for k in theirs.keywords)) if is_ellipsis(v)]
        if dots or not (len(theirs.args) >= 3 or {"fn", "inputs", "outputs"} <= given):
            cell.complete(theirs, call, ("fn", "inputs", "outputs"))
        return
    if f.calls("Blocks") or f.calls("TabbedInterface"):
        return
    for cell in f.cells:
        for node in cell.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node) in ("demo = ...", "demo = None"):
                cell.insert(cell.cut(node), ours, "")
                return
    cell, row, indent = f.room("2.3")
    cell.insert(row, ours, indent)


def _launch(f: Filling) -> None:
    ours = module("app").body("launch_public")
    if found := f.calls("launch"):
        cell, theirs = found[-1]
        cell.complete(theirs, ast.unparse(ast.parse(ours)))
        return
    demo = "demo"
    for cell, call in f.calls("Interface"):
        for node in cell.tree.body:
            if isinstance(node, ast.Assign) and node.value is call:
                demo = ast.unparse(node.targets[0])
    ours = ours.replace("demo", demo)
    for cell in f.cells[::-1]:
        for node in cell.tree.body:
            if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
                blanks = [s for s in node.body if is_blank(s)]
                if len(blanks) == len(node.body):
                    indent = cell.inside(node)
                    row = min(cell.cut(blank) for blank in reversed(blanks))
                    cell.insert(row, ours, indent)
                    return
    cell, row, indent = f.room("2.4")
    cell.insert(row, ours, indent)


# What several parts share


def _steps(
    f: Filling,
    item: str,
    key: str,
    source: Module,
    ours: str,
    order: tuple[str, ...],
    required: tuple[str, ...],
) -> None:
    """Fill a part that is a call of ``key`` and statements around it.

    Args:
        ours: the statements.
        order: the names of what our call gives by position.
        required: the arguments without which a call that stands there is not filled yet.
    """
    found = next(iter(f.calls(key)), None)
    if found:
        cell, call = found
        have = {*order[: len(call.args)], *(k.arg for k in call.keywords)}
        dots = [v for v in (*call.args, *(k.value for k in call.keywords)) if is_ellipsis(v)]
        if set(required) <= have and not dots:
            return
        row = call.lineno - 1
        indent = cell.rows[row][: len(cell.rows[row]) - len(cell.rows[row].lstrip())]
    else:
        cell, row = f.place(item)
    around = cell.around(row)
    ours = renamed(ours, _roles(f, cell, around, source, item))
    known = cell.bound(around)
    chunks = _chunks(ours)
    at = next(
        i
        for i, (_, node) in enumerate(chunks)
        if any(key.split(".")[-1] in ast.unparse(c.func) for c in _calls(node))
    )
    given = {ast.dump(s) for s in (around.body if around else cell.tree.body)}
    before = [text for text, node in chunks[:at] if ast.dump(node) not in given]
    after = [text for text, node in chunks[at + 1 :] if ast.dump(node) not in given]
    if item == "1.2":
        state = _state(cell, around)
        before = [*(renamed(line, {"state": state}) for line in f.unwrap), *before]
    if item == "1.4":
        more = _calibration(f, known, _roles(f, cell, around, source, item))
        before, after = [*filter(None, more[:1]), *before], [*after, *filter(None, more[1:])]
    tree = ast.parse("\n".join([ours, *before, *after]))
    needed = source.imports(read_by(tree) - known - bound_by(tree))
    if not found:
        row, indent = cell.room(row)  # only now, as a body may be nothing but the blank that goes
        cell.insert(row, "\n".join([*needed, *before, chunks[at][0], *after]), indent)
        return
    if after:
        cell.insert(call.end_lineno or row, "\n".join(after), indent)
    model = next(
        c for c in _calls(ast.parse(chunks[at][0])) if key.split(".")[-1] in ast.unparse(c.func)
    )
    rows = chunks[at][0].split("\n")
    text = (
        "\n".join(rows[model.lineno - 1 :]).split("  # ")[0]
        if model.end_lineno == model.lineno
        else "\n".join(rows[model.lineno - 1 :])
    )
    cell.complete(cell.calls(key)[0], text, order)
    if needed or before:
        cell.insert(row, "\n".join([*needed, *before]), indent)


def _roles(
    f: Filling, cell: Cell, around: Definition | None, source: Module, item: str
) -> dict[str, str]:
    """What the notebook calls the variables of our function, where it stands."""
    names: dict[str, str] = {}
    if item == "1.4":
        (own,) = ast.parse(source.source("quantize_to_int8")).body
        assert isinstance(own, ast.FunctionDef)
        if isinstance(around, ast.FunctionDef):
            names = _parameters(own, around)
            theirs = {a.arg for a in around.args.args}
            lacking = {a.arg for a in own.args.args} - theirs - names.keys()
        else:
            lacking = {"fp32_path", "int8_path", "reader", "method"}
        instead = {"fp32_path": "FP32_MODEL", "int8_path": "INT8_MODEL", "method": '"MinMax"'}
        return names | {
            n: instead[n] for n in lacking & instead.keys() if n not in cell.bound(around)
        }
    known = cell.bound(around)
    arguments = [a.arg for a in around.args.args] if isinstance(around, ast.FunctionDef) else []
    for position, role in enumerate(("model", "dummy")):
        if role in known:
            continue
        others = [n for n in sorted(known) if re.search(role, n, re.I) and n.islower()]
        if position < len(arguments):
            names[role] = arguments[position]
        elif others:
            names[role] = others[-1]
    if item == "1.2":
        names["state"] = _state(cell, around)
    return names


def _state(cell: Cell, around: Definition | None) -> str:
    """What the checkpoint is called that ``torch.load`` gave."""
    for node in ast.walk(around or cell.tree):
        if isinstance(node, ast.Assign) and "torch.load(" in ast.unparse(node.value):
            return ast.unparse(node.targets[0])
    return "state"


def _chunks(source: str) -> list[tuple[str, ast.stmt]]:
    """The statements of ``source``, each with the remarks above it."""
    rows, found, start = source.split("\n"), [], 0
    for node in ast.parse(source).body:
        found.append(("\n".join(rows[start : node.end_lineno]), node))
        start = node.end_lineno or 0
    return found


def _put(cell: Cell, theirs: Definition, body: str) -> None:
    """Write ``body`` into a definition in place of its blanks; a ``return NAME`` there stays."""
    indent, blanks = cell.inside(theirs), cell.blanks(theirs)
    last = blanks[-1] if blanks else None
    if any("super(" in cell.segment(s) for s in theirs.body):
        body = "\n".join(r for r in body.split("\n") if not r.startswith("super("))
    if isinstance(last, ast.Return) and isinstance(last.value, ast.Name):
        blanks.remove(last)
        result = last.value.id
        final = ast.parse(body).body[-1]
        assert isinstance(final, ast.Return)
        assert final.value is not None
        if isinstance(final.value, ast.Name):
            rows = body.split("\n")[: final.lineno - 1]
            body = renamed("\n".join(rows), {final.value.id: result})
        else:
            rows = body.split("\n")
            rows[final.lineno - 1] = rows[final.lineno - 1].replace("return ", f"{result} = ", 1)
            body = "\n".join(rows)
        row = last.lineno - 1
        cell.insert(row, body, indent)
        for blank in reversed(blanks):
            cell.cut(blank)
        return
    row = cell.end(theirs)
    for blank in reversed(blanks):
        row = cell.cut(blank)
    cell.insert(row, body, indent)


def _parameters(ours: ast.stmt, theirs: Definition) -> dict[str, str]:
    """Our parameters by what the template calls them; those without a default apart from the others."""
    assert isinstance(ours, ast.FunctionDef)
    assert not isinstance(theirs, ast.ClassDef)
    names: dict[str, str] = {}
    mine, yours = _arguments(ours), _arguments(theirs)
    same = {*mine[0], *mine[1]} & {*yours[0], *yours[1]}
    left = [[n for n in part if n not in same] for part in mine]
    free = [[n for n in part if n not in same] for part in yours]
    for a, b in ((left[0], free[0]), (left[1], free[1])):
        names |= dict(zip(a, b, strict=False))
    rest = [n for part in left for n in part if n not in names]
    spare = [n for part in free for n in part if n not in names.values()]
    return names | dict(zip(rest, spare, strict=False))


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[list[str], list[str]]:
    names = [a.arg for a in function.args.args]
    required = len(names) - len(function.args.defaults)
    return names[:required], names[required:]


def _dedented(rows: Iterable[str]) -> str:
    return textwrap.dedent("\n".join(rows))


def _with_remarks(rows: list[str], line: int, end: int | None) -> list[str]:
    first = line - 1
    while rows[first - 1].strip().startswith("#"):
        first -= 1
    return rows[first:end]


# The names of the files, and the table


def rename_models(f: Filling) -> None:
    """The template's model names become the student's, comments apart."""
    for cell in f.cells:
        for node in reversed([n for n in cell.tree.body if isinstance(n, ast.Assign)]):
            name = ast.unparse(node.targets[0])
            if is_ellipsis(node.value) and re.search("model|path|onnx", name, re.I) and _kind(name):
                cell.replace(*cell.span(node.value), f'"{getattr(f.names, _kind(name))}"')
        rows = []
        for row in cell.rows:
            code, hash_, remark = row.partition("#")
            code = code.replace(TEMPLATE_INT8, f.names.int8).replace(TEMPLATE_FP32, f.names.fp32)
            code = re.sub(r"學號_(FP32|INT8)\.onnx", rf"{f.names.student_id}_\1.onnx", code)
            rows.append(code + hash_ + remark)
        if rows != cell.rows:
            cell.text = "\n".join(rows)


@dataclass(frozen=True)
class Part:
    """A part: the words that announce it, the code that a filled notebook has, how it is filled."""

    item: str
    words: str
    present: str
    fill: Callable[[Filling], None]


# In the order in which a TODO's words are looked at: the plainest first.
PARTS: Final = (
    Part("2.4", r"public|share|launch|公開", r"\.launch\(", _launch),
    Part("2.3", r"\bgui\b|interface|介面", r"Interface\(|Blocks\(", _interface),
    Part("2.1", r"pre-?process|前處理", r"def preprocess\b", _preprocess),
    Part("2.2", r"compare|your\s+pro|比較", rf"def {COMPARE}\b", _compare),
    Part("1.5", r"session", r"def build_session\b", _session),
    Part("1.4", r"quanti[sz]|量化", r"quantize_static\(", _quantize),
    Part("1.3", r"export|匯出", r"onnx\.export\(|dynamo_export\(", _export),
    Part("1.2", r"state|weight|load|權重|載入", r"load_state_dict\(", _load),
    Part("1.1", r"design|resnet|block|model|架構", r"class ResNet18\b", _network),
    Part("file names", r"file|name|path|檔名|學號", "", rename_models),
)


def _guard(cell: Cell, row: int) -> str:
    """What a TODO without words below ``if __name__ == "__main__":`` announces."""
    indent = len(cell.rows[row]) - len(cell.rows[row].lstrip())
    above = [
        text
        for text in cell.rows[:row]
        if text.strip() and not text.startswith(" " * max(1, indent))
    ]
    return "launch" if indent and above and "__main__" in above[-1] else ""


def markers(cell: Cell) -> Iterable[tuple[int, str]]:
    """Every TODO's row and part, by its words, else by what stands around it.

    Raises:
        NotebookError: a TODO of another kind.
    """
    exporting: Definition | None = None
    for row, words in cell.markers():
        below = next((text for text in cell.rows[row + 1 :] if re.match(r"\s*[^#\s]", text)), "")
        below = below if re.match(r"\s*(def|class|demo)\b", below) else ""
        inside = cell.around(row)
        names = [
            n.name for n in ast.walk(cell.tree) if isinstance(n, Definition) and cell.holds(n, row)
        ]
        texts = [words, *reversed(names), below, _guard(cell, row)]
        item = next(
            (p.item for text in texts for p in PARTS if text and re.search(p.words, text, re.I)),
            None,
        )
        worded = any(re.search(part.words, words, re.I) for part in PARTS)
        if inside and item == "1.3" and not worded:  # two TODOs without words: load, then export
            item = "1.2" if inside is not exporting else "1.3"
        exporting = inside if item in ("1.2", "1.3") else exporting
        if item is None:
            raise cell.fault(
                row,
                "this is no TODO of EAI Lab 5. Fill it in yourself and remove the word TODO.",
                "這不是 EAI Lab 5 的 TODO，請自行填寫並移除 TODO。",
            )
        yield row, item
