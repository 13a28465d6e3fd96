"""onnxruntime sessions on two tiny models, by a clock that only their runs advance."""

from __future__ import annotations

import functools
import importlib
import itertools
from pathlib import PurePath
from typing import Any, Final

import numpy as np

from lab5.assignment import IMAGE_SIZE, INPUT_NAME, NUM_CLASSES, OPSET, OUTPUT_NAME
from lab5.grading.evidence.program import Program
from lab5.grading.stand_ins import colab
from lab5.grading.stand_ins.colab import Clock
from lab5.grading.stand_ins.given import Given
from lab5.grading.stand_ins.pictures import comparison_pictures

KINDS: Final = ("fp32", "int8")
PREPROCESSING: Final = 0.0037  # seconds, which are no part of a model's time
SHAPE: Final = (3, IMAGE_SIZE, IMAGE_SIZE)

_TOLD: Final = 10  # classes

# How long a stand-in model takes for one run, by a clock that only such runs advance: the times that
# the notebook measures are known however busy the machine is.
_SECONDS: Final = (
    {"fp32": 0.00806, "int8": 0.00204},
    {"fp32": 0.01196, "int8": 0.00296},
    {"fp32": 0.00603, "int8": 0.00202},
)


def run_seconds(seed: int) -> list[dict[str, float]]:
    """Seconds of a run by kind, for each of the pictures: other ones for each, so no constant is right."""
    factors = np.random.default_rng([seed, 22]).uniform(0.9, 1.1, len(_SECONDS))
    return [
        {kind: round(value * factor, 6) for kind, value in one.items()}
        for one, factor in zip(_SECONDS, factors, strict=True)
    ]


def plain_preprocess(image: Any) -> np.ndarray:
    """A picture as (1, 3, 32, 32) float32, -1 to 1: right in form, and no answer to 2.1."""
    pixels = np.asarray(image.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE)), np.float32)
    return (pixels / 127.5 - 1).transpose(2, 0, 1)[None]


@functools.cache
def _weights(seed: int) -> dict[str, np.ndarray]:
    """(3072, 10) by kind: on the pictures, each class is among the likeliest three of some answer.

    Of many classes, as many as six answers can tell soon.
    """
    shown = np.concatenate(
        [plain_preprocess(one).reshape(1, -1) for one in comparison_pictures(seed)]
    )
    for attempt in itertools.count(100):
        rng = np.random.default_rng([seed, attempt])
        found = {
            kind: rng.normal(0, 0.03, (3 * IMAGE_SIZE**2, NUM_CLASSES)).astype(np.float32)
            for kind in KINDS
        }
        likeliest = [np.argsort(shown @ found[kind])[:, -3:] for kind in KINDS]
        if len(np.unique(likeliest)) >= min(NUM_CLASSES, _TOLD):
            return found
    raise AssertionError


@functools.cache
def stand_in_models(seed: int) -> dict[str, bytes]:
    """Two tiny models with the assignment's input and output, whose logits differ widely."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    models = {}
    for kind, weight in _weights(seed).items():
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", [INPUT_NAME], ["flat"]),
                helper.make_node("Gemm", ["flat", "weight"], [OUTPUT_NAME]),
            ],
            kind,
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", *SHAPE])],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", NUM_CLASSES])],
            [numpy_helper.from_array(weight, "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 7
        onnx.checker.check_model(model)
        models[kind] = model.SerializeToString()
    return models


def _on_one_thread() -> Any:
    """Options of a session for a tiny model: threads would take five times as long, most of it waiting."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return options


@functools.lru_cache(maxsize=len(KINDS))
def _opened(kind: str, seed: int) -> Any:
    import onnxruntime as ort

    # a thread would be missing where this was forked
    return ort.InferenceSession(stand_in_models(seed)[kind], _on_one_thread())


def logits_of(kind: str, x: np.ndarray, seed: int) -> np.ndarray:
    """What the stand-in model ``kind`` answers: (N, 3, 32, 32) -> (N, 10)."""
    found: np.ndarray
    (found,) = _opened(kind, seed).run(None, {INPUT_NAME: x})
    return found


def try_models(seed: int) -> None:
    """Run both once: what onnxruntime sets up then, and the sessions, are there before a process forks."""
    for kind in KINDS:
        logits_of(kind, np.zeros((1, *SHAPE), np.float32), seed)


class Sessions:
    """onnxruntime sessions on stand-in models, with a log of what was opened and run.

    Args:
        absent: kinds of model file that are not there until they are written.
    """

    def __init__(self, program: Program, given: Given, absent: tuple[str, ...] = ()) -> None:
        import onnxruntime as ort

        clock = self.clock = Clock()
        self.seconds = seconds = dict(run_seconds(given.seed)[0])
        log: list[dict[str, Any]] = []
        self.opened: list[dict[str, Any]] = []
        self.runs = log
        models = stand_in_models(given.seed)
        self.files = colab.Files(models, dict(given.sizes), absent)
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
                if options is None:
                    options = _on_one_thread()
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
        for text in program.strings:  # where the folder is listed
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
