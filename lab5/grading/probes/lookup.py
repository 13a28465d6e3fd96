"""The functions and classes of a notebook by the names that people give them, and what calls return."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
from typing import Any

import numpy as np

from lab5.grading.evidence.program import Program
from lab5.grading.stand_ins.gradio import Component


def pick(found: list[str], *names: str) -> str | None:
    for name in names:
        for candidate in found:
            if candidate == name:
                return candidate
    for name in names:
        for candidate in found:
            if candidate.lower().replace("_", "") == name.lower():
                return candidate
    return None


def find_function(program: Program, *names: str) -> str | None:
    found = [n for n in program.functions() if n != "preprocess_32x32"]
    if (name := pick(found, *names)) is not None:
        return name
    return names[0] if program.bindings(names[0]) else None


def session_function(program: Program) -> str | None:
    return pick(program.functions(), "build_session", "create_session", "make_session")


def answer(value: Any) -> Any:
    """What gradio shows of a function's result: a coroutine's, the last of a generator."""
    if inspect.iscoroutine(value):
        return asyncio.run(value)
    if inspect.isasyncgen(value):

        async def last() -> Any:
            return [one async for one in value][-1]

        return asyncio.run(last())
    return list(value)[-1] if inspect.isgenerator(value) else value


def plain(value: Any, depth: int = 0) -> Any:
    """A result of foreign code as JSON; what is no plain data becomes its type's name."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value[:20000]
    if isinstance(value, int) and value.bit_length() > 1024:  # more than Python writes out
        return {"type": "int"}
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < 4 and isinstance(value, dict):
        return {
            "dict": [
                [plain(k, depth + 1), plain(v, depth + 1)] for k, v in list(value.items())[:50]
            ]
        }
    if depth < 4 and isinstance(value, list | tuple):
        return [plain(v, depth + 1) for v in value[:50]]
    if isinstance(value, np.ndarray) and value.size == 1:
        return plain(value.reshape(())[()], depth)
    if isinstance(value, Component):  # ``gr.update(value=…)``, ``gr.Label(value=…)``
        return plain(value.kwargs.get("value", value.args[0] if value.args else None), depth + 1)
    return {"type": type(value).__name__}


@contextlib.contextmanager
def without_output() -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        yield
