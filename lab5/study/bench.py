"""How good and how fast is the INT8 file? Two tables, each from one command.

``python -m lab5.bench``            speed by engine, accuracy and agreement of each beside it
``python -m lab5.bench --quality``  accuracy and agreement by calibration

All engines run by turns in one process, so that each meets the same machine; what is given is the
median of the turns and the middle half of them. Peers (OpenVINO; NNCF) join where they are
installed: ``pip install 'lab5[peers]'``. Top-1, agreement and relative L2 are those of lab5.study.evaluate.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab5.assignment import INPUT_NAME
from lab5.cli import without_advice
from lab5.files import sha256
from lab5.text import Text, in_a_line

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from lab5.study.data import Cifar10, Split

Runner = Callable[[np.ndarray], np.ndarray]  # (N, 3, 32, 32) float32 -> (N, 10) logits

CONFIGURATIONS: Final = ((1, 1), (64, 1), (1, 2), (64, 2))  # batch, threads; threads in order
OURS: Final = "ONNX Runtime INT8 (ours)"  # what lab5.package makes by default
REFERENCE: Final = "ONNX Runtime FP32"
_TURN: Final = 0.03  # seconds an engine runs before it is the next one's turn


@dataclass(frozen=True)
class Engine:
    """Something that runs the network."""

    name: str
    make: Callable[[int], Runner]  # for a number of threads; ImportError when not installed


@dataclass(frozen=True)
class Speed:
    """Milliseconds an image over ``turns`` turns."""

    batch: int
    threads: int
    median: float
    p25: float
    p75: float
    turns: int


@dataclass(frozen=True)
class Answers:
    """What a model says on ``images`` test images, beside FP32 in ONNX Runtime."""

    images: int
    top1: float | None  # percent; None without labels
    drop: float | None  # percentage points below FP32
    interval: tuple[float, float] | None  # 95% confidence interval of ``drop``, paired
    p_value: float | None  # McNemar's exact test
    agreement: float  # percent
    relative_l2: float


@dataclass(frozen=True)
class Row:
    name: str
    missing: str | None = None  # why there are no figures
    speeds: tuple[Speed, ...] = ()
    answers: Answers | None = None


# The files and the engines


def write_files(model: nn.Module, folder: Path, images: np.ndarray) -> dict[str, Path]:
    """The files that the engines compare.

    ``fp32`` and ``ours``: the package's pair. ``literal``: the assignment's call as it is printed, on its
    random images, as ``ours`` is. On ``images``: ``synthetic``, refined; ``int8``: the assignment's
    call with the format as the enum that was meant; ``qdq``: ours in QDQ format.
    """
    from onnxruntime.quantization import QuantFormat, QuantType

    from lab5.calibration import BatchReader, even_batches, handed_out_reader
    from lab5.models import Pair, make_pair
    from lab5.quantize import quantize
    from lab5.study.refine import refine_int8

    def reader() -> BatchReader:
        return BatchReader(even_batches(images), INPUT_NAME)

    names = ("fp32", "ours", "synthetic", "literal", "int8", "qdq")
    files = {name: folder / f"{name}.onnx" for name in names}
    fp32 = files["fp32"]
    make_pair(model, Pair(fp32, files["ours"]))
    quantize(fp32, files["synthetic"], reader(), improve=refine_int8)
    _quantize(fp32, files["literal"], handed_out_reader(), quant_format="QOperator")
    _quantize(fp32, files["int8"], reader(), quant_format=QuantFormat.QOperator)
    unsigned = {"activation_type": QuantType.QUInt8, "reduce_range": True}
    _quantize(fp32, files["qdq"], reader(), quant_format=QuantFormat.QDQ, **unsigned)
    return files


def _quantize(fp32: Path, int8: Path, reader: Any, **settings: Any) -> None:
    """onnxruntime's call with what the assignment prints, unless ``settings`` say otherwise."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    literal = {
        "per_channel": True,
        "weight_type": QuantType.QInt8,
        "calibrate_method": CalibrationMethod.MinMax,
    }
    with without_advice():
        quantize_static(str(fp32), str(int8), reader, **{**literal, **settings})


def engines(model: nn.Module, files: dict[str, Path], images: np.ndarray) -> list[Engine]:
    """Everything that is compared; ``REFERENCE`` first."""
    fp32 = files["fp32"]
    return [
        Engine(REFERENCE, _onnxruntime(fp32)),
        Engine("PyTorch eager FP32", _pytorch(model)),
        Engine(OURS, _onnxruntime(files["ours"])),
        Engine("the same, --calibration synthetic", _onnxruntime(files["synthetic"])),
        Engine(
            "the assignment read literally: QDQ, int8 activations", _onnxruntime(files["literal"])
        ),
        Engine("QOperator, int8 activations", _onnxruntime(files["int8"])),
        Engine("QDQ, uint8 activations", _onnxruntime(files["qdq"])),
        # by itself it takes bfloat16 where the processor has it
        Engine("OpenVINO FP32", _openvino(fp32, INFERENCE_PRECISION_HINT="f32")),
        Engine("OpenVINO on the QDQ file", _openvino(files["qdq"])),
        Engine("OpenVINO INT8 by NNCF, same images", _nncf(fp32, images)),
    ]


def _onnxruntime(path: Path) -> Callable[[int], Runner]:
    def make(threads: int) -> Runner:
        from lab5.session import build_timed_session

        session = build_timed_session(str(path), threads)
        return lambda x: session.run(None, {INPUT_NAME: x})[0]

    return make


def _pytorch(model: nn.Module) -> Callable[[int], Runner]:
    def make(threads: int) -> Runner:
        import torch

        torch.set_num_threads(threads)

        def run(x: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                logits: np.ndarray = model(torch.from_numpy(x)).numpy()
                return logits

        return run

    return make


def _openvino(path: Path, **settings: str) -> Callable[[int], Runner]:
    def make(threads: int) -> Runner:
        import openvino

        return _compiled(openvino.Core().read_model(path), threads, **settings)

    return make


def _nncf(path: Path, images: np.ndarray) -> Callable[[int], Runner]:
    def make(threads: int) -> Runner:
        import nncf
        import openvino

        data = nncf.Dataset([image[None] for image in images])
        model = openvino.Core().read_model(path)
        return _compiled(nncf.quantize(model, data, subset_size=len(images)), threads)

    return make


def _compiled(model: Any, threads: int, **settings: str) -> Runner:
    import openvino

    common = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model, "CPU", common | settings)
    return lambda x: compiled(x)[0]


# Speed


def measure_speed(
    runners: dict[str, Runner], batch: int, threads: int, seconds: float
) -> dict[str, Speed]:
    """Run all of them by turns for about ``seconds`` each."""
    x = np.random.default_rng(0).standard_normal((batch, 3, 32, 32), dtype=np.float32)
    repeats, times = {}, {name: [] for name in runners}  # type: ignore[var-annotated]
    for name, run in runners.items():
        run(x)  # allocates
        start = time.perf_counter()
        run(x)
        repeats[name] = max(1, round(_TURN / (time.perf_counter() - start)))
    end = time.perf_counter() + seconds * len(runners)
    while time.perf_counter() < end or not min(map(len, times.values())):
        for name, run in runners.items():
            run(x)  # wakes its threads and fills the caches after the others' turns
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run(x)
            times[name].append((time.perf_counter() - start) / repeats[name] / batch * 1000)
    result = {}
    for name, values in times.items():
        p25, median, p75 = map(float, np.percentile(values, (25, 50, 75)))
        result[name] = Speed(batch, threads, median, p25, p75, len(values))
    return result


def macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of one image through an FP32 file's convolutions and classifier."""
    import onnx

    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    weights = {t.name: list(t.dims) for t in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            positions = shapes[node.output[0]][2:] if node.op_type == "Conv" else []
            total += int(np.prod([*weights[node.input[1]], *positions]))
    return total


def multiply_rate(seconds: float) -> float:
    """The most int8 multiply-accumulates a second that onnxruntime reaches here on one thread.

    MatMulInteger of uint8 by constant int8, (256, 1024) x (1024, 256), everything in the cache; the
    fastest of all runs.
    """
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    m, k, n = 256, 1024, 256
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.integers(-64, 64, (k, n), dtype=np.int8), "b")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [m, k])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [m, n])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)
    a = random.integers(0, 255, (m, k), dtype=np.uint8)
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, {"a": a})
        fastest = min(fastest, time.perf_counter() - start)
    return m * k * n / fastest


# Answers


def judge(run: Runner, split: Split, reference: np.ndarray | None) -> tuple[Answers, np.ndarray]:
    """The answers on ``split`` beside the ``reference`` logits (None: beside themselves)."""
    from lab5.study.evaluate import agreement, in_batches, paired, relative_l2, top1

    logits = in_batches(split.images, run)
    if reference is None:
        reference = logits
    pair = paired(reference, logits, split.labels)
    low, high = pair.interval
    return Answers(
        images=len(split),
        top1=top1(logits, split.labels),
        drop=-pair.difference,
        interval=(-high, -low),
        p_value=pair.p_value,
        agreement=agreement(logits, reference),
        relative_l2=relative_l2(logits, reference),
    ), logits


def bench(
    weights: Path,
    split: Split | None,
    seconds: float = 2.0,
    configurations: tuple[tuple[int, int], ...] = CONFIGURATIONS,
) -> dict[str, Any]:
    """Speed of every engine, and its answers on ``split``; plain JSON values.

    Args:
        split: test images; None leaves the answers out.
        seconds: for each engine in each of the ``configurations`` (batch, threads).

    Raises:
        CheckpointError, ExportError, QuantizationError: as the steps raise them.
    """
    import onnx

    from lab5.checkpoint import open_model
    from lab5.study.synthetic import synthetic_images

    model = open_model(weights)
    images = synthetic_images(model)
    with tempfile.TemporaryDirectory() as name:
        files = write_files(model, Path(name), images)
        competitors = engines(model, files, images)
        missing: dict[str, str] = {}
        answers: dict[str, Answers] = {}
        speeds: dict[str, list[Speed]] = {engine.name: [] for engine in competitors}
        reference = None
        runners: dict[str, Runner] = {}
        for count in sorted({threads for _, threads in configurations}):
            runners = _started(competitors, count, missing)
            for batch in [b for b, threads in configurations if threads == count]:
                for key, speed in measure_speed(runners, batch, count, seconds).items():
                    speeds[key].append(speed)
        if split is not None:
            for key, run in runners.items():
                answers[key], logits = judge(run, split, reference)
                reference = logits if reference is None else reference
        work, rate = macs(onnx.load(files["fp32"])), multiply_rate(seconds)
    rows = [
        Row(e.name, missing.get(e.name), tuple(speeds[e.name]), answers.get(e.name))
        for e in competitors
    ]
    return {
        "rows": [dataclasses.asdict(row) for row in rows],
        "floor": {"macs": work, "macs_per_second": rate, "ms": work / rate * 1000},
        **_circumstances(weights),
    }


def _started(competitors: list[Engine], threads: int, missing: dict[str, str]) -> dict[str, Runner]:
    """Those that start; why the others do not goes into ``missing``."""
    runners = {}
    for engine in competitors:
        try:
            runners[engine.name] = engine.make(threads)
        except ImportError as error:
            install = "pip install 'lab5[peers]'"
            text = Text(
                f"{error.name} is not installed: {install}", f"未安裝 {error.name}：{install}"
            )
            missing[engine.name] = in_a_line(text)
        except Exception as error:  # a peer's own failure must not end the run
            missing[engine.name] = f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
    return runners


def _circumstances(weights: Path) -> dict[str, Any]:
    from lab5.study.machine import this_machine

    machine = dataclasses.asdict(this_machine())
    return {
        "machine": machine,
        "date": time.strftime("%Y-%m-%d"),
        "weights": {
            "name": weights.name,
            "sha256": sha256(weights),
        },
    }


# Quality by calibration


def calibrations(
    model: nn.Module, dataset: Cifar10
) -> dict[str, tuple[list[np.ndarray], dict[str, Any]]]:
    """Batches that INT8 is calibrated on, by name, and the settings that differ from ``synthetic``'s.

    ``refine=False`` leaves lab5.study.refine out; the others are onnxruntime's.
    """
    from lab5.calibration import even_batches, handed_out_reader
    from lab5.preprocess import preprocess_batch
    from lab5.study.synthetic import dead_leaves, synthetic_images

    noise = handed_out_reader().batches
    uniform = np.random.default_rng(0).random((50, 3, 32, 32), dtype=np.float32)
    real = preprocess_batch(dataset.train.images[:500])
    synthetic = synthetic_images(model)
    leaves = preprocess_batch(dead_leaves(len(synthetic)))
    few, made = even_batches(real[:100]), even_batches(synthetic)
    return {
        "50 random normal images, without lab5.study.refine (random, the default)": (
            noise,
            {"refine": False},
        ),
        "50 random normal images": (noise, {}),
        "50 random uniform 0..1 images (refused by lab5.quantize)": (even_batches(uniform), {}),
        f"{len(synthetic)} dead-leaves images": (even_batches(leaves), {}),
        f"{len(synthetic)} synthetic images (synthetic)": (made, {}),
        "the same, another seed": (even_batches(synthetic_images(model, seed=1)), {}),
        "the same, without lab5.study.refine": (made, {"refine": False}),
        "the same, 8-bit weights without it (overflows without VNNI)": (
            made,
            {"refine": False, "reduce_range": False},
        ),
        "the same, percentile 99.999": (made, {"calibrate_method": "Percentile"}),
        "100 training images": (few, {}),
        "100 training images, without lab5.study.refine": (few, {"refine": False}),
        "500 training images": (even_batches(real), {}),
    }


def quality(weights: Path, dataset: Cifar10, images: int | None = None) -> dict[str, Any]:
    """The answers of INT8 for each of ``calibrations`` on the test images; plain JSON values.

    Quantised by onnxruntime's own call: among them are settings that ``lab5.quantize`` refuses.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType

    from lab5.calibration import BatchReader
    from lab5.checkpoint import open_model
    from lab5.export import export_fp32
    from lab5.study.refine import refine_int8

    model = open_model(weights)
    split = dataset.test.first(images)
    with tempfile.TemporaryDirectory() as name:
        fp32, int8 = Path(name) / "fp32.onnx", Path(name) / "int8.onnx"
        export_fp32(model, fp32)
        found, reference = judge(_onnxruntime(fp32)(2), split, None)
        rows = [Row("FP32", answers=found)]
        for title, (batches, changed) in calibrations(model, dataset).items():
            settings: dict[str, Any] = {"reduce_range": True, **changed}
            if method := settings.pop("calibrate_method", None):
                settings["calibrate_method"] = CalibrationMethod[method]
            refined = settings.pop("refine", True)
            reader = BatchReader(batches, INPUT_NAME)
            _quantize(
                fp32,
                int8,
                reader,
                quant_format=QuantFormat.QOperator,
                activation_type=QuantType.QUInt8,
                **settings,
            )
            if refined:
                refine_int8(fp32, int8, reader)
            rows.append(Row(title, answers=judge(_onnxruntime(int8)(2), split, reference)[0]))
    return {"rows": [dataclasses.asdict(row) for row in rows], **_circumstances(weights)}
