"""1.2, 1.3: what leads to ``torch.onnx.export``, with a good checkpoint and with a wrong one."""

from __future__ import annotations

import ast
import gc
import types
from collections.abc import Container
from pathlib import PurePath
from typing import Any

from lab5.grading.evidence.program import Program
from lab5.grading.probes.lookup import without_output
from lab5.grading.probes.network import build, tensors
from lab5.grading.probes.registry import probe
from lab5.grading.sandbox.messages import describe
from lab5.grading.stand_ins import colab
from lab5.grading.stand_ins.anything import Anything
from lab5.grading.stand_ins.given import Given, seeded_weights, weights_drawn_once
from lab5.grading.stand_ins.sessions import SHAPE, Sessions, stand_in_models


@probe
def export(program: Program, given: Given) -> dict[str, Any]:
    """Run what leads to ``torch.onnx.export``, with a good checkpoint and with a wrong one.

    Where the notebook's own network does not take the weights, one that does is in its place: that is
    another item's matter.
    """
    found: dict[str, Any] = {"exports": []}
    weights = tensors(weights_drawn_once(given.parameters, given.seed))
    for instead in ({}, _network(given)):
        exports, others, found["errors"] = _exports(program, given, weights, instead, spoil=False)
        found["exports"], found["loaded"] = exports, exports or others
        if any(one["loaded"] for one in found["loaded"]):
            break
    gc.collect()  # the networks, whose memory the next ones can take
    exports, others, _ = _exports(program, given, weights, instead, spoil=True)
    found["spoiled"] = exports or others
    return found


def _as_drawn(weights: dict[str, Any], given: Given) -> dict[str, Any]:
    """These, or where the notebook has written to one of them, the same drawn anew."""
    if not any(one._version for one in weights.values()):
        return weights
    return tensors(seeded_weights(given.parameters, given.seed))


def _network(given: Given) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "network"}
    exec(given.network, space)
    return {name: space[name] for name in ("BasicBlock", "ResNet18") if name in space}


def _mentions_export(node: ast.AST, names: Container[str]) -> bool:
    """``torch.onnx.export``, or one of ``names`` under which it was imported."""
    if isinstance(node, ast.Name):
        return node.id in names
    return isinstance(node, ast.Attribute) and node.attr in ("export", "dynamo_export") and (
        "onnx" in (owner := ast.unparse(node.value)) or owner in names
    )  # fmt: skip


def _exporter_names(program: Program) -> set[str]:
    """What ``from torch.onnx import export`` and ``import torch.onnx as …`` bind."""
    found = set()
    for statement in program.statements:
        for node in statement.nodes:
            if isinstance(node, ast.ImportFrom) and node.module == "torch.onnx":
                found |= {a.asname or a.name for a in node.names if "export" in a.name}
            elif isinstance(node, ast.Import):
                found |= {a.asname for a in node.names if a.asname and a.name == "torch.onnx"}
    return found


def _mentions_loading(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "load_state_dict"


def _exports(
    program: Program, given: Given, weights: dict[str, Any], instead: dict[str, Any], spoil: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Each call of the exporter: what it was given; ``spoil`` misnames a tensor of the checkpoint.

    Where nothing is exported, the second list has the networks that weights were loaded into.
    """
    import torch

    exports: list[dict[str, Any]] = []
    loaded: list[Any] = []
    tiny = stand_in_models(given.seed)["fp32"]

    def load(path: Any = None, *args: Any, **kwargs: Any) -> Any:
        found = _as_drawn(weights, given)
        return {("fc.wrong" if spoil and n == "fc.weight" else n): v for n, v in found.items()}

    def described(model: Any) -> dict[str, Any]:
        if isinstance(model, torch.nn.Module):  # to whose state_dict something may be assigned
            held = torch.nn.Module.state_dict(model)
        else:  # of an ExportedProgram, a dict
            held = getattr(model, "state_dict", {})
        got = {name.removeprefix("module."): value for name, value in held.items()}
        same = all(
            n in got and got[n].shape == v.shape and torch.equal(got[n].float().cpu(), v.float())
            for n, v in _as_drawn(weights, given).items()
            if not n.endswith("num_batches_tracked")
        )
        return {"loaded": same, "training": bool(getattr(model, "training", False))}

    def load_state_dict(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = real_load_state_dict(self, *args, **kwargs)
        if not any(one is self for one in loaded):
            loaded.append(self)
        return result

    def export(*args: Any, **kwargs: Any) -> Any:
        model: Any = args[0] if args else kwargs.get("model")
        to: Any = args[2] if len(args) > 2 else kwargs.get("f", kwargs.get("path"))
        exports.append(described(model) | {"called": bool(direct)})
        if hasattr(to, "write"):
            to.write(tiny)
        elif isinstance(to, str | PurePath):
            sessions.files.write(to, "fp32")
        return _ExportedProgram(tiny, sessions.files)

    sessions = Sessions(program, given, absent=("fp32", "int8"))
    real_load, real_export = torch.load, torch.onnx.export
    real_load_state_dict = torch.nn.Module.load_state_dict
    torch.load, torch.onnx.export = load, export  # type: ignore[assignment]
    torch.nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign]
    try:
        names = _exporter_names(program)
        direct, through = program.reaching(lambda node: _mentions_export(node, names))
        if not direct and not through:
            direct, through = program.reaching(_mentions_loading)
        space = sessions.space()
        targets = direct or [i for name in through for i in program.bindings(name)]
        with without_output():
            errors = program.run(targets, space, instead=dict(instead), missing=Anything)
            if not direct:
                errors += _call_exporters(space, through, given)
    finally:
        torch.load, torch.onnx.export = real_load, real_export
        torch.nn.Module.load_state_dict = real_load_state_dict  # type: ignore[method-assign]
    return exports, [] if exports else [described(model) for model in loaded], errors


class _ExportedProgram:
    """What ``torch.onnx.export`` returns: something that saves a model."""

    def __init__(self, data: bytes, files: colab.Files) -> None:
        self._data, self._files = data, files

    @property
    def model_proto(self) -> Any:
        import onnx

        return onnx.load_from_string(self._data)

    def save(self, path: Any, *args: Any, **kwargs: Any) -> None:
        self._files.write(path, "fp32")

    def optimize(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return Anything(name)


def _call_exporters(space: dict[str, Any], names: set[str], given: Given) -> list[str]:
    """The notebook defines an export function and never calls it: call it as the template does."""
    import torch

    errors = ["its function is never called"]
    for name in names:
        function = space.get(name)
        if not isinstance(function, types.FunctionType):
            continue
        classes = space if space.get("ResNet18") is not None else _network(given)
        net, _ = build(classes.get("ResNet18"), classes.get("BasicBlock"))
        try:
            function(net, (torch.randn(1, *SHAPE),), "best_model.pth")
        except BaseException as error:
            errors.append(describe(error))
    return errors
