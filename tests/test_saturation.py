"""The static bound, and what really happens on an emulated CPU without VNNI."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from lab5.calibration import CIFARLikeCalibReader
from lab5.commands.saturation import main
from lab5.errors import QuantizationError
from lab5.quantize import quantize
from lab5.session import PROVIDERS, build_session
from lab5.study.saturation import HIGHEST, LOWEST, saturation_bounds


def layer(kind: str, weights: np.ndarray, **attributes) -> onnx.ModelProto:
    """A graph of one node whose input 3 holds ``weights``."""
    names = [f"i{i}" for i in range(8)]
    node = helper.make_node(kind, names, ["y"], name="only", **attributes)
    graph = helper.make_graph([node], "g", [], [], [numpy_helper.from_array(weights, "i3")])
    return helper.make_model(graph)


def conv(weights: np.ndarray) -> onnx.ModelProto:
    return layer("QLinearConv", weights.reshape(*weights.shape, 1, 1))


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


def in_order(weights: np.ndarray) -> list[list[int]]:
    """Each output channel's weights as kernels take them: rows, columns, input channels innermost."""
    _, inside, height, width = weights.shape
    return [
        [int(w[i, y, x]) for y in range(height) for x in range(width) for i in range(inside)]
        for w in weights
    ]


@given(arrays(np.int8, SHAPES))
def test_the_bound_is_the_worst_pair_of_neighbours(weights):
    (found,) = saturation_bounds(layer("QLinearConv", weights))
    sums, unsafe = [], 0
    for row in in_order(weights):
        pairs = [
            a * v + b * w
            for v, w in itertools.pairwise([*row, 0])
            for a in (0, 255)
            for b in (0, 255)
        ]
        sums += pairs
        unsafe += min(pairs) < LOWEST or max(pairs) > HIGHEST
    assert (found.low, found.high, found.unsafe) == (min(sums), max(sums), unsafe)
    assert found.channels == len(weights)
    assert found.safe == (unsafe == 0)


@pytest.mark.parametrize(("pair", "safe"), [((64, 64), True), ((64, 65), False), ((-64, -64), True),
                                            ((-64, -65), False), ((127, -128), True)])  # fmt: skip
def test_the_edge_of_16_bits(pair, safe):
    assert saturation_bounds(conv(np.array([pair], np.int8)))[0].safe is safe


@pytest.mark.parametrize(("kind", "attributes"), [("QGemm", {"transB": 0}), ("QLinearMatMul", {})])
def test_matrices_sum_over_their_rows(kind, attributes):
    weights = np.array([[100, 0], [0, 100]], np.int8)  # each column alone holds one large weight
    assert saturation_bounds(layer(kind, weights, **attributes))[0].safe
    weights = np.array([[100, 0], [100, 0]], np.int8)
    (bound,) = saturation_bounds(layer(kind, weights, **attributes))
    assert (bound.unsafe, bound.channels) == (1, 2)


def test_transposed_matrices_sum_over_their_columns():
    weights = np.array([[100, 100], [0, 0]], np.int8)
    assert saturation_bounds(layer("QGemm", weights, transB=1))[0].unsafe == 1


def test_uint8_weights_do_not_count():
    with pytest.raises(QuantizationError, match="no layer"):
        saturation_bounds(conv(np.full((1, 2), 255, np.uint8)))


# Two files of the repository's weights: ours, and one whose weights use all 8 bits


def full_range(fp32, int8):
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        str(fp32),
        str(int8),
        CIFARLikeCalibReader(batch_size=16, num_batches=1),
        quant_format=QuantFormat.QOperator,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


@pytest.fixture(scope="module")
def files(fp32, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    quantize(fp32, folder / "ours.onnx", CIFARLikeCalibReader(batch_size=16, num_batches=1))
    full_range(fp32, folder / "full.onnx")
    return folder


def test_our_file_is_safe_and_a_full_range_one_is_not(files, capsys):
    ours = saturation_bounds(onnx.load(files / "ours.onnx"))
    assert len(ours) == 21  # 20 convolutions and the classifier
    assert all(bound.safe for bound in ours)
    full = saturation_bounds(onnx.load(files / "full.onnx"))
    assert not any(bound.safe for bound in full)
    assert main([str(files / "ours.onnx")]) == 0
    assert main([str(files / "full.onnx")]) == 1
    assert "reduce_range=True" in capsys.readouterr().err


ON_A_CPU = """
import sys
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
for images, out, model in zip(*[iter(sys.argv[1:])] * 3):
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    np.save(out, session.run(None, {"input": np.load(images)})[0])
"""
# A Haswell has AVX2 and no VNNI; the rest is what qemu does not emulate and would warn about.
HASWELL = "Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-rtm,-invpcid"


def on_haswell(*arguments) -> None:
    """Run models there: for each its input, where its output goes, and the file."""
    qemu = shutil.which("qemu-x86_64")
    need(qemu, "qemu-x86_64 is missing: apt-get install qemu-user")
    subprocess.run(
        [qemu, "-cpu", HASWELL, sys.executable, "-c", ON_A_CPU, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=True,
        timeout=600,
    )


# Who meets whom: a layer with an output channel for each two of its weights, all else 0

WHOLE = {
    "3x3, 3 channels": (3, 3, 3),
    "3x3, 8 channels": (8, 3, 3),
    "1x1": (12, 1, 1),
    "matrix": (21,),
}


def all_pairs(path, shape):
    """Write a layer whose channel c has 127 at the c-th two places, in the kernel's order.

    Its input, all 255, and the places of each channel.
    """
    places = list(itertools.combinations(range(int(np.prod(shape))), 2))
    rows = np.zeros((len(places), int(np.prod(shape))), np.int8)
    for row, pair in zip(rows, places, strict=True):
        row[list(pair)] = 127
    kind, weights = "QGemm", rows
    if len(shape) == 3:
        inside, *size = shape
        kind, weights = "QLinearConv", np.moveaxis(rows.reshape(-1, *size, inside), -1, 1)
    names = ["input", "s", "z", "w", "ws", "wz", *([""] if kind == "QGemm" else []), "ys", "z"]
    attributes = {"transB": 1, "domain": "com.microsoft"} if kind == "QGemm" else {}
    stored = {
        "s": np.float32(1),
        "z": np.uint8(0),
        "w": np.ascontiguousarray(weights),
        "ws": np.ones(len(places), np.float32),
        "wz": np.zeros(len(places), np.int8),
        "ys": np.float32(2 * 127),  # so that a sum that fits is 255
    }
    x = np.full((1, *shape), 255, np.uint8)
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["output"], **attributes)],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("output", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=7), path)
    return x, places


def met(output, places):
    """Those whose products were added in 16 bits, which cut the sum off."""
    return {pair for pair, value in zip(places, output.reshape(-1), strict=True) if value < 255}


@pytest.mark.parametrize("shape", WHOLE.values(), ids=WHOLE)
def test_only_neighbours_meet_here(shape, tmp_path):
    """On this CPU, which may have VNNI: then nobody meets."""
    x, places = all_pairs(tmp_path / "m.onnx", shape)
    output = build_session(str(tmp_path / "m.onnx"), PROVIDERS).run(None, {"input": x})[0]
    assert all(second == first + 1 for first, second in met(output, places))


@pytest.mark.slow
@pytest.mark.qemu
def test_the_first_meets_the_second_and_the_third_the_fourth_on_an_older_cpu(tmp_path):
    arguments, wanted = [], []
    for name, shape in WHOLE.items():
        x, places = all_pairs(tmp_path / f"{name}.onnx", shape)
        np.save(tmp_path / f"{name}.x.npy", x)
        arguments += [tmp_path / f"{name}{end}" for end in (".x.npy", ".y.npy", ".onnx")]
        wanted.append((tmp_path / f"{name}.y.npy", places, int(np.prod(shape))))
    on_haswell(*arguments)
    for path, places, size in wanted:
        assert met(np.load(path), places) == {(i, i + 1) for i in range(0, size - 1, 2)}


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize(("name", "images"), [("ours", 24), ("full", 8)])
def test_an_older_cpu_gives_the_same_answers(files, name, images, tmp_path):
    """Our file agrees there, to one step of the output, with this CPU and with onnxruntime told to
    saturate nowhere; that the full-range file does not shows that the emulation takes the saturating
    path, and that this comparison can fail on a CPU that saturates itself, too."""
    model, x = files / f"{name}.onnx", CIFARLikeCalibReader(batch_size=images, num_batches=1)
    np.save(tmp_path / "x.npy", x.batches[0])
    on_haswell(tmp_path / "x.npy", tmp_path / "y.npy", model)
    there = np.load(tmp_path / "y.npy")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    exact = ort.InferenceSession(str(model), options, providers=PROVIDERS)
    step = float(np.ptp(there)) / 255  # of logits stored in 8 bits
    feed = {"input": x.batches[0]}
    if name == "ours":
        for session in (exact, build_session(str(model), PROVIDERS)):
            here = session.run(None, feed)[0]
            assert np.abs(here - there).max() / step < 1.001
            assert (here.argmax(1) == there.argmax(1)).all()
    else:
        assert np.abs(exact.run(None, feed)[0] - there).max() / step > 1.5
