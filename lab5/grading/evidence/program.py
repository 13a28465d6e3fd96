"""A notebook's code as a program of which any part can be run without the rest.

The code cells are cut into top-level statements by their syntax tree. To call one function, only the
statements that it needs are run: the last one that binds each name it uses, what that needs, and so on.
A cell with a syntax error loses the statement that holds it and keeps its others.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import symtable
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from lab5.grading import newer_python
from lab5.grading.evidence.ipython import python_of
from lab5.grading.sandbox.messages import describe

MAX_NOTEBOOK: Final = 50 << 20  # bytes
MAX_CELLS: Final = 1000
MAX_SOURCE: Final = 1 << 20  # characters of code
MAX_LINE: Final = 20_000  # characters of a line of code
MAX_CHUNKS: Final = 1000  # parts into which cells with syntax errors are cut

_UNPARSABLE: Final = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Cell:
    kind: str  # "code", "markdown", "raw"
    source: str


class NotebookUnreadable(Exception):
    """The file is no notebook; the message says why."""


def read_cells(path: Path) -> list[Cell]:
    """The cells of a notebook of format 3 or 4.

    Raises:
        NotebookUnreadable
    """
    if path.stat().st_size > MAX_NOTEBOOK:
        raise NotebookUnreadable(f"larger than {MAX_NOTEBOOK >> 20} MB")
    try:
        raw = json.loads(
            path.read_bytes()
        )  # which knows UTF-8, -16 and -32, with a mark or without
        sheets = [raw] if "cells" in raw else raw["worksheets"]
        cells = [cell for sheet in sheets for cell in sheet["cells"]] or sheets[0]["cells"]
        if len(cells) > MAX_CELLS:
            raise NotebookUnreadable(f"{len(cells)} cells, at most {MAX_CELLS} are read")
        found = [
            Cell(str(cell["cell_type"]), _text(cell.get("source", cell.get("input", ""))))
            for cell in cells
        ]
    except RecursionError as error:
        raise NotebookUnreadable("nested too deeply") from error
    except MemoryError as error:
        raise NotebookUnreadable("too large when it is read") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise NotebookUnreadable(f"{type(error).__name__}: {str(error)[:100]}") from error
    code = [cell.source for cell in found if cell.kind == "code"]
    if (size := sum(map(len, code))) > MAX_SOURCE:
        raise NotebookUnreadable(f"{size} characters of code, at most {MAX_SOURCE} are read")
    longest = max((len(line) for source in code for line in source.split("\n")), default=0)
    if longest > MAX_LINE:
        raise NotebookUnreadable(
            f"a line of code of {longest} characters, at most {MAX_LINE} are read"
        )
    return found


def _text(source: Any) -> str:
    text = source if isinstance(source, str) else "".join(map(str, source or ()))
    return text.encode("utf-8", "replace").decode("utf-8")  # JSON can hold half of a pair


@dataclass
class Statement:
    """A top-level statement; what stands under ``if __name__ == "__main__":`` counts as top-level."""

    node: ast.stmt
    cell: int
    binds: frozenset[str]
    uses: frozenset[str]
    certain: bool = True  # it binds its names whenever it runs, and anew

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of it: most probes look through them."""
        return list(ast.walk(self.node))

    @property
    def is_definition(self) -> bool:
        return isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, ast.Import | ast.ImportFrom)


@dataclass
class Program:
    """The statements of all code cells in order, and the syntax errors on the way."""

    statements: list[Statement] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)  # cell number, message
    broken: dict[str, str] = field(default_factory=dict)  # names that do not parse -> "def" …
    newer: tuple[int, int] | None = None  # the Python that it needs, if newer than this one
    _chunks_left: int = MAX_CHUNKS

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> Program:
        program = cls()
        for number, cell in enumerate(cells):
            if cell.kind == "code":
                program._add(number, cell.source)
        return program

    def _add(self, number: int, source: str) -> None:
        source = newer_python.requoted(python_of(source))
        try:
            self._statements(number, source)
            return
        except _UNPARSABLE as error:
            whole, known = str(error), len(self.errors)
        chunks = list(_chunks(source))
        self._chunks_left -= len(chunks)
        if self._chunks_left < 0:
            self.errors.append((number, f"{whole} (too many parts to look at each)"))
            return
        for chunk in chunks:
            try:
                self._statements(number, python_of(chunk))
            except _UNPARSABLE as error:
                self.errors.append((number, str(error)))
                if version := newer_python.needed_by(chunk):
                    self.newer = max(self.newer or version, version)
                for kind, name in re.findall(r"^(def|class)\s+(\w+)", chunk, re.MULTILINE):
                    self.broken[name] = kind
                for name in re.findall(r"^(\w+)\s*=(?!=)", chunk, re.MULTILINE):
                    self.broken[name] = "="
        if len(self.errors) == known:  # each part parses, the whole does not
            self.errors.append((number, whole))

    def _statements(self, number: int, source: str) -> None:
        tree = ast.parse(source)
        self.statements += [statement_of(node, number) for node in _flat(tree.body)]

    # Looking things up

    def bindings(self, name: str) -> list[int]:
        """The statements that make ``name`` what it is in the end: one, or those that change it too."""
        return self._binding(name, len(self.statements))

    def functions(self) -> list[str]:
        return [
            s.node.name
            for s in self.statements
            if isinstance(s.node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def classes(self) -> list[str]:
        return [s.node.name for s in self.statements if isinstance(s.node, ast.ClassDef)]

    def reaching(self, mentions: Callable[[ast.AST], bool]) -> tuple[list[int], set[str]]:
        """The statements that run code for which ``mentions`` holds, and the definitions between."""
        through: set[str] = set()
        mentioning = [any(map(mentions, s.nodes)) for s in self.statements]
        while True:
            hits = [i for i, s in enumerate(self.statements) if mentioning[i] or s.uses & through]
            found = {name for i in hits if self.statements[i].is_definition
                     for name in self.statements[i].binds}  # fmt: skip
            if found <= through:
                break
            through |= found
        direct = [
            i
            for i in hits
            if not (self.statements[i].is_definition or self.statements[i].is_import)
        ]
        return direct, through

    @cached_property
    def strings(self) -> frozenset[str]:
        """Every string constant, f-strings' fixed parts included."""
        return frozenset(
            node.value
            for statement in self.statements
            for node in statement.nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )

    # Running

    def needed(self, targets: Iterable[int]) -> list[int]:
        """``targets`` and the statements that they need, in the notebook's order."""
        wanted: set[int] = set()
        targets = list(targets)
        queue = list(targets)
        while queue:
            index = queue.pop()
            if index in wanted:
                continue
            wanted.add(index)
            statement = self.statements[index]
            for name in statement.uses:
                # a function's names are looked up when it is called: by a target, or after all cells
                last = len(self.statements)
                found = [
                    i
                    for end in ([*targets, last] if statement.is_definition else [index])
                    for i in self._binding(name, end)
                ]
                queue += found or self._binding(name, last)
        return sorted(wanted)

    def _binding(self, name: str, end: int) -> list[int]:
        found = []
        for index in reversed(range(end)):
            if name in self.statements[index].binds:
                found.append(index)
                if self.statements[index].certain:
                    break
        return found

    def run(
        self,
        targets: Iterable[int],
        space: dict[str, Any],
        *,
        instead: dict[str, Any] | None = None,
        missing: Callable[[str], Any] | None = None,
    ) -> list[str]:
        """Run ``targets`` and what they need in ``space``; the errors on the way, as text.

        Args:
            instead: values for names, whatever the notebook binds to them.
            missing: makes a stand-in for what cannot be imported or does not parse.
        """
        targets = list(targets)
        instead = instead or {}
        space.setdefault("__name__", "__main__")
        if missing:
            for name in self.broken:
                space.setdefault(name, missing(name))
        space.update(instead)
        errors = []
        for index in self.needed(targets):
            statement = self.statements[index]
            if statement.is_definition and statement.binds <= instead.keys():
                continue
            try:
                _execute(statement, space)
            except BaseException as error:
                if missing and statement.is_import and isinstance(error, ImportError):
                    for name in statement.binds:
                        space[name] = missing(name)
                    errors.append(f"missing: {describe(error)}")
                else:
                    errors.append(f"cell {statement.cell}: {describe(error)}")
            space.update(instead)
        return errors


def _execute(statement: Statement, space: dict[str, Any]) -> None:
    """As IPython does, which awaits at top level."""
    module = ast.Module([statement.node], type_ignores=[])
    name, await_ = f"<cell {statement.cell}>", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(module, name, "exec", flags=await_, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, space))
    else:
        exec(code, space)


def _chunks(source: str) -> Iterator[str]:
    """Cut where a line begins at the margin and is no continuation of a compound statement."""
    chunk: list[str] = []
    for line in source.split("\n"):
        starts = re.match(r"[^\s#)\]}]", line) and not re.match(
            r"(else|elif|except|finally)\b", line
        )
        if starts and chunk and not chunk[-1].startswith("@"):
            yield "\n".join(chunk)
            chunk = []
        chunk.append(line)
    yield "\n".join(chunk)


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If) and _is_main(node.test):
            yield from _flat(node.body)
        else:
            yield node


def _is_main(test: ast.expr) -> bool:
    names = {n.id for n in ast.walk(test) if isinstance(n, ast.Name)}
    values = {n.value for n in ast.walk(test) if isinstance(n, ast.Constant)}
    return isinstance(test, ast.Compare) and "__name__" in names and "__main__" in values


def statement_of(node: ast.stmt, cell: int) -> Statement:
    binds, uses = _names(node)
    certain = True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        # ``net.eval()`` and ``names.append(x)`` change what the name stands for
        base: ast.expr = node.value.func
        while isinstance(base, ast.Attribute | ast.Subscript):
            base = base.value
        if isinstance(base, ast.Name) and base is not node.value.func:
            binds, certain = binds | {base.id}, False
    elif isinstance(node, ast.AugAssign | ast.Assign | ast.Delete):
        targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
        for target in targets:
            inner = target
            while isinstance(inner, ast.Attribute | ast.Subscript):
                inner = inner.value
            if isinstance(inner, ast.Name) and inner is not target:
                binds, certain = binds | {inner.id}, False
        if isinstance(node, ast.AugAssign):
            certain = False
            uses = uses | binds
    elif isinstance(node, ast.If | ast.For | ast.While | ast.Try):
        certain = isinstance(node, ast.Try)
    return Statement(node, cell, frozenset(binds), frozenset(uses), certain)


def _names(node: ast.stmt) -> tuple[set[str], set[str]]:
    """The global names that a statement binds, and those that it or a function in it reads."""
    module = ast.Module([node], type_ignores=[])
    table = symtable.symtable(ast.unparse(module), "cell", "exec")
    binds = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    uses = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    queue = list(table.get_children())
    while queue:
        inner = queue.pop()
        for symbol in inner.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                uses.add(symbol.get_name())
            if symbol.is_declared_global() and symbol.is_assigned():
                binds.add(symbol.get_name())
        queue += inner.get_children()
    return binds, uses
