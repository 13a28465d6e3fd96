"""2.1: ``preprocess``, called on many kinds of picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lab5.grading.evidence.program import Program
from lab5.grading.probes.lookup import find_function
from lab5.grading.probes.registry import probe
from lab5.grading.sandbox.messages import describe
from lab5.grading.stand_ins import gradio
from lab5.grading.stand_ins.anything import Anything
from lab5.grading.stand_ins.given import Given
from lab5.grading.stand_ins.pictures import pictures
from lab5.grading.stand_ins.sessions import Sessions

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


@probe
def preprocess(program: Program, given: Given) -> dict[str, Any]:
    """Call ``preprocess`` on many kinds of picture."""
    return called(program, given, pictures(given.seed))


def called(program: Program, given: Given, shown: dict[str, Picture]) -> dict[str, Any]:
    """What ``preprocess`` makes of these pictures."""
    name = find_function(program, "preprocess", "preprocess_image", "preprocess_input")
    found: dict[str, Any] = {"function": name, "calls": {}}
    if name is None:
        return found
    gradio.install()
    space = Sessions(program, given).space()
    found["errors"] = program.run(program.bindings(name), space, missing=Anything)
    for label, picture in shown.items():
        try:
            value = space[name](picture)
            kind = type(value).__name__
            if hasattr(value, "detach"):
                value = value.detach().cpu().numpy()
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":
                raise TypeError(f"it returns {kind}, not an array of numbers")
            dtype = str(array.dtype)
            call = {"value": array, "dtype": dtype if kind == "ndarray" else f"{kind} ({dtype})"}
        except BaseException as error:
            call = {"error": describe(error)}
        found["calls"][label] = call
    return found
