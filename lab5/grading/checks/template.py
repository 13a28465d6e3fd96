"""template: the assignment's writing rules. No points of their own."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab5.assignment import TEMPLATE_FP32, TEMPLATE_INT8
from lab5.grading import newer_python
from lab5.grading.checks.layout import notebook_present
from lab5.grading.core import Blocked, Fault, check
from lab5.grading.evidence.blanks import is_blank
from lab5.grading.evidence.ipython import python_of
from lab5.grading.evidence.program import Cell, NotebookUnreadable, read_cells
from lab5.grading.handin import made_of
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence

_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
# The classes' names and the labels are judged by 1.1 and 2.2; the labels handed out were other ones.
_OTHERS: Final = re.compile(
    r"LABELS\s*=|([\"'][\w ]*[\"'],?\s*)+\]?$|class (BasicBlock|ResNet18)\b|\w+ = ResNet18\("
)
_DEFINED: Final = re.compile(r"(?:async )?(def \w+)\(")
# Beside the statements that are blank: what is returned once it is made, and what is left of a call.
_TO_FILL_IN: Final = re.compile(
    r"(return \w+|\)|(demo\s*=\s*)?gr\.Interface\(\.\.\.\)?|\.\.\.\))\s*(#.*)?$"
)
_UNFINISHED: Final = re.compile(
    r"(?<=[=(])\)?,?$"
)  # ``inputs=``, ``softmax_np()``: to be filled in


# A call that is handed out with something to fill in: nothing in it, or ``inputs =`` and nothing behind.
_CALL: Final = re.compile(
    r"^[^\S\n]*(?:\w+[^\S\n]*=[^\S\n]*)?[\w.]+\(\n([^()]*)\)[^\S\n]*$", re.MULTILINE
)
_MISSING: Final = re.compile(r"=\s*(,|$)", re.MULTILINE)


def _template(e: Evidence) -> list[Cell]:
    if e.template is None:
        raise Blocked(Text("Give --template to compare with it.", "加上 --template 才能比對。"))
    try:
        return made_of(e.template, read_cells)
    except NotebookUnreadable as error:
        raise RuntimeError(f"--template cannot be read: {error}") from error


def _lines(cell: Cell) -> list[str]:
    return [line.strip() for line in cell.source.split("\n") if line.strip()]


def _words(cell: Cell) -> set[str]:
    """The lines for a comparison to which spaces and a comment sign before them are no matter."""
    return {re.sub(r"[\s#]+", "", line) for line in _lines(cell)} - {""}


def _python_lines(cell: Cell) -> list[str]:
    """Those that are to stay: none of the shell's, which depend on where the notebook runs, and none of
    a call to fill in, which may be written in another form.
    """
    source = _CALL.sub(
        lambda m: "" if not m[1].strip() or _MISSING.search(m[1]) else m[0], cell.source
    )
    both = zip(source.split("\n"), python_of(source).split("\n"), strict=False)
    return [line.strip() for line, python in both if line.strip() == python.strip() != ""]


def _match(e: Evidence) -> list[tuple[Cell, int | None]]:
    """Each cell of the template with the number of the hand-in's cell that was made from it."""
    found = []
    for cell in _template(e):
        wanted = _words(cell)
        best, where = 0.0, None
        for number, other in enumerate(e.cells):
            if other.kind == cell.kind:
                lines = _words(other)
                kept = len(wanted & lines) / max(1, len(wanted))
                # of two that keep as much, the one that adds less
                if (score := kept - len(lines - wanted) / 1e6) > best and kept >= 0.4:
                    best, where = score, number
        found.append((cell, where))
    return found


@check(
    "template", zh="程式格都沒有語法錯誤", needs=[notebook_present],
    hint=Text("Run every cell from the top once.", "請從頭把每一格執行一次。"),
)  # fmt: skip
def cells_parse(e: Evidence) -> None:
    """Every code cell is valid Python."""
    if e.program.newer:
        raise RuntimeError(newer_python.needs_newer(e.program.newer))
    if e.program.errors:
        cell, message = e.program.errors[0]
        raise Fault(
            Text(f"Cell {cell} does not parse.", f"第 {cell} 格有語法錯誤。"),
            want="Python",
            got=message,
        )


@check(
    "template", zh="模板的格子都在，順序不變", needs=[notebook_present],
    hint=Text("Start from the handed-out notebook; add cells, remove none.", "請從老師的 notebook 開始：可新增格子，不要刪除。"),
)  # fmt: skip
def template_cells(e: Evidence) -> None:
    """The template's cells are all there, in their order."""
    matched = _match(e)
    lost = [str(number) for number, (_, where) in enumerate(matched) if where is None]
    places = [where for _, where in matched if where is not None]
    if lost or places != sorted(places):
        raise Fault(
            Text("Cells are missing.", "缺少格子。")
            if lost
            else Text("The cells are in another order.", "格子順序不同。"),
            want=f"0–{len(matched) - 1}",
            got=f"– {', '.join(lost)}" if lost else str(places),
        )


def _keeps(e: Evidence, wanted: Callable[[str], bool], why: Text) -> None:
    """See that the template's lines that are ``wanted`` are all there."""
    if lost := _lost(e, wanted):
        raise Fault(why, want=" | ".join(lost[:4]), got=f"– {len(lost)}")


def _lost(e: Evidence, wanted: Callable[[str], bool]) -> list[str]:
    everywhere = {line for cell in e.cells for line in _lines(cell)}
    everywhere |= {  # ``%time x = 1`` holds ``x = 1``
        line.strip()
        for c in e.cells
        if c.kind == "code"
        for line in python_of(c.source).split("\n")
    }
    # a comment may be added behind a line
    everywhere |= {
        line[: at.start()] for line in everywhere for at in islice(re.finditer("#", line), 20)
    }
    everywhere |= {re.sub(r"\s+", "", line) for line in everywhere}
    everywhere |= {match[1] for line in everywhere if (match := _DEFINED.match(line))}
    lost = []
    for cell in _template(e):
        for line in _python_lines(cell) if cell.kind == "code" else ():
            if wanted(line):
                renamed = TEMPLATE_FP32 in line or TEMPLATE_INT8 in line
                name = _DEFINED.match(line)  # type hints may be added, and async
                plain = re.sub(r"\s+", "", line)
                kept = (name[1] if name else plain) in everywhere or _imported(line, everywhere)
                if _UNFINISHED.search(plain):
                    beginning = _UNFINISHED.sub("", plain)
                    kept = kept or any(other.startswith(beginning) for other in everywhere)
                if not renamed and not kept:
                    lost.append(line)
    return lost


def _imported(line: str, everywhere: set[str]) -> bool:
    """An import that now imports more."""
    words = set(re.findall(r"\w+", line))
    return bool(re.match(r"(from|import)\s", line)) and any(
        words <= set(re.findall(r"\w+", other)) for other in everywhere
    )


@check(
    "template", zh="老師的註解與 TODO 都保留", needs=[notebook_present],
    hint=Text("Put the comments back as they were.", "請恢復原有註解。"),
)  # fmt: skip
def template_comments(e: Evidence) -> None:
    """The template's comments and TODO markers are kept."""
    _keeps(e, lambda line: line.startswith("#"), Text("Comments are missing.", "缺少註解。"))


@check(
    "template", zh="老師的程式碼都保留", needs=[notebook_present],
    hint=Text("Only fill in the TODO parts.", "只填寫 TODO 部分。"),
)  # fmt: skip
def template_lines(e: Evidence) -> None:
    """The template's own lines of code are kept."""
    _keeps(
        e,
        lambda line: (
            not line.startswith("#") and not _is_blank(line) and not re.match(_OTHERS, line)
        ),
        Text("Lines are missing.", "缺少程式碼。"),
    )


def _is_blank(line: str) -> bool:
    if _TO_FILL_IN.match(line):
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\d"
            (statement,) = ast.parse(line).body
    except (SyntaxError, ValueError):
        return False
    return is_blank(statement)


@check(
    "template", zh="TODO 都已填寫", needs=[notebook_present],
    hint=Text("Fill in every TODO.", "請填寫每個 TODO。"),
)  # fmt: skip
def nothing_left_blank(e: Evidence) -> None:
    """No TODO is left blank."""
    empty = []
    for statement in e.program.statements:
        node = statement.node
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and all(map(_does_nothing, node.body)):
            empty.append(node.name)
    if empty:
        raise Fault(
            Text("Something is left blank.", "有未填寫的部分。"),
            want=Text("filled in", "已填寫"),
            got=", ".join(empty),
        )


def _does_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):  # a docstring
            return True
        case ast.Return(value=ast.Constant(value=None)):  # as a page's function does that clears it
            return False
    return is_blank(statement)


@check(
    "template", zh="填寫的程式有中文註解", needs=[notebook_present],
    hint=Text("Explain your code in a few Chinese comments.", "請以中文註解說明填寫的程式。"),
)  # fmt: skip
def chinese_comments(e: Evidence) -> None:
    """The code has comments in Chinese of the student's own."""
    handed_out: frozenset[str] = frozenset()
    if e.template and _template(e):  # or it says why that cannot be read
        handed_out = made_of(e.template, _comments_of)
    own = sum(bool(_CHINESE.search(c)) for c in _comments(e.cells) if c.strip() not in handed_out)
    if own < 3:
        raise Fault(Text("There are hardly any.", "幾乎沒有中文註解。"), want="≥ 3", got=own)


def _comments_of(notebook: Path) -> frozenset[str]:
    return frozenset(c.strip() for c in _comments(made_of(notebook, read_cells)))


def _comments(cells: list[Cell]) -> list[str]:
    return [c for cell in cells if cell.kind == "code" for c in _comments_in(cell.source)]


def _comments_in(source: str) -> list[str]:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(python_of(source)).readline))
        return [t.string for t in tokens if t.type == tokenize.COMMENT]
    except (tokenize.TokenError, SyntaxError):
        return re.findall(r"#.*", source)
