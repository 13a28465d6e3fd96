"""What goes into a blank: the package's own source, with Chinese comments for its English ones."""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import re
import textwrap
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lab5.assignment import inlined, network_source
from lab5.notebook.chinese import COMMENTS

_WIDTH: Final = 100  # columns up to which a comment stands beside its line


class Module:
    """The top-level definitions and imports of a module of lab5, read without importing it.

    What it takes of the assignment stands there as a number or a text.

    Args:
        name: what it is imported by.
        chinese: its definitions have comments in Chinese.
    """

    def __init__(self, name: str, text: str, *, chinese: bool = True) -> None:
        self.name, self._chinese = name, chinese
        self._lines = text.splitlines()
        self._definitions: dict[str, ast.stmt] = {}
        self._imports: dict[str, str] = {}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    origin = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
                    text = f"{origin}import {ast.unparse(alias)}"
                    self._imports[alias.asname or alias.name] = text
        for node in ast.parse("\n".join(self._lines)).body:
            for name in bound_by(node) - self._imports.keys():
                self._definitions[name] = node

    def source(self, name: str) -> str:
        """The definition, commented in Chinese where there are such comments."""
        node = self._definitions[name]
        text = "\n".join(self._lines[node.lineno - 1 : node.end_lineno])
        return _in_chinese(name, text) if self._chinese else text

    def body(self, name: str) -> str:
        """The statements inside the function, at indentation zero, without what they import."""
        rows = self.source(name).splitlines()
        (tree,) = ast.parse("\n".join(rows)).body
        assert isinstance(tree, ast.FunctionDef | ast.ClassDef)
        kept = [n for n in tree.body if not isinstance(n, ast.Import | ast.ImportFrom)]
        first = kept[0].lineno - 1
        while first > 1 and rows[first - 1].strip().startswith("#"):
            first -= 1
        return textwrap.dedent("\n".join(rows[first:])).strip("\n")

    def closure(self, entry: Iterable[str], known: set[str]) -> str:
        """The definitions in ``entry`` and all that they need and is not ``known``, imports first."""
        wanted, queue, used = set(entry), list(entry), set()
        while queue:
            more = read_by(self._definitions[queue.pop()]) - known - wanted
            used |= more
            queue += more & self._definitions.keys()
            wanted |= more & self._definitions.keys()
        sources = [self.source(name) for name in self._definitions if name in wanted]
        return "\n\n".join([*filter(None, ["\n".join(self.imports(used))]), *sources])

    def imports(self, names: Iterable[str]) -> list[str]:
        """The lines that import those of ``names`` that this module imports."""
        lines = {self._imports[name] for name in names if name in self._imports}
        assert not any("lab5" in line for line in lines), f"the notebook has no lab5: {lines}"
        return sorted(lines, key=lambda line: (line.startswith("from"), line))


@functools.cache
def module(name: str) -> Module:
    name = f"lab5.{name}"
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Module(name, inlined(Path(spec.origin).read_text(encoding="utf-8")))


def network() -> Module:
    """The module with the reference's classes."""
    if another := network_source():
        return Module("the assignment's network", another, chinese=False)
    return module("model")


def indent_of(row: str) -> str:
    """The white space that a line begins with."""
    return row[: len(row) - len(row.lstrip())]


def bound_by(tree: ast.AST) -> set[str]:
    """The names that a statement, or the statements of a module, bind in their own scope."""
    found: set[str] = set()
    queue = [tree]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        queue += ast.iter_child_nodes(node)
    return found


def read_by(tree: ast.AST) -> set[str]:
    """The names that are read anywhere in ``tree``."""
    names = (n for n in ast.walk(tree) if isinstance(n, ast.Name))
    return {n.id for n in names if isinstance(n.ctx, ast.Load)}


def renamed(source: str, names: Mapping[str, str]) -> str:
    """``source`` with its variables called otherwise; instead of a name, any expression will do."""
    found = {
        (node.lineno, node.col_offset, node.id)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and node.id in names
    }
    rows = source.split("\n")
    for line, column, name in sorted(found, reverse=True):
        row = rows[line - 1].encode()
        after = row[column + len(name.encode()) :]
        rows[line - 1] = row[:column].decode() + names[name] + after.decode()
    return "\n".join(rows)


def _in_chinese(name: str, source: str) -> str:
    """Drop docstrings and comments; put each Chinese comment beside its line, else above it."""
    cut = {
        token.start[0]: token.start[1]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            dropped.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    left = dict(COMMENTS.get(name, {}))
    lines: list[str] = []
    for number, line in enumerate(source.splitlines(), 1):
        kept = line[: cut[number]].rstrip() if number in cut else line
        if number in dropped or (number in cut and not kept):
            continue
        comment = next((left.pop(a) for a in [*left] if kept.strip().startswith(a)), None)
        if comment and not kept.endswith((":", "(", "[")) and len(kept + comment) < _WIDTH - 4:
            kept = f"{kept}  # {comment}"
        elif comment:
            lines.append(f"{indent_of(kept)}# {comment}")
        lines.append(kept)
    assert not left, f"{name} has no line for the comments {sorted(left)}"
    return re.sub(r"(:\n)\n+", r"\1", "\n".join(lines))  # no gap where a docstring stood
