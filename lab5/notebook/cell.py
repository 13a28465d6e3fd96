"""A code cell while it is being filled, and what a blank is.

A blank of any kind ends up as ``...`` or as one of the statements of ``blanks.is_blank``: ``_with_ellipses``
writes the dots where nothing stands at all, so that every cell has a syntax tree, and all that fills
a cell looks for blanks in that tree. Another kind of blank is one more case in one of these two.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from typing import Any, Final

from lab5.errors import NotebookError
from lab5.grading.evidence.blanks import is_blank, is_ellipsis
from lab5.grading.evidence.ipython import python_of
from lab5.notebook.source import bound_by, indent_of
from lab5.text import Text

COMPARE: Final = "compare_fp32_int8"

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_MARKER: Final = re.compile(r"\s*#+\s*(?:(to\s?do)\b\s*[:：]?|(?=your\s+pro\w*m\b))\s*(.*)", re.I)
_BLOCK: Final = ("def", "class", "if", "else", "elif", "for", "while", "try", "except", "finally", "with", "async")  # fmt: skip
_NO_CODE: Final = (tokenize.COMMENT, tokenize.NL)


def _is_none(statement: ast.stmt) -> bool:
    """``arr = None``, which is a blank in a function that does nothing else."""
    match statement:
        case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=None)):
            return True
    return False


def _may_stay(statement: ast.stmt) -> bool:
    """A blank that means what it says in a function that does something."""
    return isinstance(statement, ast.Pass) or getattr(statement, "value", statement) is None


def is_idle(statement: ast.stmt) -> bool:
    """Whether a function with nothing else does nothing: docstring, imports, guards, super()."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(
            value=ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super"))))
        ):
            return True
        case ast.If(body=body, orelse=[]):
            return all(isinstance(inner, ast.Raise | ast.Return) for inner in body)
    return isinstance(statement, ast.Assert)


class Cell:
    """A code cell: its text and the syntax tree of that text, which follows every edit.

    Args:
        earlier: the cells above, whose names this one may read.

    Raises:
        NotebookError: what stands there is no Python, its blanks apart.
    """

    def __init__(self, number: int, source: str, earlier: Sequence[Cell] = ()) -> None:
        self.number, self._earlier, self._source = number, earlier, source
        text = source.replace("\r\n", "\n")
        rows = [row for row in text.split("\n") if row.strip()]
        # IPython runs a cell that is all indented
        self._margin = indent_of(rows[0]) if rows else ""
        if self._margin and all(row.startswith(self._margin) for row in rows):
            text = re.sub(f"^{self._margin}", "", text, flags=re.M)
        else:
            self._margin = ""
        self.text = text
        with contextlib.suppress(
            tokenize.TokenError, IndentationError
        ):  # the tree says what is wrong
            self.text = _with_ellipses(text, _python(text))
        self.before = self.text

    @property
    def source(self) -> str:
        """The text as the notebook holds it; the same as before where nothing was filled."""
        if self.text == self.before:
            return self._source
        text = re.sub(r"^(?=.*\S)", self._margin, self.text, flags=re.M)
        return text.replace("\n", "\r\n") if "\r\n" in self._source else text

    @property
    def text(self) -> str:
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        self._text = text
        self._tree: ast.Module | None = None

    @property
    def rows(self) -> list[str]:
        return self.text.split("\n")

    @property
    def tree(self) -> ast.Module:
        if self._tree is None:
            try:
                self._tree = ast.parse(_python(self.text))
            except (SyntaxError, ValueError, RecursionError) as error:
                row = (getattr(error, "lineno", None) or 1) - 1
                why = getattr(error, "msg", str(error))
                raise self.fault(
                    row, Text(f"does not parse ({why}). Mend it.", f"有語法錯誤（{why}），請修正。")
                ) from error
        return self._tree

    def fault(self, row: int, what: Text) -> NotebookError:
        """An error that names the cell, the line as the template has it, and what stands there."""
        rows = self.rows
        row = min(row, len(rows) - 1)
        shown = rows[row].strip()
        given = self._source.split("\n")
        same = [i for i, line in enumerate(given) if line.strip() == shown]
        line = min(same, key=lambda i: abs(i - row), default=row) + 1
        return NotebookError(
            f"Cell {self.number}, line {line} ({shown[:80]!r}): {what.en}",
            zh=f"第 {self.number} 格第 {line} 行（{shown[:80]}）：{what.zh}",
        )

    # Looking

    def definition(self, *names: str) -> Definition | None:
        """The last definition of one of ``names`` at the top of the cell."""
        found = [n for n in self.tree.body if isinstance(n, Definition) and n.name in names]
        return found[-1] if found else None

    def calls(self, name: str) -> list[ast.Call]:
        """The calls of a function whose full name ends with ``name``, in the text's order."""
        found = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Call) and f".{ast.unparse(node.func)}".endswith(f".{name}")
        ]
        return sorted(found, key=lambda node: (node.lineno, node.col_offset))

    def holds(self, node: Definition, row: int) -> bool:
        return node.lineno <= row + 1 <= self.end(node)

    def around(self, row: int) -> Definition | None:
        """The innermost function or class that ``row`` is in."""
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, Definition)]
        inside = [node for node in nodes if self.holds(node, row)]
        return max(inside, key=lambda node: node.lineno, default=None)

    def end(self, node: ast.stmt) -> int:
        """The row below a block, comments at its end included."""
        rows, row = self.rows, node.end_lineno or node.lineno
        indent = len(indent_of(rows[node.lineno - 1]))
        body = getattr(node, "body", None)
        for at in range(row, len(rows)):
            if not rows[at].strip():
                continue
            deeper = (
                body and rows[at].lstrip().startswith("#") and len(indent_of(rows[at])) > indent
            )
            if not deeper:
                break
            row = at + 1
        return row

    def inside(self, node: Definition | ast.If) -> str:
        """The indentation of a block's statements."""
        header, first = self.rows[node.lineno - 1], self.rows[node.body[0].lineno - 1]
        if node.body[0].lineno > node.lineno and len(indent_of(first)) > len(indent_of(header)):
            return indent_of(first)
        return indent_of(header) + _unit(self.text)

    def bound(self, definition: Definition | None = None) -> set[str]:
        """The names bound where ``definition`` ends, else at the end of the cell, and builtins."""
        found = {*dir(builtins), *bound_by(self.tree)}
        for cell in self._earlier:
            found |= bound_by(cell.tree)
        if definition and not isinstance(definition, ast.ClassDef):
            found |= {arg.arg for arg in ast.walk(definition.args) if isinstance(arg, ast.arg)}
        if definition:
            written = [s for s in definition.body if not (is_blank(s) or _is_none(s))]
            found |= bound_by(ast.Module(written, []))
        return found

    def is_blank(self, statement: ast.stmt, definition: Definition) -> bool:
        """``is_blank``, and ``return NAME`` of a name that nothing binds."""
        if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Name):
            return statement.value.id not in self.bound(definition)
        return is_blank(statement)

    def is_hollow(self, definition: Definition) -> bool:
        """Whether the definition does nothing yet."""
        return all(
            is_idle(s) or _is_none(s) or self.is_blank(s, definition) for s in definition.body
        )

    def blanks(self, definition: Definition) -> list[ast.stmt]:
        """What is blank in a body: in one that does something, ``pass`` and a bare return are not."""
        hollow = self.is_hollow(definition)
        return [
            s
            for s in definition.body
            if (hollow and _is_none(s))
            or (self.is_blank(s, definition) and (hollow or not _may_stay(s)))
        ]

    def markers(self) -> Iterator[tuple[int, str]]:
        """Every ``# TODO`` and ``# Your progarm``: its row and its words, the next remark's if none."""
        rows = self.rows
        for row, text in enumerate(rows):
            if match := _MARKER.match(text):
                words = match[2]
                while not words and self._is_remark(row + 1, indent_of(text)):
                    row += 1
                    words = rows[row].strip("# \t")
                yield row, words

    def _is_remark(self, row: int, indent: str) -> bool:
        """A comment that belongs to the marker above: same indentation, no marker itself."""
        text = self.rows[row] if row < len(self.rows) else ""
        return text.startswith(f"{indent}#") and not _MARKER.match(text)

    # Editing

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where the node begins and ends in the text."""
        code, rows = _python(self.text).split("\n"), self.rows

        def at(line: int, column: int) -> int:
            inside = len(code[line - 1].encode()[:column].decode())
            return sum(len(row) + 1 for row in rows[: line - 1]) + inside

        return at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def segment(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def replace(self, start: int, end: int, text: str) -> None:
        self.text = self.text[:start] + text + self.text[end:]

    def insert(self, row: int, block: str, indent: str) -> None:
        """Put a block of code, its own levels four spaces each, above ``row``."""
        rows, unit = self.rows, _unit(self.text, indent)
        rows[row:row] = [f"{indent}{_levels(line, unit)}".rstrip() for line in block.split("\n")]
        self.text = "\n".join(rows)

    def cut(self, statement: ast.stmt) -> int:
        """Take a blank statement out, a comment behind it apart; the row below what is left."""
        start, end = self.span(statement)
        row = statement.lineno - 1
        self.replace(start, end, "")
        rows = self.rows
        if not (rest := rows[row].rstrip(" \t;")).strip():
            del rows[row]
        else:  # a header before it, or a comment behind it
            rows[row] = re.sub(r":\s+#", ":  #", rest)
            row += 1
        self.text = "\n".join(rows)
        return row

    def room(self, marker: int) -> tuple[int, str]:
        """Below a marker and its remarks, in place of a blank there: the row and the indentation."""
        indent = indent_of(self.rows[marker])
        row = marker + 1
        while self._is_remark(row, indent):
            row += 1
        below = row
        while below < len(self.rows) and not self.rows[below].strip():
            below += 1
        for node in ast.walk(self.tree):
            if isinstance(node, ast.stmt) and node.lineno == below + 1 and is_blank(node):
                self.replace(self.span(node)[0], self.span(node)[0], "")
                return self.cut(node), indent
        return row, indent

    def complete(self, call: ast.Call, ours: str, order: tuple[str, ...] = ()) -> None:
        """Fill a call: what stands in it is kept, what it lacks of our call ``ours`` is added.

        Args:
            order: the names of the arguments that ``ours`` gives by position.
        """
        model = ast.parse(ours.strip()).body[0].value  # type: ignore[attr-defined]
        assert isinstance(model, ast.Call)
        lines = ours.strip().split("\n")
        given: dict[str | None, Any] = dict(zip(order, model.args, strict=False))
        given |= {keyword.arg: keyword for keyword in model.keywords}
        start, indent = self.span(call)[0], indent_of(self.rows[call.lineno - 1])
        for keyword in reversed(call.keywords):
            if is_ellipsis(keyword.value) and isinstance(given.get(keyword.arg), ast.keyword):
                value = ast.get_source_segment(ours.strip(), given[keyword.arg].value) or ""
                column = indent_of(self.rows[keyword.lineno - 1])
                value = _moved(value.split("\n"), column, _unit(self.text, column))
                begin, after = self.span(keyword.value)
                gap = re.match(r"[ \t]*(?=,|$)", self.text[after:], re.M)
                self.replace(begin, after + len(gap[0] if gap else ""), value)
        if len(call.args) == 1 and is_ellipsis(call.args[0]):
            self.replace(*self.span(call.args[0]), "")
        again = [c for c in self.calls(ast.unparse(call.func)) if self.span(c)[0] == start]
        call = again[0]
        have = {*order[: len(call.args)], *(k.arg for k in call.keywords)}
        lacking = [name for name in given if name not in have]
        if not lacking:
            return
        inner = self.text.index("(", self.span(call.func)[1]) + 1
        end = self.span(call)[1] - 1
        parts: list[Any] = [*call.args, *call.keywords]
        last = max((self.span(part)[1] for part in parts), default=inner)
        tail = self.text[last:end].lstrip(",").split("\n")
        beside, remarks = tail[0].strip().removeprefix(",").strip(), [r.strip() for r in tail[1:]]
        shown = []
        for name in lacking:
            node = given[name]
            rows = lines[node.lineno - 1 : node.end_lineno]
            if len(lines) == 1:
                rows = [ast.get_source_segment(ours.strip(), node) or ""]
            if parts and not isinstance(node, ast.keyword):  # by name, as it comes behind others
                rows[0] = f"{name}={rows[0].lstrip()}"
            shown.append(rows)
        if len(lines) == 1 and not any(remarks):
            inside = ", ".join(
                [self.text[inner:last].strip()] * bool(parts) + [r[0] for r in shown]
            )
            self.replace(inner, end, inside)
            return
        unit = _unit(self.text, indent)
        column = indent_of(self.rows[parts[0].lineno - 1]) if parts else ""
        column = column if len(column) > len(indent) else indent + unit
        text = self.text[inner:last] + "," * bool(parts) + (f"  {beside}" if beside else "")
        text += "".join(f"\n{column}{remark}" for remark in remarks if remark)
        for rows in shown:
            text += f"\n{column}{_moved(rows, column, unit)}"
        self.replace(inner, end, f"{text}\n{indent}")


def _python(text: str) -> str:
    """Plain Python of the same rows; a lone surrogate, which Python cannot hold, becomes ``?``."""
    return python_of(re.sub("[\ud800-\udfff]", "?", text))


def _unit(text: str, indent: str = "") -> str:
    """One level of indentation: that of ``indent``, itself one level, else the text's first one."""
    found = re.search(r"^([ \t]+)(?![ \t#])\S", text, re.M)
    unit = indent or (found[1] if found else "    ")
    return "\t" if "\t" in unit else "  " if len(unit) in (2, 6) else "    "


def _levels(line: str, unit: str) -> str:
    """A line whose levels are four spaces each, with ``unit`` for them."""
    spaces = len(indent_of(line))
    return unit * (spaces // 4) + " " * (spaces % 4) + line.lstrip()


def _moved(rows: list[str], column: str, unit: str) -> str:
    """An argument of our own, one level deep there, that begins at ``column`` here."""
    rest = (column + _levels(row[4:], unit) for row in rows[1:])
    return "\n".join([rows[0].strip(), *rest])


def _with_ellipses(text: str, code: str) -> str:
    """``text`` with ``...`` wherever a value or a body is missing altogether; rows may be added.

    Args:
        code: ``text`` as plain Python, row for row.
    """
    tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    code_tokens = [t for t in tokens if t.type not in _NO_CODE]
    edits: list[tuple[int, int, str]] = []  # row, column, what goes in there
    depth, first = 0, 0  # first: the logical line's first token
    for i, token in enumerate(code_tokens[:-1]):
        before, after = code_tokens[i - 1], code_tokens[i + 1]
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.string, 0)
        keyword = token.type == tokenize.NAME and after.string == "=" and depth
        if keyword and token.start[0] > before.end[0] and before.string not in ("(", ",", "="):
            edits.append((before.end[0] - 1, before.end[1], ","))
        if token.string == "=" and token.type == tokenize.OP:
            named = depth and code_tokens[i + 2 : i + 3] and code_tokens[i + 2].string == "="
            if after.string in (",", ")", "") or after.type == tokenize.NEWLINE or named:
                gap = " " if token.start[1] > before.end[1] else ""  # as in ``title =``
                edits.append((token.end[0] - 1, token.end[1], f"{gap}...{',' * bool(named)}"))
        if token.type == tokenize.NEWLINE:
            header = [
                t for t in code_tokens[first:i] if t.type not in (tokenize.INDENT, tokenize.DEDENT)
            ]
            if header and header[0].string in _BLOCK:
                edits += _body(text, header, after)
            first = i + 1
    rows = text.split("\n")
    for row, column, new in sorted(edits, reverse=True):
        rows[row] = rows[row][:column] + new + rows[row][column:]
    return "\n".join(rows)


def _body(
    text: str, header: list[tokenize.TokenInfo], after: tokenize.TokenInfo
) -> list[tuple[int, int, str]]:
    """What a header lacks: its colon, its body."""
    edits, rows, last = [], text.split("\n"), header[-1]
    row, indent = last.end[0] - 1, indent_of(text.split("\n")[header[0].start[0] - 1])
    if header[0].string in ("def", "class") and not _has_colon(header):
        edits.append((row, last.end[1], ":"))
    elif last.string != ":":
        return edits
    if after.type == tokenize.INDENT:
        return edits
    column = indent + _unit(text)
    following = list(range(row + 1, len(rows)))
    to_the_end = all(rows[r].lstrip().startswith("#") or not rows[r].strip() for r in following)
    for at in following:  # the comments that are all the body there is
        deeper = len(indent_of(rows[at])) > len(indent) or to_the_end
        if rows[at].strip() and not (rows[at].lstrip().startswith("#") and deeper):
            break
        if rows[at].strip():
            row = at
            column = indent_of(rows[at]) if len(indent_of(rows[at])) > len(indent) else column
    return [*edits, (row, len(rows[row]), f"\n{column}...")]


def _has_colon(header: list[tokenize.TokenInfo]) -> bool:
    depth = 0
    for token in header:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.string, 0)
        if token.string == ":" and not depth:
            return True
    return False
