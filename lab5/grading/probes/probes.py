"""What is observed of the notebook's code, in the sandbox's child process.

A probe runs one part of the notebook against stand-ins for what is slow or public (the exporter, the
quantiser, gradio, models that answer what the judge knows) and returns what happened as plain data.
It judges nothing: that is done outside, where the notebook's code cannot reach.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import inspect
import io
import sys
import types
from collections.abc import Callable, Container
from pathlib import PurePath
from typing import Any, Final

import numpy as np

from lab5.assignment import CLASSES, IMAGE_SIZE, INPUT_NAME, OPSET, OUTPUT_NAME
from lab5.grading.evidence import inputs
from lab5.grading.evidence.program import Cell, Program, statement_of
from lab5.grading.sandbox import describe
from lab5.grading.stand_ins import anything as stand_ins
from lab5.grading.stand_ins import colab
from lab5.grading.stand_ins.anything import Anything
from lab5.grading.stand_ins.colab import Clock

# How long a stand-in model takes for one run, by a clock that only such runs advance: the times that
# the notebook measures are known however busy the machine is. Other ones for every picture, so that
# no constant is right.
SECONDS: Final = (
    {"fp32": 0.00806, "int8": 0.00204},
    {"fp32": 0.01196, "int8": 0.00296},
    {"fp32": 0.00603, "int8": 0.00202},
)
KINDS: Final = ("fp32", "int8")
PREPROCESSING: Final = 0.0037  # seconds, which are no part of a model's time

_SHAPE: Final = (3, IMAGE_SIZE, IMAGE_SIZE)


def probe(job: dict[str, Any]) -> Any:
    """Make the observation ``job["probe"]`` of the notebook ``job["cells"]``."""
    name = job.pop("probe")
    if name == "reference":
        return reference()
    program = Program.of(Cell("code", source) for source in job["cells"])
    absent = stand_ins.install()
    colab.install()
    _gradio()  # the real one takes seconds to import
    _sizes.update(job.get("sizes", {}))
    return _PROBES[name](program) | {"absent": sorted(absent)}


# Stand-ins

_sizes: Final[dict[str, int]] = {}  # bytes of the hand-in's files, by kind


def stand_in_models() -> dict[str, bytes]:
    """Two tiny models with the assignment's input and output, whose logits differ widely."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    models = {}
    for seed, kind in enumerate(KINDS):
        weight = np.random.default_rng(100 + seed).normal(
            0, 0.03, (3 * IMAGE_SIZE**2, len(CLASSES))
        )
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", [INPUT_NAME], ["flat"]),
                helper.make_node("Gemm", ["flat", "weight"], [OUTPUT_NAME]),
            ],
            kind,
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", *_SHAPE])],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", len(CLASSES)])],
            [numpy_helper.from_array(weight.astype(np.float32), "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 7
        onnx.checker.check_model(model)
        models[kind] = model.SerializeToString()
    return models


def logits_of(kind: str, x: np.ndarray) -> np.ndarray:
    """What the stand-in model ``kind`` answers: (N, 3, 32, 32) -> (N, 10)."""
    import onnxruntime as ort

    return ort.InferenceSession(stand_in_models()[kind]).run(None, {INPUT_NAME: x})[0]


class Sessions:
    """onnxruntime sessions on stand-in models, with a log of what was opened and run.

    Args:
        absent: kinds of model file that are not there until they are written.
    """

    def __init__(self, program: Program, absent: tuple[str, ...] = ()) -> None:
        import onnxruntime as ort

        clock = self.clock = Clock()
        self.seconds = seconds = dict(SECONDS[0])
        log: list[dict[str, Any]] = []
        self.opened: list[dict[str, Any]] = []
        self.runs = log
        models = stand_in_models()
        self.files = colab.Files(models, _sizes, absent)
        # not ort.InferenceSession, which may be an earlier stand-in
        inner = importlib.import_module("onnxruntime.capi.onnxruntime_inference_collection")
        real, opened = inner.InferenceSession, self.opened

        class InferenceSession(real):  # type: ignore[misc, valid-type]
            def __init__(self, model: Any = None, *args: Any, **kwargs: Any) -> None:
                model = kwargs.pop("path_or_bytes", model)
                if isinstance(model, bytes | bytearray):
                    self._kind, shown = _kind_of_bytes(bytes(model)), "<bytes>"
                else:
                    self._kind, shown = colab.kind_of(str(model)), str(model)
                    if self._kind not in models:
                        raise ValueError(f"{shown} is no ONNX model")
                providers = kwargs.get("providers", args[1] if len(args) > 1 else None)
                opened.append(
                    {
                        "file": PurePath(shown.replace("\\", "/")).name,
                        "kind": self._kind,
                        "providers": [_provider(p) for p in providers or []],
                    }
                )
                options = kwargs.get("sess_options", args[0] if args else None)
                super().__init__(models[self._kind], options, providers=["CPUExecutionProvider"])

            def set_providers(self, *args: Any, **kwargs: Any) -> None:
                pass  # CUDA's are not here

            def run(self, names: Any, feed: Any, *args: Any, **kwargs: Any) -> Any:
                result = super().run(names, feed, *args, **kwargs)
                clock.now += seconds[self._kind]
                x = np.asarray(next(iter(feed.values())))
                log.append({"kind": self._kind, "x": x, "seconds": seconds[self._kind]})
                return result

        ort.InferenceSession = InferenceSession
        for text in set(program.strings()):  # where the folder is listed
            name = PurePath(text.replace("\\", "/")).name
            if name.lower().endswith(".onnx") and 5 < len(name) < 100:
                self.files.here(name)

    def space(self) -> dict[str, Any]:
        """What the notebook's code runs in."""
        return {"__builtins__": colab.notebooks_builtins(self.clock)}


def _kind_of_bytes(data: bytes) -> str:
    import onnx

    return str(onnx.load_from_string(data).graph.name)


def _provider(provider: Any) -> str:
    return str(provider[0] if isinstance(provider, tuple | list) and provider else provider)


class GradioError(Exception):
    """What ``raise gr.Error(...)`` raises."""


class Component:
    """Anything made with gradio: remembers how it was made and what was called on it."""

    def __init__(self, log: list[Component], kind: str, args: Any, kwargs: Any) -> None:
        self.kind, self.args, self.kwargs = kind, args, kwargs
        self.calls: list[tuple[str, Any, Any]] = []
        self._log = log
        log.append(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            return (self, "http://127.0.0.1:7860", None) if name == "launch" else self

        return method

    def __enter__(self) -> Component:
        return self

    def __exit__(self, *args: Any) -> None:
        pass


class Gradio(types.ModuleType):
    """A module in gradio's place: every name in it makes a ``Component``."""

    def __init__(self, name: str = "gradio", log: list[Component] | None = None) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__version__ = "6.0.0"
        self.made: list[Component] = [] if log is None else log
        self.Error = GradioError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("themes", "components", "inputs", "outputs", "templates", "blocks"):
            return sys.modules.setdefault(f"gradio.{name}", Gradio(f"gradio.{name}", self.made))
        if name in ("Progress", "Warning", "Info", "State", "Request"):
            return Anything(name)
        return lambda *args, **kwargs: Component(self.made, name, args, kwargs)


class _GradioImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, module: Gradio) -> None:
        self.module = module

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name == "gradio" or name.startswith("gradio."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        if spec.name == "gradio":
            return self.module
        return Gradio(spec.name, self.module.made)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def _gradio() -> Gradio:
    module = Gradio()
    sys.modules.pop("gradio", None)
    sys.meta_path.insert(0, _GradioImporter(module))
    return module


# The reference: none of the notebook's code runs here


def reference() -> dict[str, Any]:
    """The reference network's parameters, and its output for seeded weights."""
    import torch

    from lab5.grading.probes.seeded import INPUT, NET

    with torch.no_grad():
        return {
            "parameters": {n: list(v.shape) for n, v in NET.state_dict().items()},
            "output": NET(INPUT).numpy(),
        }


# Topic 1


def _network(program: Program) -> dict[str, Any]:
    """Build the notebook's network, and run it with the reference's seeded weights."""
    import torch

    from lab5.grading.probes.seeded import INPUT, NET

    classes = program.classes()
    block = _pick(classes, "BasicBlock", "ResBlock", "ResidualBlock", "Block")
    whole = _pick(classes, "ResNet18", "ResNet", "Net")
    found: dict[str, Any] = {"classes": classes, "block": block, "network": whole}
    if whole is None:
        return found
    space = Sessions(program).space()
    targets = [i for name in (block, whole) if name for i in program.bindings(name)]
    found["errors"] = program.run(targets, space, missing=Anything)
    net, error = _build(space.get(whole), space.get(block) if block else None)
    if net is None:
        return found | {"error": error}
    try:
        state = net.state_dict()
        found["parameters"] = {name: list(value.shape) for name, value in state.items()}
        wanted = NET.state_dict()
        if len(state) == len(wanted):
            names = list(state) if set(state) != set(wanted) else list(wanted)
            if all(state[n].shape == w.shape for n, w in zip(names, wanted.values(), strict=True)):
                net.load_state_dict(dict(zip(names, wanted.values(), strict=True)))
                net.eval()
                with torch.no_grad():
                    found["output"] = net(INPUT).detach().numpy()
    except BaseException as raised:
        found["error"] = describe(raised)
    return found


def _pick(found: list[str], *names: str) -> str | None:
    for name in names:
        for candidate in found:
            if candidate == name:
                return candidate
    for name in names:
        for candidate in found:
            if candidate.lower().replace("_", "") == name.lower():
                return candidate
    return None


def _build(network: Any, block: Any) -> tuple[Any, str]:
    """Make the network in one of the ways in which its arguments may be given."""
    first = ""
    for args, kwargs in (
        ((), {"ResBlock": block, "num_classes": len(CLASSES)}),
        ((block, len(CLASSES)), {}),
        ((block,), {}),
        ((), {"num_classes": len(CLASSES)}),
        ((), {}),
        ((block, [2, 2, 2, 2], len(CLASSES)), {}),
        ((block, [2, 2, 2, 2]), {}),
    ):
        try:
            return network(*args, **kwargs), ""
        except BaseException as error:
            first = first or describe(error)
    return None, first


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
        for node in ast.walk(statement.node):
            if isinstance(node, ast.ImportFrom) and node.module == "torch.onnx":
                found |= {a.asname or a.name for a in node.names if "export" in a.name}
            elif isinstance(node, ast.Import):
                found |= {a.asname for a in node.names if a.asname and a.name == "torch.onnx"}
    return found


def _mentions_loading(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "load_state_dict"


def _export(program: Program) -> dict[str, Any]:
    """Run what leads to ``torch.onnx.export``, with a good checkpoint and with a wrong one."""
    from lab5.model import BasicBlock, ResNet18

    found: dict[str, Any] = {"exports": []}
    own: dict[str, Any] = {}
    for instead in (own, {"BasicBlock": BasicBlock, "ResNet18": ResNet18}):
        exports, others, found["errors"] = _exports(program, instead, spoil=False)
        found["exports"], found["loaded"] = exports, exports or others
        if any(one["loaded"] for one in found["loaded"]):
            break
    exports, others, _ = _exports(program, instead, spoil=True)
    found["spoiled"] = exports or others
    return found


def _exports(
    program: Program, instead: dict[str, Any], spoil: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Each call of the exporter: what it was given; ``spoil`` misnames a tensor of the checkpoint.

    Where nothing is exported, the second list has the networks that weights were loaded into.
    """
    import torch

    from lab5.grading.probes.seeded import NET

    wanted = NET.state_dict()
    state = {
        ("fc.wrong" if spoil and n == "fc.weight" else n): v.clone() for n, v in wanted.items()
    }
    exports: list[dict[str, Any]] = []
    loaded: list[Any] = []
    tiny = stand_in_models()["fp32"]

    def load(path: Any = None, *args: Any, **kwargs: Any) -> Any:
        return {name: value.clone() for name, value in state.items()}

    def described(model: Any) -> dict[str, Any]:
        if isinstance(model, torch.nn.Module):  # to whose state_dict something may be assigned
            weights = torch.nn.Module.state_dict(model)
        else:  # of an ExportedProgram, a dict
            weights = getattr(model, "state_dict", {})
        got = {name.removeprefix("module."): value for name, value in weights.items()}
        same = all(
            n in got and got[n].shape == v.shape and torch.equal(got[n].float().cpu(), v.float())
            for n, v in wanted.items()
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
        given: Any = args[2] if len(args) > 2 else kwargs.get("f", kwargs.get("path"))
        exports.append(described(model) | {"called": bool(direct)})
        if hasattr(given, "write"):
            given.write(tiny)
        elif isinstance(given, str | PurePath):
            sessions.files.write(given, "fp32")
        return _ExportedProgram(tiny, sessions.files)

    sessions = Sessions(program, absent=("fp32", "int8"))
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
        with _quiet():
            errors = program.run(targets, space, instead=dict(instead), missing=Anything)
            if not direct:
                errors += _call_exporters(space, through)
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


def _call_exporters(space: dict[str, Any], names: set[str]) -> list[str]:
    """The notebook defines an export function and never calls it: call it as the template does."""
    import torch

    errors = ["its function is never called"]
    for name in names:
        function = space.get(name)
        if not isinstance(function, types.FunctionType):
            continue
        network, block = space.get("ResNet18"), space.get("BasicBlock")
        if network is None:
            from lab5.model import BasicBlock as block
            from lab5.model import ResNet18 as network
        net, _ = _build(network, block)
        try:
            function(net, (torch.randn(1, *_SHAPE),), "best_model.pth")
        except BaseException as error:
            errors.append(describe(error))
    return errors


def _mentions_quantize(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "quantize_static") or (
        isinstance(node, ast.Name) and node.id == "quantize_static"
    )


def _quantize(program: Program) -> dict[str, Any]:
    """Run what leads to ``quantize_static``; calibration readers and other helpers are stand-ins."""
    import onnxruntime.quantization as quantization

    calls: list[dict[str, Any]] = []

    def quantize_static(*args: Any, **kwargs: Any) -> None:
        given = dict(zip(("model_input", "model_output", "calibration_data_reader"), args))  # noqa: B905
        given.update(kwargs)
        calls.append(
            {key: _file(given.get(key)) for key in ("model_input", "model_output")}
            | {"reader": given.get("calibration_data_reader") is not None, "called": bool(direct)}
        )
        if _file(given.get("model_output")):
            sessions.files.write(given["model_output"], "int8")

    def quant_pre_process(
        input_model: Any = None, output_model_path: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        if _file(output_model_path):
            sessions.files.write(output_model_path, "fp32")

    sessions = Sessions(program, absent=("int8",))
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
    with _quiet():
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


def _session(program: Program) -> dict[str, Any]:
    """Call ``build_session`` on two models, with two lists of providers."""
    import onnxruntime as ort

    sessions = Sessions(program)
    name = _session_function(program)
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
    x = inputs.parity()[:1]
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


def _session_function(program: Program) -> str | None:
    return _pick(program.functions(), "build_session", "create_session", "make_session")


def _open(*args: Any, **kwargs: Any) -> Any:
    """A right ``build_session``, whatever its parameters are called."""
    import onnxruntime as ort

    return ort.InferenceSession(
        next(v for v in (*args, *kwargs.values()) if isinstance(v, str | PurePath))
    )


def _opened(program: Program) -> dict[str, Any]:
    """Run the notebook's own calls of ``build_session``: which files are opened."""
    import onnxruntime as ort

    sessions = Sessions(program)
    name = _session_function(program) or "build_session"

    def mentions(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name

    direct, _ = program.reaching(mentions)
    cells = sorted({program.statements[i].cell for i in direct})
    found: dict[str, Any] = {}
    for instead in ({}, {name: _open}):  # what is wrong inside it is another check's matter
        sessions.opened.clear()
        named, errors = [], []
        for cell in cells:  # a later cell may bind the same names
            space = sessions.space()
            mine = [i for i in direct if program.statements[i].cell == cell]
            with _quiet():
                errors += program.run(mine, space, instead=instead, missing=Anything)
            named += [[n, v._kind] for n, v in space.items() if isinstance(v, ort.InferenceSession)]
        found = {"opened": list(sessions.opened), "named": named, "errors": errors}
        if {one["kind"] for one in found["opened"]} == set(KINDS):
            break
    return found


# Topic 2


def _preprocess(program: Program) -> dict[str, Any]:
    """Call ``preprocess`` on many kinds of picture."""
    name = _find_function(program, "preprocess", "preprocess_image", "preprocess_input")
    found: dict[str, Any] = {"function": name, "calls": {}}
    if name is None:
        return found
    _gradio()
    space = Sessions(program).space()
    found["errors"] = program.run(program.bindings(name), space, missing=Anything)
    for label, picture in inputs.pictures().items():
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


def _find_function(program: Program, *names: str) -> str | None:
    found = [n for n in program.functions() if n != "preprocess_32x32"]
    if (name := _pick(found, *names)) is not None:
        return name
    return names[0] if program.bindings(names[0]) else None


_RESULTS: Final = ("out_fp32", "out_int8")  # what 2.2's sample calls its results, and its outputs


def _compare(program: Program) -> dict[str, Any]:
    """Call the comparison; as 2.2's ``out_fp32 = sess_fp32.run([out_fp32], …)`` cannot run, mended."""
    found = _comparison(program)
    errors = " ".join(str(call.get("error")) for call in found["calls"])
    if "UnboundLocalError" in errors and any(f"'{name}'" in errors for name in _RESULTS):
        mended = _bind_first(program, found["function"])
        found = _comparison(program) | {"mended": mended}
    return found


def _bind_first(program: Program, function: str) -> list[str]:
    """Let a function begin with the global values of the names in ``_RESULTS`` that it assigns."""
    mended: set[str] = set()
    for index, statement in enumerate(program.statements):
        node = statement.node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            assigned = {n.id for n in ast.walk(node)
                        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}  # fmt: skip
            for name in sorted(assigned.intersection(_RESULTS)):
                node.args.kwonlyargs.append(ast.arg(name))
                node.args.kw_defaults.append(ast.Name(name, ast.Load()))
                mended.add(name)
            ast.fix_missing_locations(node)
            program.statements[index] = statement_of(node, statement.cell)
    return sorted(mended)


def _comparison(program: Program) -> dict[str, Any]:
    """Call the comparison on pictures, with our ``preprocess`` or, where that fails, with its own.

    Where its ``build_session`` is at fault, a right one is in its place: that is another item's matter.
    """
    from lab5.preprocess import preprocess

    name = _find_function(program, "compare_fp32_int8", "compare", "compare_models", "predict")
    if name is None:
        name = _interface_function(program)
    found: dict[str, Any] = {"function": name, "calls": []}
    if name is None:
        return found
    ours, session = {"preprocess": preprocess}, {_session_function(program) or "": _open}
    answered: dict[str, Any] = {}  # without an error, but not by both models
    for instead in (ours, ours | session, {}, session):
        _gradio()
        sessions = Sessions(program)
        space = sessions.space()
        found["errors"] = program.run(
            program.bindings(name), space, instead=instead, missing=Anything
        )
        if callable(own := space.get("preprocess")):
            space["preprocess"] = _taking_time(own, sessions.clock)
        found["calls"] = []
        for picture, seconds in zip(inputs.comparison_pictures(), SECONDS, strict=True):
            sessions.seconds.update(seconds)
            call = _compared(space, name, picture, sessions)
            found["calls"].append(call)
            if "error" in call:
                break
        if "error" not in call and all(call[kind]["seconds"] for kind in KINDS):
            return found
        if "error" not in call:
            answered = answered or found.copy()
    return answered or found


def _taking_time(preprocess: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        clock.now += PREPROCESSING
        return preprocess(*args, **kwargs)

    return function


def _answer(value: Any) -> Any:
    """What gradio shows of a function's result: a coroutine's, the last of a generator."""
    if inspect.iscoroutine(value):
        return asyncio.run(value)
    if inspect.isasyncgen(value):

        async def last() -> Any:
            return [one async for one in value][-1]

        return asyncio.run(last())
    return list(value)[-1] if inspect.isgenerator(value) else value


def _compared(space: dict[str, Any], name: str, picture: Any, sessions: Sessions) -> dict[str, Any]:
    sessions.runs.clear()
    call: dict[str, Any] = {}
    try:
        with _quiet():
            value = _answer(space[name](picture))
        call["value"] = plain(value)
    except GradioError as error:
        call["message"] = describe(error)
    except BaseException as error:
        call["error"] = describe(error)
    for kind in KINDS:
        runs = [run for run in sessions.runs if run["kind"] == kind]
        call[kind] = {"seconds": [run["seconds"] for run in runs]}
        if (
            runs
            and isinstance(runs[-1]["x"], np.ndarray)
            and runs[-1]["x"].size <= 64 * 3 * 32 * 32
        ):
            call[kind]["x"] = runs[-1]["x"]
    return call


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


def _none(program: Program) -> dict[str, Any]:
    """Call the comparison without a picture."""
    name = _find_function(program, "compare_fp32_int8", "compare", "compare_models", "predict")
    name = name or _interface_function(program)
    found: dict[str, Any] = {"function": name}
    if name is None:
        return found
    _gradio()
    sessions = Sessions(program)
    space = sessions.space()
    found["errors"] = program.run(program.bindings(name), space, missing=Anything)
    return found | _compared(space, name, None, sessions)


def _mentions_gradio(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in (
        "Interface", "Blocks", "launch", "click", "change", "queue",
    )  # fmt: skip


def _interface_function(program: Program) -> str | None:
    """The name of the function that the page calls."""
    page = _page(program)
    names = [f["fn"] for f in page["interfaces"] if f["fn"]]
    return next((name for name in names if program.bindings(name)), None)


def _page(program: Program) -> dict[str, Any]:
    """Build the page with a stand-in for gradio: its interfaces, and how it is launched."""
    gradio = _gradio()
    sessions = Sessions(program)
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
        name: Component(gradio.made, "?", (), {})
        for name, kind in program.broken.items()
        if kind == "="
    }
    with _quiet():
        errors = program.run(direct, space, missing=_broken_function)
    if not any(call[0] == "launch" for made in gradio.made for call in made.calls):
        # the interface is at fault, which is no fault of the launch
        page = {name: Component(gradio.made, "?", (), {}) for name in _launched(program)}
        with _quiet():
            program.run(direct, sessions.space(), instead=page, missing=_broken_function)
    interfaces, launches = [], []
    for made in list(gradio.made):
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
                    _interface(args, {**kwargs, **_page_texts(gradio.made)}) | {"event": method}
                )
    for one in interfaces:
        sessions.runs.clear()
        call = one.pop("call")
        if one["fn"] != "compare_fp32_int8":  # whether that one works is another probe's matter
            with contextlib.suppress(BaseException), _quiet():
                _answer(call(inputs.comparison_pictures()[0]))
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
        for node in ast.walk(statement.node)
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


@contextlib.contextmanager
def _quiet() -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


_PROBES: Final = {
    "network": _network,
    "export": _export,
    "quantize": _quantize,
    "session": _session,
    "opened": _opened,
    "preprocess": _preprocess,
    "compare": _compare,
    "none": _none,
    "page": _page,
}
