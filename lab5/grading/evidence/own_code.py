"""What of a notebook's code is its author's own: statements that nobody was given."""

from __future__ import annotations

import ast
import builtins
import contextlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from lab5.assignment import OPSET, inlined, network_source
from lab5.grading.evidence.program import Program
from lab5.grading.sandbox.wall import PACKAGE

# What `lab5 package` fills notebooks with, from which it is copied: other ways to the same.
_FILLED_FROM: Final = (
    "model", "export", "calibration", "quantize", "session", "preprocess", "compare", "app",
    "study/synthetic", "study/refine", "notebook/topic1", "notebook/topic2",
)  # fmt: skip
# Where the code that the assignment shows is another one; names and texts are no matter.
_SHOWN: Final = f"""
super(Network, self).__init__()
strides = [first] + [1] * (blocks - 1)
out = out.view(out.size(0), -1)
torch.onnx.export(model, dummy, path, input_names=[x], output_names=[y], opset_version={OPSET})
quantize_static(
    model_input=path, model_output=path, calibration_data_reader=reader, quant_format=name,
    per_channel=True, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
)
x = x[None, ...]
out = session.run([name], {{name: x}})[0]
ms = (time.time() - start) * 1000
demo = gr.Interface(
    fn=compare, inputs=gr.Image(type=kind),
    outputs=[gr.Label(label=text), gr.Label(label=text), gr.Textbox(label=text)],
    title=text, description=text,
)
"""
_LOOKED_AT: Final = 5000  # statements of a notebook
MIN_LENGTH: Final = 20  # characters; ``_.eval()`` is everybody's


def own_statements(program: Program, given: Program) -> list[str]:
    """The statements, each once, that are neither ``given`` nor the assignment's; as ``plain`` writes them."""
    known = EVERYBODYS | set(_plain_statements(s.node for s in given.statements))
    found = islice(_plain_statements(s.node for s in program.statements), _LOOKED_AT)
    return list(dict.fromkeys(one for one in found if one not in known and len(one) >= MIN_LENGTH))


def plain(node: ast.stmt) -> str:
    """A statement in one line, without what stands in its block: ``_`` for its author's names and texts.

    The names of Python itself and of what libraries hold stay.
    """
    return ast.unparse(_nameless(_head(node))).split("\n")[0]


def _head(node: ast.stmt) -> ast.stmt:
    """It with empty blocks."""
    parts = dict(vars(node))
    for name, value in ast.iter_fields(node):
        if isinstance(value, list) and any(
            isinstance(one, ast.stmt | ast.excepthandler) for one in value
        ):
            parts[name] = [ast.Pass()] if name == "body" else []
    return type(node)(**parts)


def _plain_statements(nodes: Iterable[ast.stmt]) -> Iterator[str]:
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.stmt) and not _says_nothing(node):
                with contextlib.suppress(RecursionError):
                    yield plain(node)


def _says_nothing(node: ast.stmt) -> bool:
    """Imports, docstrings, and what is nothing without its name or its block."""
    return isinstance(
        node,
        ast.Import
        | ast.ImportFrom
        | ast.FunctionDef
        | ast.AsyncFunctionDef
        | ast.ClassDef
        | ast.Try,
    ) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


_BLANK: Final = ast.Name("_")


def _nameless(node: Any) -> Any:
    """What a node holds, without names: other nodes, but for those that nobody changes."""
    if isinstance(node, list):
        return list(map(_nameless, node))
    if isinstance(node, ast.Name):
        return node if hasattr(builtins, node.id) else _BLANK
    if isinstance(node, ast.arg):
        return ast.arg("_")
    if isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    ):
        return _BLANK
    if not isinstance(node, ast.AST):
        return node
    parts = {name: _nameless(value) for name, value in vars(node).items()}
    if isinstance(node, ast.Attribute):
        own = isinstance(node.value, ast.Name) and node.value.id == "self"
        parts["attr"] = "_" if own else node.attr
    return type(node)(**parts)


def _everybodys() -> frozenset[str]:
    sources = [_SHOWN, network_source()]
    for name in _FILLED_FROM:
        text = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        sources += [text, inlined(text)]  # the second is what notebooks have
        for node in ast.walk(ast.parse(text)):  # notebook/ holds code as text
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                sources.append(node.value)
    found: set[str] = set()
    for source in sources:
        with contextlib.suppress(SyntaxError, ValueError):
            found.update(_plain_statements(ast.parse(source).body))
    return frozenset(found)


EVERYBODYS: Final = _everybodys()  # once for all hand-ins that a room reads
