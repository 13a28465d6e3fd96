"""The notebook: fill the TODO parts of a template with the package's own source.

Nothing is written twice: what goes into a blank is read from the module of that graded step, its
English comments taken out and the Chinese ones of ``lab5.chinese`` put in. Everything else in the
template stays: cells, order, lines, comments, ids, metadata. A part that is already filled is kept.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab5.assignment import CLASSES, REAL_IMAGES, TEMPLATE_FP32, TEMPLATE_INT8, FileNames
from lab5.chinese import ABOVE
from lab5.errors import NotebookError
from lab5.files import replacing

MAX_BYTES: Final = 50 << 20  # a notebook with pictures in its outputs; the handed-out one has 20 kB

_MARKER = re.compile(r"^(\s*)#\s*todo\b\s*[:：]?\s*(.*)$", re.IGNORECASE)
_HOLE = re.compile(r"^(\s*)#\s*your\s+pro\w*m\b", re.IGNORECASE)  # "# Your progarm" inside 2.2
_INLINE = re.compile(r"#\s*todo\b", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"^\s*(pass|\.\.\.)\s*(#.*)?$")


# Source of the package, as the notebook shows it


class _Module:
    """The top-level definitions and imports of a module of lab5, read without importing it."""

    def __init__(self, name: str) -> None:
        spec = importlib.util.find_spec(name)
        assert spec is not None, name
        assert spec.origin is not None, name
        self.text = Path(spec.origin).read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.definitions: dict[str, ast.stmt] = {}
        self.imports: dict[str, str] = {}
        for node in ast.parse(self.text).body:
            for name_ in _bound(node):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    alias = next(a for a in node.names if (a.asname or a.name) == name_)
                    one = ast.unparse(alias)
                    self.imports[name_] = (
                        f"from {node.module} import {one}"
                        if isinstance(node, ast.ImportFrom)
                        else f"import {one}"
                    )
                else:
                    self.definitions[name_] = node

    def source(self, name: str) -> str:
        """The definition with its Chinese comments instead of its English ones."""
        node = self.definitions[name]
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        return _chinese(name, "\n".join(self.lines[first - 1 : node.end_lineno]))

    def body(self, name: str) -> str:
        """The statements inside the function, at indentation zero."""
        return _inside(self.source(name))

    def closure(self, entry: Iterable[str], known: set[str]) -> tuple[list[str], list[str]]:
        """Imports and definitions that the names in ``entry`` need, in the module's order.

        What the notebook has already (``known``) is left out.
        """
        wanted, imports, queue = set(entry), [], list(entry)
        while queue:
            for used in sorted(_used(self.definitions[queue.pop()])):
                if used in wanted or used in known:
                    continue
                if used in self.definitions:
                    wanted.add(used)
                    queue.append(used)
                elif used in self.imports and self.imports[used] not in imports:
                    assert "lab5" not in self.imports[used], f"{used} is not in the notebook"
                    imports.append(self.imports[used])
        names = [name for name in self.definitions if name in wanted]
        imports.sort(key=lambda text: (text.startswith("from"), text))
        return imports, [self.source(name) for name in names]


def _bound(node: ast.stmt) -> list[str]:
    """The names that a top-level statement binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [a.asname or a.name for a in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [
            n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)
        ]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _used(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _chinese(name: str, source: str) -> str:
    """Drop docstrings and comments from ``source``; put the Chinese comments above their lines."""
    cut: dict[int, int] = {}  # line -> column from which it is dropped
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            cut[token.start[0]] = token.start[1]
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            end = node.body[0].end_lineno
            assert end is not None
            dropped.update(range(node.body[0].lineno, end + 1))
    anchors = dict(ABOVE.get(name, {}))
    lines: list[str] = []
    for number, line in enumerate(source.splitlines(), 1):
        kept = line[: cut[number]].rstrip() if number in cut else line
        if number in dropped or (number in cut and not kept):
            continue
        if not kept and (not lines or not lines[-1]):
            continue
        for anchor in [a for a in anchors if kept.strip().startswith(a)]:
            indent = kept[: len(kept) - len(kept.lstrip())]
            lines += [f"{indent}# {comment}" for comment in anchors.pop(anchor).splitlines()]
        lines.append(kept)
    assert not anchors, f"{name} has no line for the comments {sorted(anchors)}"
    return re.sub(r"(:\n)\n+", r"\1", "\n".join(lines))  # no gap where a docstring stood


# The blanks of the template


@dataclass
class _Cell:
    """A code cell while it is being filled; edits replace ``lines[start:end]``."""

    number: int
    lines: list[str]
    known: set[str]  # names that the cells above bind
    names: FileNames
    calibration: str
    edits: list[tuple[int, int, list[str]]] = field(default_factory=list)

    def fail(self, line: int, en: str, zh: str) -> NotebookError:
        return NotebookError(
            f"Cell {self.number}, line {line + 1}: {en}",
            zh=f"第 {self.number} 格第 {line + 1} 行：{zh}",
        )

    def code(self) -> str:
        """The cell without its comments, for looking what is there already."""
        return "\n".join(line.split("#")[0] for line in self.lines)

    def bound_above(self, line: int) -> set[str]:
        return self.known | _bindings(self.lines[:line])

    def put(self, line: int, text: str) -> None:
        """Put ``text`` below the marker at ``line``, in place of a ``pass`` or ``...`` there."""
        indent = _indent(self.lines[line])
        start = line + 1
        while start < len(self.lines) and self._is_remark(start, indent):
            start += 1
        end = start
        while end < len(self.lines) and not self.lines[end].strip():
            end += 1
        if end < len(self.lines) and _PLACEHOLDER.match(self.lines[end]):
            end += 1
        else:
            end = start
        self.edits.append((start, end, textwrap.indent(text, " " * indent).splitlines()))

    def _is_remark(self, line: int, indent: int) -> bool:
        """A comment that belongs to the marker above it: same indentation, no marker itself."""
        text = self.lines[line]
        return (
            text.strip().startswith("#")
            and _indent(text) == indent
            and not _MARKER.match(text)
            and not _HOLE.match(text)
        )

    def apply(self) -> str:
        for start, end, text in sorted(self.edits, key=lambda edit: edit[0], reverse=True):
            self.lines[start:end] = text
        return "\n".join(self.lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _bindings(lines: list[str]) -> set[str]:
    """Top-level names bound by these lines; works on cells that do not parse yet."""
    found: set[str] = set()
    for line in lines:
        if match := re.match(r"(?:def|class)\s+(\w+)", line):
            found.add(match[1])
        elif match := re.match(r"(?:from\s+[\w.]+\s+)?import\s+(.+)", line):
            parts = match[1].split("#")[0].strip("() ").split(",")
            found.update(part.split(" as ")[-1].strip().split(".")[0] for part in parts)
        elif match := re.match(r"([\w\s,]+?)\s*=(?!=)", line):
            found.update(name.strip() for name in match[1].split(","))
    return found


def _with_imports(module: _Module, entry: list[str], known: set[str]) -> str:
    imports, sources = module.closure(entry, known)
    return "\n\n".join((["\n".join(imports)] if imports else []) + sources)


def _fill_model(cell: _Cell, line: int) -> None:
    _fill_definitions(cell, line, "lab5.model", "BasicBlock", "ResNet18")


def _fill_load(cell: _Cell, line: int) -> None:
    if "load_state_dict" not in cell.code():
        cell.put(line, _Module("lab5.model").body("load_weights"))


def _fill_export(cell: _Cell, line: int) -> None:
    if not re.search(r"onnx\s*\.\s*export\s*\(|dynamo_export\s*\(", cell.code()):
        text = _with_imports(_Module("lab5.export"), ["write_onnx"], cell.bound_above(line))
        cell.put(line, f'{text}\n\nwrite_onnx(model, dummy, "{cell.names.fp32}")')


def _fill_quantize(cell: _Cell, line: int) -> None:
    if re.search(r"\bquantize_static\s*\(", cell.code()):
        return
    known = cell.bound_above(line)
    parts = [
        _with_imports(_Module("lab5.refine"), ["refine_int8"], known),
        *_calibration(cell, known),
        _Module("lab5.quantize").body("quantize_to_int8"),
        "refine_int8(fp32_path, int8_path, reader)",
    ]
    cell.put(line, "\n\n".join(parts))


def _calibration(cell: _Cell, known: set[str]) -> list[str]:
    """What decides the reader, before the call that uses it."""
    if cell.calibration == "random":
        return []
    module = _Module("lab5.calibration")
    if cell.calibration in ("auto", "synthetic"):
        text = _with_imports(module, ["quiet_reader"], known)
        return [
            text,
            f"reader = quiet_reader(reader, {cell.calibration == 'synthetic'}, torch_model)",
        ]
    if cell.calibration == "cifar10":
        text = _with_imports(module, ["BatchReader"], known)
        return [
            "from torchvision.datasets import CIFAR10",
            text,
            f'images = CIFAR10("cifar10", download=True).data[:{REAL_IMAGES}] / np.float32(255)\n'
            "images = ((images - CIFAR10_MEAN) / CIFAR10_STD).transpose(0, 3, 1, 2)\n"
            "reader = BatchReader([np.ascontiguousarray(images)], INPUT_NAME)",
        ]
    return [
        f"reader = CIFARLikeCalibReader(\n    image_dir={cell.calibration!r}, input_name=INPUT_NAME, "
        f"batch_size=1, num_batches={REAL_IMAGES}\n)"
    ]


def _fill_session(cell: _Cell, line: int) -> None:
    _fill_definitions(cell, line, "lab5.session", "build_session")


def _fill_preprocess(cell: _Cell, line: int) -> None:
    _fill_definitions(cell, line, "lab5.preprocess", "preprocess")
    labels = re.search(r"^LABELS\s*=\s*(\[[^\]]*\])", cell.code(), re.MULTILINE)
    if labels and labels[1].replace("'", '"').split('"')[1::2] != list(CLASSES):
        shown = ", ".join(f'"{name}"' for name in CLASSES)
        cell.edits.append((line, line, ["# 作業規定的類別名稱", f"LABELS = [{shown}]", ""]))


def _fill_compare(cell: _Cell, line: int) -> None:
    """2.2 is filled at its ``# Your progarm``; its TODO only announces the function."""
    if not _HOLE.match(cell.lines[line]):
        rest = cell.lines[line:]
        if not any(_HOLE.match(text) for text in rest) and ".run(" not in cell.code():
            raise cell.fail(
                line,
                "compare_fp32_int8 has neither '# Your progarm' nor code that runs the models. "
                "Use the handed-out notebook.",
                "compare_fp32_int8 裡沒有「# Your progarm」，也沒有執行模型的程式。請使用老師提供的 notebook。",
            )
        return
    wanted = _results_wanted(cell, line)
    if not wanted:
        return
    known = cell.bound_above(line)
    parts = [_with_imports(_Module("lab5.compare"), ["timed_run"], known)]
    for kind in ("fp32", "int8"):
        mine = {name: role for name, role in wanted.items() if kind in name.lower()}
        if not mine:
            continue
        session = f"sess_{kind}"
        output = next((n for n, role in mine.items() if role == "logits"), f"logits_{kind}")
        text = (
            f"{output}, times_{kind} = timed_run({session}, {session}.get_outputs()[0].name, "
            f"{{{session}.get_inputs()[0].name: x}})"
        )
        text = f"# {kind.upper()}：先暖機，再重複執行取時間的中位數\n" + text
        for name, role in mine.items():
            if role != "logits":
                scale = " / 1000" if role == "seconds" else ""
                text += f"\n{name} = float(np.median(times_{kind})){scale}"
        parts.append(text)
    cell.put(line, "\n\n".join(parts))


def _results_wanted(cell: _Cell, line: int) -> dict[str, str]:
    """The names that the code below the hole reads and nothing binds, each with its role.

    Roles: ``logits`` (1, 10), ``ms``, ``seconds``.
    """
    indent = _indent(cell.lines[line])
    end = line + 1
    while end < len(cell.lines) and (
        not cell.lines[end].strip() or _indent(cell.lines[end]) >= indent
    ):
        end += 1
    below = "\n".join(cell.lines[line + 1 : end])
    try:
        tree = ast.parse(
            textwrap.dedent("def f():\n" + textwrap.indent(textwrap.dedent(below), "    "))
        )
    except SyntaxError as error:
        raise cell.fail(
            line + (error.lineno or 1) - 1,
            "the code below '# Your progarm' does not parse. Mend it or use the handed-out notebook.",
            "「# Your progarm」下方的程式無法解析。請修正，或使用老師提供的 notebook。",
        ) from error
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    stored |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    stored |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    bound = cell.bound_above(len(cell.lines)) | {"x", "image"}
    result: dict[str, str] = {}
    for name in dict.fromkeys(n.id for n in names if isinstance(n.ctx, ast.Load)):
        low = name.lower()
        if name in stored or hasattr(builtins, name):
            continue
        of_a_model = "fp32" in low or "int8" in low
        # Even a name that is bound above: the cells before call other results out_fp32 or y_fp32.
        if of_a_model and re.search(r"ms\b|_ms|ms_", low):
            result[name] = "ms"
        elif of_a_model and re.search(r"time|lat|elapsed|sec|_t\b|^t_|dt", low):
            result[name] = "seconds" if re.search(rf"\b{name}\s*\*\s*1000|sec", below) else "ms"
        elif of_a_model and re.search(r"out|logit|pred|res|^y|raw|score", low):
            result[name] = "logits"
        elif name not in bound:
            raise _unknown_name(cell, line, name)
    return result


def _unknown_name(cell: _Cell, line: int, name: str) -> NotebookError:
    return cell.fail(
        line,
        f"the code below '# Your progarm' uses {name!r}, which nothing defines and which is neither "
        "a time nor an output that lab5 knows. Define it there yourself.",
        f"「# Your progarm」下方用到 {name!r}，但沒有任何地方定義它，lab5 也無法判斷它的意義。請自行定義。",
    )


def _fill_interface(cell: _Cell, line: int) -> None:
    if _call_with_arguments(cell, r"gr\s*\.\s*(Interface|Blocks|TabbedInterface)\s*\("):
        return
    body = _Module("lab5.app").body("build_interface")
    text = body[body.index("return ") :].replace("return ", "demo = ", 1)
    start = line + 1
    while start < len(cell.lines) and cell._is_remark(start, _indent(cell.lines[line])):
        start += 1
    end = start
    while end < len(cell.lines) and not cell.lines[end].strip():
        end += 1
    if end < len(cell.lines) and re.match(r"\s*demo\s*=", cell.lines[end]):
        depth = 0
        for end_line in range(end, len(cell.lines)):
            code = cell.lines[end_line].split("#")[0]
            depth += code.count("(") - code.count(")")
            if depth <= 0:
                break
        cell.edits.append((end, end_line + 1, text.splitlines()))
    else:
        cell.put(line, text)


def _call_with_arguments(cell: _Cell, pattern: str) -> bool:
    """Whether the cell calls ``pattern`` with more than ``...`` between the parentheses."""
    code = cell.code()
    match = re.search(pattern, code)
    return match is not None and not re.match(r"[\s.,]*(pass)?[\s,]*\)", code[match.end() :])


def _fill_launch(cell: _Cell, line: int) -> None:
    if not re.search(r"\.\s*launch\s*\(", cell.code()):
        cell.put(line, _Module("lab5.app").body("launch_public"))


def _fill_definitions(cell: _Cell, marker: int, module_name: str, *names: str) -> None:
    """Fill the bodies that are blank; put the definitions that are missing below the marker."""
    module = _Module(module_name)
    missing = []
    for name in names:
        pattern = re.compile(rf"\s*(def|class)\s+{name}\b")
        header = next((i for i, text in enumerate(cell.lines) if pattern.match(text)), None)
        if header is None:
            missing.append(module.source(name))
        else:
            _fill_definition(cell, header, module.source(name))
    if missing:
        cell.put(marker, "\n\n\n".join(missing) + "\n")


_HEADER_END = re.compile(r"\)\s*(->[^:]+)?:?\s*(pass|\.\.\.)?\s*(#.*)?$")


def _fill_definition(cell: _Cell, header: int, source: str) -> None:
    """Fill the definition whose header is at line ``header`` if its body is blank."""
    tree = ast.parse(source).body[0]
    end = header
    while end + 1 < len(cell.lines) and not _HEADER_END.search(cell.lines[end]):
        end += 1
    stop = end + 1
    indent = _indent(cell.lines[header])
    while stop < len(cell.lines) and (
        not cell.lines[stop].strip() or _indent(cell.lines[stop]) > indent
    ):
        stop += 1
    while stop > end + 1 and not cell.lines[stop - 1].strip():
        stop -= 1
    inside = cell.lines[end + 1 : stop]
    if re.search(r":\s*(pass|\.\.\.)\s*(#.*)?$", cell.lines[end]):  # "def f(x): pass"
        cell.edits.append((end, end + 1, [re.sub(r":\s*(pass|\.\.\.)", ":", cell.lines[end])]))
    elif not cell.lines[end].split("#")[0].rstrip().endswith(":"):
        cell.edits.append((end, end + 1, [cell.lines[end].rstrip() + ":"]))
    kept = [text for text in inside if text.strip() and not _PLACEHOLDER.match(text)]
    code = [text for text in kept if not text.strip().startswith("#")]
    body = _inside(source)
    if not [text for text in code if not _is_bare(text)]:
        hollow = _hollow_methods(inside) if isinstance(tree, ast.ClassDef) else []
        if hollow:
            _fill_methods(cell, end + 1, stop, source)
            return
        given = [text.strip() for text in code]
        body = "\n".join(
            text
            for text in body.splitlines()
            if not (text.strip().startswith("super(") and any("super(" in g for g in given))
        )
        aliases = _aliases(cell.lines[header : end + 1], tree)
        text = textwrap.indent("\n".join(filter(None, [aliases, body])), " " * (indent + 4))
        while inside and not inside[-1].strip():
            inside.pop()
        remarks = [t for t in inside if not _PLACEHOLDER.match(t) and t.strip()]
        cell.edits.append((end + 1, stop, remarks + text.splitlines()))
    elif isinstance(tree, ast.ClassDef) and _hollow_methods(inside):
        _fill_methods(cell, end + 1, stop, source)


def _is_bare(text: str) -> bool:
    """Lines of a skeleton that compute nothing: a method's header, super().__init__(), docstring."""
    return bool(re.match(r'\s*(def\s|super\(|"""[^"]*"""\s*$|\)|self\s*,)', text))


def _hollow_methods(inside: list[str]) -> list[int]:
    return [i for i, text in enumerate(inside) if re.match(r"\s+def\s", text)]


def _fill_methods(cell: _Cell, start: int, stop: int, source: str) -> None:
    """Fill the blank methods of a class skeleton in ``lines[start:stop]`` and add missing ones."""
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef)
    lines = source.splitlines()
    missing = []
    for method in tree.body:
        assert isinstance(method, ast.FunctionDef)
        text = textwrap.dedent("\n".join(lines[_with_remarks(lines, method) : method.end_lineno]))
        header = next(
            (
                i
                for i in range(start, stop)
                if re.match(rf"\s+def\s+{method.name}\b", cell.lines[i])
            ),
            None,
        )
        if header is None:
            missing.append(textwrap.indent(text, "    "))
            continue
        end = header + 1
        indent = _indent(cell.lines[header])
        while end < stop and (not cell.lines[end].strip() or _indent(cell.lines[end]) > indent):
            end += 1
        while end > header + 1 and not cell.lines[end - 1].strip():
            end -= 1
        inside = cell.lines[header + 1 : end]
        code = [t for t in inside if t.strip() and not t.strip().startswith("#")]
        if [t for t in code if not _PLACEHOLDER.match(t) and not _is_bare(t)]:
            continue  # filled already
        remarks = [t for t in inside if t.strip() and not _PLACEHOLDER.match(t)]
        body = _inside(text)
        if any("super(" in t for t in remarks):
            body = "\n".join(t for t in body.splitlines() if not t.startswith("super("))
        aliases = _aliases([cell.lines[header]], method)
        filled = textwrap.indent("\n".join(filter(None, [aliases, body])), " " * (indent + 4))
        line = re.sub(r":\s*(pass|\.\.\.)\s*$", ":", cell.lines[header])
        cell.edits.append((header, end, [line, *remarks, *filled.splitlines()]))
    if missing:
        cell.edits.append((stop, stop, ["", *"\n\n".join(missing).splitlines()]))


def _inside(source: str) -> str:
    """The body of the one definition in ``source`` with the comments above it, dedented."""
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef | ast.ClassDef)
    lines = source.splitlines()
    body = textwrap.dedent("\n".join(lines[_with_remarks(lines, tree.body[0]) :]))
    above = lines[: tree.lineno - 1]  # what is said of the whole definition
    return "\n".join([*above, body])


def _with_remarks(lines: list[str], node: ast.stmt) -> int:
    """The index of the first line of ``node`` or of the comments right above it."""
    first = node.lineno - 1
    while first and lines[first - 1].strip().startswith("#"):
        first -= 1
    return first


def _aliases(header: list[str], ours: ast.stmt) -> str:
    """``ours = theirs`` for parameters that the template calls otherwise."""
    if not isinstance(ours, ast.FunctionDef):
        return ""
    text = re.sub(r":?\s*(pass|\.\.\.)?\s*(#.*)?$", "", " ".join(header).strip())
    try:
        theirs = ast.parse(f"{text}: pass").body[0]
    except SyntaxError:
        return ""
    assert isinstance(theirs, ast.FunctionDef)
    pairs = zip((a.arg for a in ours.args.args), (a.arg for a in theirs.args.args), strict=False)
    return "\n".join(f"{mine} = {other}" for mine, other in pairs if mine != other)


@dataclass(frozen=True)
class _Blank:
    item: str
    announces: re.Pattern[str]  # the words of its TODO
    present: re.Pattern[str]  # what a filled notebook has
    fill: Callable[[_Cell, int], None]


def _blank(item: str, announces: str, present: str, fill: Callable[[_Cell, int], None]) -> _Blank:
    return _Blank(item, re.compile(announces, re.I), re.compile(present), fill)


_BLANKS: Final = (
    _blank("1.2", r"load.*state|state.*dict", r"load_state_dict", _fill_load),
    _blank("1.3", r"export.*onnx|onnx.*export", r"onnx\.export", _fill_export),
    _blank("1.4", r"quantiz|quantis", r"quantize_static\s*\(", _fill_quantize),
    _blank("1.5", r"session", r"def build_session", _fill_session),
    _blank("2.1", r"preprocess", r"def preprocess\b", _fill_preprocess),
    _blank("2.2", r"compare|your\s+pro\w*m", r"def compare_fp32_int8", _fill_compare),
    _blank("2.3", r"\bgui\b|interface", r"gr\.Interface", _fill_interface),
    _blank("2.4", r"public|share|launch", r"\.launch\(", _fill_launch),
    _blank("1.1", r"design|resnet|basicblock", r"class ResNet18", _fill_model),
)


def _which_blank(cell: _Cell, line: int) -> _Blank | None:
    """The blank that the marker at ``line`` announces, by its words, else by what stands around."""
    words = cell.lines[line]
    if match := _MARKER.match(words):
        words = match[2]
        below = line + 1
        while not words and below < len(cell.lines) and cell._is_remark(below, _indent(match[0])):
            words = cell.lines[below]
            below += 1
        if not words:
            around = [t for t in cell.lines[line + 1 :] if t.strip()][:1]
            words = around[0] if around else ""
            enclosing = [
                t for t in cell.lines[:line] if _indent(t) < _indent(match[0]) and t.strip()
            ]
            words += " ".join(enclosing[-1:])
    return next((blank for blank in _BLANKS if blank.announces.search(words)), None)


# The whole notebook


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook as plain JSON, validated; formats before 4 are converted.

    Raises:
        NotebookError: there is no such file, or it is no notebook.
    """
    import nbformat

    if not path.is_file():
        raise NotebookError(
            f"There is no file {path}. Put the handed-out EAI_lab5.ipynb there, or give --template.",
            zh=f"找不到 {path}。請把老師提供的 EAI_lab5.ipynb 放在這裡，或用 --template 指定。",
        )
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
        notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
        if notebook.nbformat < 4:
            notebook = nbformat.convert(notebook, 4)
            text = json.dumps(notebook)
        nbformat.validate(notebook)
        return json.loads(text)  # not what nbformat holds, so that every byte it normalises stays
    except (
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        RecursionError,
        nbformat.ValidationError,
        nbformat.reader.NotJSONError,
    ) as error:
        raise NotebookError(
            f"{path} is not a Jupyter notebook ({str(error).splitlines()[0][:120]}). "
            "Download the template again; do not edit it in a text editor.",
            zh=f"{path} 不是有效的 Jupyter notebook。請重新下載模板，不要用文字編輯器修改。",
        ) from error


def fill(template: dict[str, Any], names: FileNames, calibration: str = "auto") -> dict[str, Any]:
    """A copy of ``template`` (plain JSON) with its TODO parts filled and no outputs.

    Args:
        calibration: ``auto`` and ``synthetic`` put the synthetic images in, ``random`` uses the given
            reader as it is, anything else is a folder of pictures.

    Raises:
        NotebookError: a TODO that is not known, a part that is missing, or a cell that does not parse.
    """
    notebook = json.loads(json.dumps(template))
    known: set[str] = set()
    for number, raw in enumerate(notebook["cells"]):
        if raw["cell_type"] != "code":
            continue
        raw["outputs"], raw["execution_count"] = [], None
        source = "".join(raw["source"])
        cell = _Cell(number, source.split("\n"), known, names, calibration)
        _fill_cell(cell)
        text = _rename(cell.apply(), names)
        _must_parse(cell, text)
        raw["source"] = text.splitlines(keepends=True) if isinstance(raw["source"], list) else text
        known |= _bindings(text.split("\n"))
    _must_be_whole(notebook)
    return notebook


def _fill_cell(cell: _Cell) -> None:
    for line, text in enumerate(cell.lines):
        if _MARKER.match(text) or _HOLE.match(text):
            blank = _which_blank(cell, line)
            if blank is None:
                raise cell.fail(
                    line,
                    f"{text.strip()!r} is no TODO of EAI Lab 5. Fill it in yourself and remove the "
                    "word TODO, or use the handed-out notebook.",
                    f"{text.strip()!r} 不是 EAI Lab 5 的 TODO。請自行填寫並移除 TODO，"
                    "或使用老師提供的 notebook。",
                )
            blank.fill(cell, line)
        elif _INLINE.search(text) and not text.strip().startswith("#"):
            raise cell.fail(
                line,
                "a TODO behind code is none of EAI Lab 5's. Fill it in yourself.",
                "程式碼後面的 TODO 不屬於 EAI Lab 5，請自行填寫。",
            )


def _rename(text: str, names: FileNames) -> str:
    """The template's model names become the student's, except in comments."""

    def code_only(line: str) -> str:
        code, hash_, comment = line.partition("#")
        code = code.replace(TEMPLATE_INT8, names.int8).replace(TEMPLATE_FP32, names.fp32)
        return code + hash_ + comment

    return "\n".join(code_only(line) for line in text.split("\n"))


def python_of(source: str) -> str:
    """A cell's source with shell and magic lines blanked, so that it parses and lines still count."""
    lines, continued = [], False
    for line in source.split("\n"):
        shell = continued or re.match(r"\s*[!%]", line)
        continued = bool(shell) and line.rstrip().endswith("\\")
        lines.append("" if shell else line)
    return "\n".join(lines)


def _must_parse(cell: _Cell, text: str) -> None:
    try:
        ast.parse(python_of(text))
    except SyntaxError as error:
        raise cell.fail(
            (error.lineno or 1) - 1,
            f"does not parse after filling ({error.msg}). What stands there already is at fault.",
            f"填寫後仍有語法錯誤（{error.msg}），請檢查該處原有的程式。",
        ) from error


def _must_be_whole(notebook: dict[str, Any]) -> None:
    code = "\n".join(
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"
    )
    if lost := sorted(blank.item for blank in _BLANKS if not blank.present.search(code)):
        raise NotebookError(
            f"The template has no place for {', '.join(lost)}. Use the handed-out EAI_lab5.ipynb.",
            zh=f"模板中找不到 {'、'.join(lost)} 的位置。請使用老師提供的 EAI_lab5.ipynb。",
        )


def write_notebook(notebook: dict[str, Any], path: Path) -> None:
    """Write plain notebook JSON the way Jupyter does, so that the same notebook is the same bytes."""
    with replacing(path) as temporary:
        temporary.write_text(
            json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=False) + "\n",
            encoding="utf-8",
        )
