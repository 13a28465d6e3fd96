"""1.5: ``build_session``, called by us and by the notebook."""

from __future__ import annotations

import ast
from pathlib import PurePath
from typing import Any

from lab5.grading.evidence.program import Program
from lab5.grading.probes.lookup import session_function, without_output
from lab5.grading.probes.registry import probe
from lab5.grading.sandbox.messages import describe
from lab5.grading.stand_ins.anything import Anything
from lab5.grading.stand_ins.given import Given, seeded_input
from lab5.grading.stand_ins.sessions import KINDS, Sessions


@probe
def session(program: Program, given: Given) -> dict[str, Any]:
    """Call ``build_session`` on two models, with two lists of providers."""
    import onnxruntime as ort

    sessions = Sessions(program, given)
    name = session_function(program)
    found: dict[str, Any] = {"function": name, "calls": []}
    if name is None:
        name = "build_session"  # it may be an assignment: ``build_session = lambda …``
        if not program.bindings(name):
            return found
        found["function"] = name
    space = sessions.space()
    found["errors"] = program.run(program.bindings(name), space, missing=Anything)
    every = ort.get_available_providers()
    last = ["CPUExecutionProvider"]
    more = [p for p in every if "CUDA" not in p and "Tensorrt" not in p and p not in last]
    x = seeded_input(given.seed, 1)
    for file, providers in (("one_FP32.onnx", last), ("two_INT8.onnx", [*more, *last])):
        sessions.opened.clear()
        call: dict[str, Any] = {"file": file, "providers": providers}
        try:
            session = space[name](file, providers)
            call["is_session"] = isinstance(session, ort.InferenceSession)
            call["output"] = session.run(None, {session.get_inputs()[0].name: x})[0]
        except BaseException as error:
            call["error"] = describe(error)
        call["opened"] = list(sessions.opened)
        found["calls"].append(call)
    return found


def open_session(*args: Any, **kwargs: Any) -> Any:
    """A right ``build_session``, whatever its parameters are called."""
    import onnxruntime as ort

    return ort.InferenceSession(
        next(v for v in (*args, *kwargs.values()) if isinstance(v, str | PurePath))
    )


@probe
def opened(program: Program, given: Given) -> dict[str, Any]:
    """Run the notebook's own calls of ``build_session``: which files are opened."""
    import onnxruntime as ort

    sessions = Sessions(program, given)
    name = session_function(program) or "build_session"

    def mentions(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name

    direct, _ = program.reaching(mentions)
    cells = sorted({program.statements[i].cell for i in direct})
    found: dict[str, Any] = {}
    for instead in ({}, {name: open_session}):  # what is wrong inside it is another check's matter
        sessions.opened.clear()
        named, errors = [], []
        for cell in cells:  # a later cell may bind the same names
            space = sessions.space()
            mine = [i for i in direct if program.statements[i].cell == cell]
            with without_output():
                errors += program.run(mine, space, instead=instead, missing=Anything)
            named += [[n, v._kind] for n, v in space.items() if isinstance(v, ort.InferenceSession)]
        found = {"opened": list(sessions.opened), "named": named, "errors": errors}
        if {one["kind"] for one in found["opened"]} == set(KINDS):
            break
    return found
