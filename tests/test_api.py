"""What ``import lab5`` promises: the names of docs/api.md with their signatures, as in api.txt.

And that what a module keeps to itself, no other one reads.

``python -m tests.test_api`` writes that file anew, where a change of them is wanted.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lab5

LOCKED = Path(__file__).with_name("api.txt")
PAGE = Path(__file__).parent.parent / "docs/api.md"
PACKAGE = Path(lab5.__path__[0])


def public() -> Iterator[tuple[str, Any]]:
    """Each name with what it stands for; of a module, what is defined in it."""
    for name in (
        *(f"lab5.{name}" for name in lab5.__all__),
        *re.findall(r"^::: (\S+)$", PAGE.read_text("utf-8"), re.MULTILINE),
    ):
        found = pkgutil.resolve_name(name)
        if inspect.ismodule(found):
            for key, one in vars(found).items():
                if getattr(one, "__module__", None) == name and not key.startswith("_"):
                    yield f"{name}.{key}", one
        else:
            yield name, found


def described() -> Iterator[str]:
    """A line a name, and a line each for what a class has of its own."""
    for name, one in public():
        yield f"{name}{inspect.signature(one)}"
        if inspect.isclass(one):
            for base in one.__bases__:
                if base is not object:
                    yield f"    is a {base.__name__}"
            for key, member in vars(one).items():
                if key.startswith("_"):
                    continue
                if isinstance(member, property):
                    yield f"    {key}: {member.fget.__annotations__['return']}"
                elif callable(getattr(one, key)):
                    yield f"    {key}{inspect.signature(getattr(one, key))}"


def written() -> str:
    return "".join(f"{line}\n" for line in described())


def test_nothing_public_changes_unseen():
    assert written() == LOCKED.read_text("utf-8")


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def borrowed(tree: ast.Module) -> Iterator[str]:
    """Each private name of lab5 that a module imports, or reads of what it imports."""
    imported = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names, level=level):
                if level or f"{module}.".startswith("lab5."):
                    imported |= {one.asname or one.name for one in names}
                    yield from (one.name for one in names if private(one.name))
            case ast.Import(names=names):
                ours = [one for one in names if f"{one.name}.".startswith("lab5.")]
                imported |= {one.asname or "lab5" for one in ours}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            whose: ast.expr = node
            while isinstance(whose, ast.Attribute):
                whose = whose.value
            if isinstance(whose, ast.Name) and whose.id in imported:
                yield ast.unparse(node)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_no_module_reads_what_another_keeps_to_itself(path):
    assert list(borrowed(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "source",
    ["from lab5.files import _name", "from . import files; files._name()", "from .files import _name",
     "import lab5.files; lab5.files._name", "import lab5.files as f; f._name",
     "from lab5 import files\ndef f(): return files.Kind._name"],
)  # fmt: skip
def test_what_is_read_of_another_module_is_found(source):
    assert len(list(borrowed(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source",
    ["from lab5.files import name as _name; _name()", "from lab5.files import __doc__",
     "import gc; gc._name", "from lab5x import _name", "self._name"],
)  # fmt: skip
def test_what_is_its_own_or_of_another_package_is_let_through(source):
    assert list(borrowed(ast.parse(source))) == []


if __name__ == "__main__":
    LOCKED.write_text(written(), "utf-8")
