"""2.3, 2.4: the page, its interfaces and its launch."""

from __future__ import annotations

import ast
import contextlib
from typing import Any

from lab5.grading.evidence.program import Program
from lab5.grading.probes.lookup import answer, plain, without_output
from lab5.grading.probes.registry import probe
from lab5.grading.stand_ins import gradio
from lab5.grading.stand_ins.given import Given
from lab5.grading.stand_ins.gradio import Component
from lab5.grading.stand_ins.pictures import comparison_pictures
from lab5.grading.stand_ins.sessions import Sessions


def _mentions_gradio(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in (
        "Interface", "Blocks", "launch", "click", "change", "queue",
    )  # fmt: skip


def interface_function(program: Program, given: Given) -> str | None:
    """The name of the function that the page calls."""
    names = [f["fn"] for f in page(program, given)["interfaces"] if f["fn"]]
    return next((name for name in names if program.bindings(name)), None)


@probe
def page(program: Program, given: Given) -> dict[str, Any]:
    """Build the page with a stand-in for gradio: its interfaces, and how it is launched."""
    module = gradio.install()
    sessions = Sessions(program, given)
    names = {
        name
        for s in program.statements
        if isinstance(s.node, ast.ImportFrom) and (s.node.module or "").startswith("gradio")
        for name in s.binds
    }

    def mentions(node: ast.AST) -> bool:
        return _mentions_gradio(node) or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
        )

    direct, through = program.reaching(mentions)
    space = sessions.space() | {
        name: Component(module.made, "?", (), {})
        for name, kind in program.broken.items()
        if kind == "="
    }
    with without_output():
        errors = program.run(direct, space, missing=_broken_function)
    if not any(call[0] == "launch" for made in module.made for call in made.calls):
        # the interface is at fault, which is no fault of the launch
        instead = {name: Component(module.made, "?", (), {}) for name in _launched(program)}
        with without_output():
            program.run(direct, sessions.space(), instead=instead, missing=_broken_function)
    interfaces, launches = [], []
    for made in list(module.made):
        if made.kind in ("Interface", "ChatInterface"):
            interfaces.append(_interface(made.args, made.kwargs))
        for method, args, kwargs in made.calls:
            if method == "launch":
                launches.append(
                    {
                        "share": plain(kwargs.get("share", args[1] if len(args) > 1 else None)),
                        "on": made.kind,
                    }
                )
            elif "fn" in kwargs or (args and callable(args[0])):
                interfaces.append(
                    _interface(args, {**kwargs, **_page_texts(module.made)}) | {"event": method}
                )
    for one in interfaces:
        sessions.runs.clear()
        call = one.pop("call")
        if one["fn"] != "compare_fp32_int8":  # whether that one works is another probe's matter
            with contextlib.suppress(BaseException), without_output():
                answer(call(comparison_pictures(given.seed)[0]))
        one["runs"] = sorted({run["kind"] for run in sessions.runs})
    return {
        "interfaces": interfaces,
        "launches": launches,
        "errors": errors,
        "functions": program.functions(),
        "mentioned": bool(direct or through),
    }


def _launched(program: Program) -> set[str]:
    """The names on which ``launch`` is called."""
    return {
        node.func.value.id
        for statement in program.statements
        for node in statement.nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "launch"
        and isinstance(node.func.value, ast.Name)
    }


def _broken_function(name: str) -> Any:
    """In place of a function that does not parse: the page can be built all the same."""

    def function(*args: Any) -> None:
        raise NameError(name)

    function.__name__ = name
    return function


def _page_texts(made: list[Component]) -> dict[str, Any]:
    """The title and the description of a page of gr.Blocks."""
    texts = {}
    for component in made:
        if component.kind == "Blocks" and component.kwargs.get("title"):
            texts["title"] = component.kwargs["title"]
        if component.kind in ("Markdown", "HTML"):
            value = component.args[0] if component.args else component.kwargs.get("value", "")
            texts.setdefault("title", value)
            texts["description"] = value
    return texts


def _interface(args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    given = dict(zip(("fn", "inputs", "outputs"), args))  # noqa: B905
    given.update(kwargs)
    fn = given.get("fn")
    return {
        "fn": str(getattr(fn, "__name__", type(fn).__name__)) if fn is not None else None,
        "callable": callable(fn),
        "call": fn,
        "inputs": _components(given.get("inputs")),
        "outputs": _components(given.get("outputs")),
        "title": str(given.get("title") or ""),
        "description": str(given.get("description") or given.get("article") or ""),
    }


def _components(value: Any) -> list[dict[str, Any]]:
    values = value if isinstance(value, list | tuple) else [value] if value is not None else []
    found = []
    for one in values:
        if isinstance(one, Component):
            keywords = {
                k: plain(v)
                for k, v in one.kwargs.items()
                if k in ("label", "type", "num_top_classes")
            }
            first = plain(one.args[0]) if one.args else None
            found.append({"kind": one.kind.lower(), "first": first, **keywords})
        else:
            found.append({"kind": str(one).lower() if isinstance(one, str) else type(one).__name__})
    return found
