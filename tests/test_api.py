"""What ``import lab5`` promises: the names of docs/api.md with their signatures, as in api.txt.

``python -m tests.test_api`` writes that file anew, where a change of them is wanted.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab5

LOCKED = Path(__file__).with_name("api.txt")
PAGE = Path(__file__).parent.parent / "docs/api.md"


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


if __name__ == "__main__":
    LOCKED.write_text(written(), "utf-8")
