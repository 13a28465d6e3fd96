"""1.4: what leads to ``quantize_static``."""

from __future__ import annotations

import ast
import importlib
from pathlib import PurePath
from typing import Any

from lab5.grading.evidence.program import Program
from lab5.grading.probes.lookup import without_output
from lab5.grading.probes.registry import probe
from lab5.grading.sandbox.messages import describe
from lab5.grading.stand_ins.anything import Anything
from lab5.grading.stand_ins.given import Given
from lab5.grading.stand_ins.sessions import Sessions


def _mentions_quantize(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "quantize_static") or (
        isinstance(node, ast.Name) and node.id == "quantize_static"
    )


@probe
def quantize(program: Program, given: Given) -> dict[str, Any]:
    """Run what leads to ``quantize_static``; calibration readers and other helpers are stand-ins."""
    import onnxruntime.quantization as quantization

    calls: list[dict[str, Any]] = []

    def quantize_static(*args: Any, **kwargs: Any) -> None:
        got = dict(zip(("model_input", "model_output", "calibration_data_reader"), args))  # noqa: B905
        got.update(kwargs)
        calls.append(
            {key: _file(got.get(key)) for key in ("model_input", "model_output")}
            | {"reader": got.get("calibration_data_reader") is not None, "called": bool(direct)}
        )
        if _file(got.get("model_output")):
            sessions.files.write(got["model_output"], "int8")

    def quant_pre_process(
        input_model: Any = None, output_model_path: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        if _file(output_model_path):
            sessions.files.write(output_model_path, "fp32")

    sessions = Sessions(program, given, absent=("int8",))
    quantization.quantize_static = quantize_static
    if hasattr(quantization, "quantize"):
        quantization.quantize.quantize_static = quantize_static
    for name in ("", ".shape_inference", ".preprocess"):  # where notebooks import it from
        module: Any = importlib.import_module(f"onnxruntime.quantization{name}")
        module.quant_pre_process = quant_pre_process
    direct, through = program.reaching(_mentions_quantize)
    idle = {
        name: Anything(name)
        for statement in program.statements
        if statement.is_definition
        for name in statement.binds - through
    }
    space = sessions.space()
    with without_output():
        if direct:
            errors = program.run(direct, space, instead=idle, missing=Anything)
        else:
            targets = [i for name in through for i in program.bindings(name)]
            errors = program.run(targets, space, instead=idle, missing=Anything)
            errors += ["its function is never called"] if through else []
            for name in through:
                try:
                    space[name]("fp32.onnx", "int8.onnx", Anything("reader"))
                except BaseException as error:
                    errors.append(describe(error))
    return {"calls": calls, "errors": errors}


def _file(value: Any) -> str | None:
    return PurePath(value).name if isinstance(value, str | PurePath) else None
