"""The proof that a filled notebook is whole: no blank survives in silence."""

from __future__ import annotations

import ast
import re
from typing import Any, Final

from lab5.errors import NotebookError
from lab5.grading.evidence.blanks import is_ellipsis
from lab5.notebook.cell import COMPARE, Cell
from lab5.notebook.todo import PARTS
from lab5.text import Text

_GRADED: Final = {"build_session", "preprocess", COMPARE, "BasicBlock", "ResBlock", "ResNet18"}
# Functions of libraries that do nothing without arguments.
_HUNGRY: Final = re.compile(
    r"(^|\.)(quantize_static|InferenceSession|load_state_dict|onnx\.export|torch\.load|Interface)$"
)
_IPYTHON: Final = {"get_ipython", "display", "In", "Out", "exit", "quit", "__file__"}


def prove(cells: list[Cell]) -> None:
    """See that every cell parses, nothing graded is blank, and every name that is read is bound.

    Raises:
        NotebookError: with the cell, the line and what is blank there.
    """
    required = _required(cells)
    for cell in cells:
        for node in ast.walk(cell.tree):
            _no_blank(cell, node, required)
    code = "\n".join(ast.unparse(cell.tree) for cell in cells)
    if lost := sorted(p.item for p in PARTS if not re.search(p.present, code)):
        raise NotebookError(
            f"The template has no place for {', '.join(lost)}. Use the handed-out EAI_lab5.ipynb.",
            zh=f"模板中找不到 {'、'.join(lost)} 的位置。請使用老師提供的 EAI_lab5.ipynb。",
        )
    _names_bound(cells)


def _required(cells: list[Cell]) -> set[str]:
    """The notebook's own functions and classes that cannot be called without arguments."""
    found = set()
    for cell in cells:
        for node in cell.tree.body:
            methods = node.body if isinstance(node, ast.ClassDef) else []
            start = next((m for m in methods if getattr(m, "name", "") == "__init__"), node)
            if isinstance(start, ast.FunctionDef | ast.AsyncFunctionDef):
                given = len(start.args.args) - len(start.args.defaults)
                if given > (start is not node):
                    found.add(node.name)  # type: ignore[attr-defined]
    return found


def _no_blank(cell: Cell, node: ast.AST, required: set[str]) -> None:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        todo = any(node.lineno <= row < cell.end(node) for row, _ in cell.markers())
        inside = [node]
        if isinstance(node, ast.ClassDef) and node.name in _GRADED:
            inside += [m for m in node.body if isinstance(m, ast.FunctionDef)]
        for one in inside if node.name in _GRADED or todo else ():
            if cell.is_hollow(one) or cell.blanks(one):
                raise cell.fault(
                    one.lineno - 1, Text(f"{one.name} is still blank.", f"{one.name} 尚未填寫。")
                )
    elif isinstance(node, ast.Call) and not (node.args or node.keywords):
        name = ast.unparse(node.func)
        if name in required or _HUNGRY.search(name):
            raise cell.fault(
                node.lineno - 1,
                Text(f"{name}() is called without arguments.", f"{name}() 沒有引數。"),
            )
    elif isinstance(node, ast.keyword | ast.Assign) and is_ellipsis(node.value):
        target = node.arg if isinstance(node, ast.keyword) else ast.unparse(node.targets[0])
        row = node.lineno - 1
        raise cell.fault(row, Text(f"{target} has no value.", f"{target} 沒有值。"))


def _names_bound(cells: list[Cell]) -> None:
    from pyflakes import messages
    from pyflakes.checker import Checker

    statements: list[Any] = []
    offsets: list[tuple[int, Cell]] = []
    offset = 0
    for cell in cells:
        offsets.append((offset, cell))
        body = cell.tree.body
        cell.text = cell.text  # a tree of its own: its lines are moved
        statements += [ast.increment_lineno(node, offset) for node in body]
        offset += len(cell.rows)
    unbound = (messages.UndefinedName, messages.UndefinedLocal)
    found = Checker(ast.Module(statements, []), builtins=_IPYTHON).messages
    for message in sorted(found, key=lambda m: m.lineno):
        if isinstance(message, unbound):
            start, cell = next(p for p in reversed(offsets) if p[0] < message.lineno)
            name = message.message_args[0]
            raise cell.fault(
                message.lineno - start - 1,
                Text(
                    f"{name!r} is read here, and nothing binds it.",
                    f"這裡用到 {name!r}，但沒有任何地方定義它。",
                ),
            )
