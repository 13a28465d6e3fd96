"""The static bound, and what really happens on an emulated CPU without VNNI."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper, numpy_helper

from lab5.calibration import CIFARLikeCalibReader
from lab5.errors import QuantizationError
from lab5.quantize import quantize
from lab5.saturation import HIGHEST, LOWEST, main, saturation_bounds


def layer(kind: str, weights: np.ndarray, **attributes) -> onnx.ModelProto:
    """A graph of one node whose input 3 holds ``weights``."""
    names = [f"i{i}" for i in range(8)]
    node = helper.make_node(kind, names, ["y"], name="only", **attributes)
    graph = helper.make_graph([node], "g", [], [], [numpy_helper.from_array(weights, "i3")])
    return helper.make_model(graph)


def conv(weights: np.ndarray) -> onnx.ModelProto:
    return layer("QLinearConv", weights.reshape(*weights.shape, 1, 1))


@given(arrays(np.int8, st.tuples(st.integers(1, 3), st.integers(1, 5))))
def test_the_bound_is_the_worst_pair_of_all(weights):
    (found,) = saturation_bounds(conv(weights))
    sums, unsafe = [], 0
    for row in weights.astype(int):
        pairs = [
            a * v + b * w
            for v, w in itertools.combinations([*row, 0, 0], 2)
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
images, out, model = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
np.save(out, session.run(None, {"input": np.load(images)})[0])
"""
# A Haswell has AVX2 and no VNNI; the rest is what qemu does not emulate and would warn about.
HASWELL = "Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-rtm,-invpcid"


@pytest.mark.slow
@pytest.mark.qemu
@pytest.mark.parametrize(("name", "images"), [("ours", 24), ("full", 8)])
def test_an_older_cpu_gives_the_same_answers(files, name, images, tmp_path):
    """Our file agrees there, to one step of the output, with this CPU and with onnxruntime told to
    saturate nowhere; that the full-range file does not shows that the emulation takes the saturating
    path, and that this comparison can fail on a CPU that saturates itself, too."""
    import onnxruntime as ort

    from lab5.session import PROVIDERS, build_session

    qemu = shutil.which("qemu-x86_64")
    need(qemu, "qemu-x86_64 is missing: apt-get install qemu-user")
    model, x = files / f"{name}.onnx", CIFARLikeCalibReader(batch_size=images, num_batches=1)
    np.save(tmp_path / "x.npy", x.batches[0])
    arguments = (tmp_path / "x.npy", tmp_path / "y.npy", model)
    subprocess.run(
        [qemu, "-cpu", HASWELL, sys.executable, "-c", ON_A_CPU, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=True,
        timeout=600,
    )
    there = np.load(tmp_path / "y.npy")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    exact = ort.InferenceSession(str(model), options, providers=PROVIDERS)
    stored = {t.name: t for t in onnx.load(model).graph.initializer}
    step = float(numpy_helper.to_array(stored["output_scale"]))
    feed = {"input": x.batches[0]}
    if name == "ours":
        for session in (exact, build_session(str(model), PROVIDERS)):
            here = session.run(None, feed)[0]
            assert np.abs(here - there).max() / step < 1.001
            assert (here.argmax(1) == there.argmax(1)).all()
    else:
        assert np.abs(exact.run(None, feed)[0] - there).max() / step > 1.5
