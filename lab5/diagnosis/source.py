"""Where in the notebook something stands, and what the lines would be without the fault."""

from __future__ import annotations

import ast
import copy
import difflib
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lab5.grading.evidence.ipython import python_of
from lab5.grading.evidence.program import Cell
from lab5.notebook.source import indent_of


@dataclass(frozen=True)
class Place:
    """A node of a cell's syntax tree; the last one of its kind counts, as when the notebook is run."""

    cell: int
    node: Any

    @property
    def at(self) -> tuple[int, int]:
        return self.cell, self.node.lineno


Mend = tuple[tuple[int, int] | None, str]  # where the fault stands, and its mend


def where(place: Place | None) -> tuple[int, int] | None:
    """Its cell and line."""
    return place.at if place else None


class Source:
    """The code cells of a notebook."""

    def __init__(self, cells: list[Cell]) -> None:
        self._text = {
            i: c.source.replace("\r\n", "\n") for i, c in enumerate(cells) if c.kind == "code"
        }

    @functools.cached_property
    def trees(self) -> dict[int, ast.Module]:
        found = {}
        for number, text in self._text.items():
            try:
                found[number] = ast.parse(python_of(text))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
        return found

    def lines(self, cell: int) -> list[str]:
        return self._text[cell].split("\n")

    @functools.cached_property
    def _nodes(self) -> list[Place]:
        """All that stands in a line, the last ones first."""
        found = []
        for number in reversed(self.trees):
            nodes: list[Any] = [n for n in ast.walk(self.trees[number]) if hasattr(n, "lineno")]
            found += [Place(number, n) for n in sorted(nodes, key=lambda n: -n.lineno)]
        return found

    def nodes(self, *kinds: type) -> Iterator[Place]:
        """All nodes of these kinds, the notebook's last ones first."""
        return (place for place in self._nodes if isinstance(place.node, kinds))

    def function(self, name: str | None) -> Place | None:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        return next((p for p in self.nodes(*kinds) if p.node.name == name), None)

    def class_(self, name: str | None) -> Place | None:
        return next((p for p in self.nodes(ast.ClassDef) if p.node.name == name), None)

    def call(self, name: str) -> Place | None:
        """The last call of something whose name ends so."""
        wanted = re.compile(rf"(^|\.){name}$")
        return next(
            (p for p in self.nodes(ast.Call) if wanted.search(ast.unparse(p.node.func))), None
        )

    def assignment(self, name: str) -> Place | None:
        for place in self.nodes(ast.Assign):
            if any(isinstance(t, ast.Name) and t.id == name for t in place.node.targets):
                return place
        return None

    def within(self, function: Place, fits: Callable[[ast.AST], bool]) -> Place | None:
        """The last node in a function for which ``fits`` holds, or in what it calls by name."""
        seen, queue = set(), [function]
        while queue:
            place = queue.pop(0)
            if id(place.node) in seen:
                continue
            seen.add(id(place.node))
            hits: list[Any] = [n for n in ast.walk(place.node) if hasattr(n, "lineno") and fits(n)]
            if hits:
                return Place(place.cell, max(hits, key=lambda n: (n.lineno, n.col_offset)))
            for node in ast.walk(place.node):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    queue += filter(None, (self.function(node.id), self.assignment(node.id)))
        return None

    # Mends

    def diff(self, cell: int, first: int, last: int, new: list[str]) -> str:
        """The lines ``first`` to ``last`` of a cell (from 1; last < first: nothing) replaced, as a diff."""
        return self.edited(cell, [(first, last, new)])

    def edited(self, cell: int, edits: list[tuple[int, int, list[str]]]) -> str:
        """Several replacements of lines in a cell as one diff."""
        before = self.lines(cell)
        after = list(before)
        for first, last, new in sorted(edits, reverse=True):
            after[first - 1 : last] = new
        name = f"cell {cell}"
        return "\n".join(difflib.unified_diff(before, after, name, name, n=1, lineterm=""))

    def replaced(self, place: Place, new: str) -> str:
        """The node's text replaced by an expression, as a diff."""
        node, rows = place.node, self.lines(place.cell)
        first, last = rows[node.lineno - 1].encode(), rows[node.end_lineno - 1].encode()
        text = first[: node.col_offset].decode() + new + last[node.end_col_offset :].decode()
        return self.diff(place.cell, node.lineno, node.end_lineno, text.split("\n"))

    def text(self, place: Place) -> str:
        return ast.get_source_segment("\n".join(self.lines(place.cell)), place.node) or ""

    def with_keywords(self, call: Place, before: str = "", **values: str | None) -> str:
        """A call with keywords set, or without those that are None, as a diff; ``before``: a line above."""
        node, rows = call.node, self.lines(call.cell)
        edits: list[tuple[int, int, list[str]]] = []
        if node.lineno == node.end_lineno:
            new = copy.deepcopy(node)
            kept = [k for k in node.keywords if k.arg not in values]
            more = [ast.keyword(k, ast.parse(v, mode="eval").body) for k, v in values.items() if v]
            new.keywords = kept + more
            row = rows[node.lineno - 1].encode()
            start, end = row[: node.col_offset].decode(), row[node.end_col_offset :].decode()
            edits.append((node.lineno, node.lineno, [start + ast.unparse(new) + end]))
        else:  # a keyword a line
            for name, value in values.items():
                old = next((k for k in node.keywords if k.arg == name), None)
                line = node.end_lineno if old is None else old.lineno
                indent = indent_of(rows[(node.keywords or node.args)[-1].end_lineno - 1])
                new_lines = [] if value is None else [f"{indent}{name}={value},"]
                if old is not None:
                    edits.append((line, old.value.end_lineno, new_lines))
                elif new_lines:
                    edits.append((line, line - 1, new_lines))
        if before:
            edits.append(
                (node.lineno, node.lineno - 1, [indent_of(rows[node.lineno - 1]) + before])
            )
        return self.edited(call.cell, edits)
