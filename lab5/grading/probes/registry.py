"""The probes by name, and the child's job: to make one of them.

A probe runs one part of the notebook against stand-ins for what is slow or public (the exporter, the
quantiser, gradio, models that answer what the judge knows) and returns what happened as plain data.
It judges nothing: that is done outside, where the notebook's code cannot reach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lab5.grading.evidence.program import Cell, Program
from lab5.grading.stand_ins import anything, colab, gradio
from lab5.grading.stand_ins.given import Given, weights_drawn_once
from lab5.grading.stand_ins.pictures import pictures
from lab5.grading.stand_ins.sessions import try_models

Probe = Callable[[Program, Given], dict[str, Any]]

PROBES: Final[dict[str, Probe]] = {}
GRADED: Final[list[str]] = []  # those that the checks ask for

# What probes import when they are made, and what that imports only then: before they are forked
_HEAVY: Final = (
    "numpy", "numpy.random", "numpy.ma", "PIL.Image", "PIL.ImageColor", "PIL.ImageFile",
    "PIL.ImagePalette", "PIL.GimpGradientFile", "PIL.GimpPaletteFile", "PIL.PaletteFile", "onnx",
    "onnxruntime", "onnxruntime.quantization", "onnxruntime.quantization.preprocess", "torch", "torch.onnx",
)  # fmt: skip


def probe(function: Probe) -> Probe:
    """Register a function as the probe of its name. Its module imports nothing heavy by itself."""
    return _register(function, GRADED)


def extra_probe(function: Probe) -> Probe:
    """The same for one that no check asks for."""
    return _register(function, [])


def _register(function: Probe, names: list[str]) -> Probe:
    name = function.__name__
    assert name not in PROBES, f"{name} is there twice"
    PROBES[name] = function
    names.append(name)
    return function


def preload() -> tuple[str, ...]:
    """What a sandbox imports once for all probes."""
    return (*_HEAVY, *dict.fromkeys(one.__module__ for one in PROBES.values()))


def _start_at_zero() -> None:
    """PyTorch's layers: to draw eleven million weights that are replaced at once takes longer than all else."""
    import torch

    def zero(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return tensor.zero_()

    for name in ("kaiming_uniform_", "uniform_"):
        setattr(torch.nn.init, name, zero)


def share(given: dict[str, Any]) -> None:
    """Make what the probes of all notebooks have alike, of a ``Given``'s fields: in a room, for its visitors."""
    found = Given(**given)
    weights_drawn_once(found.parameters, found.seed)
    try_models(found.seed)
    pictures(found.seed)


def observer(job: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """What makes the observation ``request["probe"]`` of the notebook ``job["cells"]``."""
    given = Given(**job["given"])
    program = Program.of(Cell("code", source) for source in job["cells"])
    share(job["given"])  # once for all of them, if not before
    _ = program.strings

    def observe(request: dict[str, Any]) -> Any:
        absent = anything.install()
        colab.install()
        gradio.install()  # the real one takes seconds to import
        _start_at_zero()
        return PROBES[request["probe"]](program, given) | {"absent": sorted(absent)}

    return observe
