"""A notebook while it is filled, and what filling several parts shares.

Each part looks for its place by the syntax tree, wherever it stands; only where nothing stands does the
marker's place decide. What a student has written already is kept.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lab5.assignment import FileNames
from lab5.errors import NotebookError
from lab5.grading.evidence.blanks import is_ellipsis
from lab5.notebook.cell import Cell, Definition
from lab5.notebook.source import Module, bound_by, indent_of, module, read_by, renamed
from lab5.notebook.todo import markers


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


def function(f: Filling, item: str, module_name: str, name: str) -> None:
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
    names = parameters(own, theirs) | _constants(cell)
    body = renamed(ours.body(name), names)
    needed = read_by(ast.parse(body)) - cell.bound(theirs) - bound_by(ast.parse(body))
    put(cell, theirs, "\n".join([*ours.imports(needed), body]))


def _constants(cell: Cell) -> dict[str, str]:
    """What the notebook calls the mean and the standard deviation, if otherwise."""
    names = {}
    for ours, word in (("CIFAR10_MEAN", "mean"), ("CIFAR10_STD", "std")):
        others = [name for name in cell.bound() if word in name.lower().split("_")]
        if ours not in cell.bound() and others:
            names[ours] = max(others, key=lambda name: (name.isupper(), name))
    return names


def steps(
    f: Filling,
    item: str,
    key: str,
    source: Module,
    ours: str,
    order: tuple[str, ...],
    required: tuple[str, ...],
    more: Callable[[Filling, set[str], dict[str, str]], tuple[list[str], list[str]]],
) -> None:
    """Fill a part that is a call of ``key`` and statements around it.

    Args:
        ours: the statements.
        order: the names of what our call gives by position.
        required: the arguments without which a call that stands there is not filled yet.
        more: what else goes before and after them, for the names known there and what the notebook
            calls our variables.
    """
    found = next(iter(f.calls(key)), None)
    if found:
        cell, call = found
        have = {*order[: len(call.args)], *(k.arg for k in call.keywords)}
        dots = [v for v in (*call.args, *(k.value for k in call.keywords)) if is_ellipsis(v)]
        if set(required) <= have and not dots:
            return
        row = call.lineno - 1
        indent = indent_of(cell.rows[row])
    else:
        cell, row = f.place(item)
    around = cell.around(row)
    names = _roles(cell, around, source, item)
    ours = renamed(ours, names)
    known = cell.bound(around)
    chunks = _chunks(ours)
    at = next(
        i
        for i, (_, node) in enumerate(chunks)
        if any(key.split(".")[-1] in ast.unparse(c.func) for c in calls_in(node))
    )
    given = {ast.dump(s) for s in (around.body if around else cell.tree.body)}
    before = [text for text, node in chunks[:at] if ast.dump(node) not in given]
    after = [text for text, node in chunks[at + 1 :] if ast.dump(node) not in given]
    first, last = more(f, known, names)
    before, after = [*first, *before], [*after, *last]
    tree = ast.parse("\n".join([ours, *before, *after]))
    needed = source.imports(read_by(tree) - known - bound_by(tree))
    if not found:
        row, indent = cell.room(row)  # only now, as a body may be nothing but the blank that goes
        cell.insert(row, "\n".join([*needed, *before, chunks[at][0], *after]), indent)
        return
    if after:
        cell.insert(call.end_lineno or row, "\n".join(after), indent)
    model = next(
        c for c in calls_in(ast.parse(chunks[at][0])) if key.split(".")[-1] in ast.unparse(c.func)
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


def calls_in(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _roles(cell: Cell, around: Definition | None, source: Module, item: str) -> dict[str, str]:
    """What the notebook calls the variables of our function, where it stands."""
    names: dict[str, str] = {}
    if item == "1.4":
        (own,) = ast.parse(source.source("quantize_to_int8")).body
        assert isinstance(own, ast.FunctionDef)
        if isinstance(around, ast.FunctionDef):
            names = parameters(own, around)
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


def put(cell: Cell, theirs: Definition, body: str) -> None:
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


def parameters(ours: ast.stmt, theirs: Definition) -> dict[str, str]:
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


def dedented(rows: Iterable[str]) -> str:
    return textwrap.dedent("\n".join(rows))


def with_remarks(rows: list[str], line: int, end: int | None) -> list[str]:
    first = line - 1
    while rows[first - 1].strip().startswith("#"):
        first -= 1
    return rows[first:end]


def name_of(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def kind_of(text: str) -> str:
    """Which of the two models a piece of code is about."""
    low = text.lower()
    if re.search(r"int8|i8|quant", low):
        return "int8"
    return "fp32" if re.search(r"fp32|f32|float", low) else ""
