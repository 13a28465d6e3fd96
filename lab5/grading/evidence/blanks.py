"""What stands for code that is to be written: for what fills a template, and for what judges a notebook."""

from __future__ import annotations

import ast


def is_ellipsis(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def is_blank(statement: ast.stmt) -> bool:
    """Whether the statement, on its own, does nothing yet."""
    match statement:
        case ast.Pass() | ast.Return(value=None | ast.Constant(value=None)):
            return True
        case ast.Expr(value=value) | ast.Assign(value=value) | ast.Return(value=value):
            return is_ellipsis(value)
        case ast.Raise(exc=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
            return name == "NotImplementedError"
    return False
