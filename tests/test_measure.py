"""The report's figures, on tiny models whose answers are known."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from lab5.assignment import CLASSES
from lab5.calibration import CIFARLikeCalibReader
from lab5.errors import ReportError, UsageError
from lab5.quantize import quantize_to_int8
from lab5.report.measure import EXAMPLES, SYNTHETIC_IMAGES, Measurements, measure
from lab5.study.data import Cifar10, Split
from lab5.study.machine import this_machine

QUICK = {"seconds": 0.05}


def write_model(path: Path, seed: int, *, noise: float = 0.0, batch: int | str = "N") -> Path:
    """A classifier with one convolution and random weights, in the assignment's shapes."""
    rng = np.random.default_rng(seed)
    weights = {
        "w": rng.standard_normal((8, 3, 4, 4)),
        "b": rng.standard_normal(8),
        "fc": rng.standard_normal((8 * 64, 10)) / 20,
        "fb": rng.standard_normal(10) / 20,
    }
    weights["fc"] = weights["fc"] + noise * np.random.default_rng(seed + 1).standard_normal(
        (512, 10)
    )
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "w", "b"], ["c"], strides=[4, 4]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Flatten", ["r"], ["f"]),
            helper.make_node("Gemm", ["f", "fc", "fb"], ["output"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """An FP32 model and its QOperator INT8 file."""
    folder = tmp_path_factory.mktemp("pair")
    fp32 = write_model(folder / "a_FP32.onnx", 1)
    quantize_to_int8(str(fp32), str(folder / "a_INT8.onnx"), CIFARLikeCalibReader(num_batches=2))
    return fp32, folder / "a_INT8.onnx"


@pytest.fixture(scope="module")
def different(tmp_path_factory) -> tuple[Path, Path]:
    """Two models that often disagree."""
    folder = tmp_path_factory.mktemp("different")
    return write_model(folder / "a.onnx", 1), write_model(folder / "b.onnx", 1, noise=0.03)


@pytest.fixture(scope="module")
def dataset() -> Cifar10:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (80, 8, 8, 3), np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    test = Split(images, rng.integers(0, 10, 80))
    return Cifar10(test.first(0), test)


def answers(path: Path, test: Split) -> np.ndarray:
    """(N,) classes, by a session of the test's own."""
    import onnxruntime as ort

    from lab5.preprocess import preprocess

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = (preprocess(Image.fromarray(image)) for image in test.images)
    return np.array([session.run(None, {"input": x})[0].argmax() for x in inputs])


def test_counts_are_those_of_the_answers(different, dataset):
    m = measure(*different, dataset, images=None, **QUICK)
    first, second = (answers(path, dataset.test) for path in different)
    labels = dataset.test.labels
    a = m.accuracy
    assert a is not None
    assert (a.images, a.available) == (80, 80)
    assert (a.fp32, a.int8) == ((first == labels).sum(), (second == labels).sum())
    assert a.only_fp32 == ((first == labels) & (second != labels)).sum()
    assert a.only_int8 == ((first != labels) & (second == labels)).sum()
    assert m.agreement.same == (first == second).sum() < 80
    assert [c.name for c in a.classes] == list(CLASSES)
    for i, c in enumerate(a.classes):
        mine = labels == i
        assert (c.images, c.fp32) == (mine.sum(), (first[mine] == i).sum())
        assert c.int8 == (second[mine] == i).sum()


def test_confusions_that_changed(different, dataset):
    m = measure(*different, dataset, images=None, **QUICK)
    first, second = (answers(path, dataset.test) for path in different)
    labels = dataset.test.labels
    assert m.accuracy is not None
    found = {(c.label, c.predicted): (c.fp32, c.int8) for c in m.accuracy.confusions}
    for i, label in enumerate(CLASSES):
        for j, predicted in enumerate(CLASSES):
            counts = tuple(int(((labels == i) & (x == j)).sum()) for x in (first, second))
            changed = i != j and counts[0] != counts[1]
            assert found.get((label, predicted)) == (counts if changed else None)
    changes = [abs(c.fp32 - c.int8) for c in m.accuracy.confusions]
    assert changes == sorted(changes, reverse=True)


def test_confidence_of_changed_answers(different, dataset):
    agreement = measure(*different, dataset, images=None, **QUICK).agreement
    assert agreement.changed_confidence is not None
    assert 0.1 <= agreement.changed_confidence <= 1
    assert 0.1 <= agreement.confidence <= 1


def test_a_model_agrees_with_itself(different, dataset):
    m = measure(different[0], different[0], dataset, **QUICK)
    assert (m.agreement.same, m.agreement.relative_l2) == (80, 0)
    assert m.agreement.changed_confidence is None
    assert m.accuracy is not None
    assert (m.accuracy.only_fp32, m.accuracy.only_int8, m.accuracy.confusions) == (0, 0, ())
    assert m.size_cut == 0


@pytest.mark.parametrize(("images", "used"), [(30, 30), (500, 80), (None, 80)])
def test_no_more_images_than_asked_for(pair, dataset, images, used):
    m = measure(*pair, dataset, images=images, **QUICK)
    assert m.accuracy is not None
    assert m.accuracy.images == m.agreement.images == used
    assert m.accuracy.available == 80
    assert not m.agreement.synthetic


@pytest.mark.parametrize("empty", [None, "no test split"])
def test_without_the_data_set(pair, dataset, empty):
    m = measure(*pair, Cifar10(dataset.test, dataset.test.first(0)) if empty else None, **QUICK)
    assert m.accuracy is None
    assert m.agreement.synthetic
    assert m.agreement.images == SYNTHETIC_IMAGES
    assert all(example.label in CLASSES for example in m.examples)
    assert measure(*pair, None, **QUICK).agreement == m.agreement  # seeded


def test_examples_show_where_the_models_differ(different, dataset):
    m = measure(*different, dataset, images=None, **QUICK)
    assert len(m.examples) == EXAMPLES
    differ = [x.fp32[0][0] != x.int8[0][0] for x in m.examples]
    assert all(differ[: EXAMPLES // 2])
    for example in m.examples:
        with Image.open(io.BytesIO(base64.b64decode(example.png))) as image:
            assert image.size == (32, 32)
        for top in (example.fp32, example.int8):
            probabilities = [p for _, p in top]
            assert len(top) == 3
            assert probabilities == sorted(probabilities, reverse=True)
            assert sum(probabilities) <= 1 + 1e-6


def test_latency_is_a_distribution(pair):
    m = measure(*pair, None, **QUICK)
    for latency in (m.fp32_latency, m.int8_latency):
        assert 0 < latency.p5 <= latency.p25 <= latency.median <= latency.p75 <= latency.p95
        assert latency.runs >= 15  # three turns, however short the time
    assert m.fp32_latency.runs == m.int8_latency.runs  # by turns
    assert m.speedup == m.fp32_latency.median / m.int8_latency.median
    assert 0 < m.cpu_share < 1.1  # one thread: never more than a core, clocks' steps aside


def test_layers_of_a_quantised_pair(pair):
    layers = measure(*pair, None, **QUICK).sqnr
    weights = [layer.weight for layer in layers if layer.weight is not None]
    assert len(weights) == 2  # the convolution and the Gemm
    assert all(20 < db < 60 for db in weights)  # 7 bits: about 40 dB


def test_layers_of_an_unquantised_pair_are_left_out(different):
    assert measure(*different, None, **QUICK).sqnr == ()


def test_external_data_counts(pair, tmp_path):
    fp32 = tmp_path / "x.onnx"
    model = onnx.load(pair[0])
    onnx.save(model, fp32, save_as_external_data=True, location="x.onnx.data", size_threshold=0)
    m = measure(fp32, pair[1], None, **QUICK)
    assert m.fp32_bytes == fp32.stat().st_size + (tmp_path / "x.onnx.data").stat().st_size


def test_fixed_batch_axis(tmp_path, dataset):
    fixed = write_model(tmp_path / "fixed.onnx", 1, batch=1)
    free = write_model(tmp_path / "free.onnx", 1)
    m = measure(fixed, free, dataset, **QUICK)
    assert m.agreement.same == 80
    assert m.agreement.relative_l2 < 1e-5


def test_machine_is_described(pair):
    machine = measure(*pair, None, **QUICK).machine
    assert machine.cpu
    assert machine.cores >= 1
    assert {"python", "onnxruntime"} <= set(machine.versions)


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("model name : X\nflags\t\t: fpu avx2 avx512_vnni\n", ("avx512_vnni",)),
        ("flags : fma avx2\n", ()),
        ("Features : fp asimd asimddp i8mm\n", ("asimddp", "i8mm")),
        ("no flags at all", None),
        (None, None),  # no such file, as on Windows and macOS
    ],
)
def test_what_the_cpu_has_for_int8(tmp_path, cpuinfo, found):
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert this_machine(tmp_path / "cpuinfo").int8_instructions == found


def test_is_plain_json(pair, dataset):
    m = measure(*pair, dataset, **QUICK)
    plain = json.loads(json.dumps(dataclasses.asdict(m), allow_nan=False))
    assert set(plain) == {field.name for field in dataclasses.fields(Measurements)}
    assert plain["accuracy"]["images"] == 80


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_no_model(pair, tmp_path, content):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    for files in ((path, pair[1]), (pair[0], path)):
        with pytest.raises((ReportError, UsageError), match=r"bad\.onnx"):
            measure(*files, None, **QUICK)


@pytest.mark.cifar10
def test_real_images(pair, cifar10):
    m = measure(*pair, cifar10, **QUICK)
    assert m.accuracy is not None
    assert m.accuracy.available == 10_000
    assert sum(c.images for c in m.accuracy.classes) == m.accuracy.images < 1_000
