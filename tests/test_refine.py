"""Finer weights and corrected biases: nearer to FP32, and still safe and honest."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import TensorProto, helper, numpy_helper

from lab5.calibration import BatchReader
from lab5.evaluate import relative_l2
from lab5.quantize import quantize, quantize_to_int8, verify_int8
from lab5.refine import channel_means, refine_int8, safe_scales
from lab5.saturation import saturation_bounds
from lab5.session import PROVIDERS, build_session

WEIGHTS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-100, 100, width=32),
)


@given(WEIGHTS)
def test_scales_are_safe_and_every_weight_is_within_half_a_step(weights):
    scales = safe_scales(weights)
    integers = np.rint(weights / scales[:, None].astype(float))
    assert np.abs(integers).max() <= 127
    assert (np.abs(integers * scales[:, None] - weights) <= scales[:, None] * 0.5001).all()
    ordered = np.sort(np.pad(integers, ((0, 0), (0, 2))), axis=1)  # the partner may be padding
    assert (255 * ordered[:, -2:].sum(1) < 2**15).all()
    assert (255 * ordered[:, :2].sum(1) >= -(2**15)).all()


@given(WEIGHTS)
def test_no_scale_is_much_coarser_than_that_of_7_bits(weights):
    largest = np.abs(weights).max(1)
    assert (safe_scales(weights) <= max(largest.max(), 1e-30) / 63.4 + (largest.max() == 0)).all()
    usual = largest > largest.max() / 8
    assert (safe_scales(weights)[usual] <= largest[usual] / 63.4).all()


def test_one_large_weight_alone_gets_all_8_bits():
    scales = safe_scales(np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert scales == pytest.approx([1 / 127, 2 / 127, 2 / 127 / 1024])
    assert (safe_scales(np.zeros((2, 3))) == 1).all()


# A network of two layers


def two_layers(path, *, shared=False, transposed=True):
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((6, 3, 3, 3)),
        "b": random.standard_normal(6),
        "u": random.standard_normal((6, 6, 3, 3)) / 7,
        "v": random.standard_normal((10, 6) if transposed else (6, 10)),
        "c": random.standard_normal(10),
    }
    bias = "b" if shared else "d"
    if not shared:
        weights["d"] = random.standard_normal(6)
    node = helper.make_node
    nodes = [
        node("Conv", ["input", "w", "b"], ["x0"], name="first", pads=[1, 1, 1, 1]),
        node("Relu", ["x0"], ["x1"], name="relu"),
        node("Conv", ["x1", "u", bias], ["x2"], name="second", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["x2"], ["x3"], name="pool"),
        node("Flatten", ["x3"], ["x4"], name="flat"),
        node("Gemm", ["x4", "v", "c"], ["output"], name="fc", transB=int(transposed)),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path
    )
    return path


def images(count=40, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 32, 32), dtype=np.float32)


def tensors(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def logits(path, x):
    return build_session(str(path), PROVIDERS).run(None, {"input": x})[0]


def before_and_after(fp32, folder):
    """The INT8 file as onnxruntime wrote it, and refined."""
    reader = BatchReader([images()], "input")
    for name in ("before", "after"):
        quantize_to_int8(str(fp32), str(folder / f"{name}.onnx"), reader)
        reader.rewind()
    refine_int8(fp32, folder / "after.onnx", reader)
    return folder / "before.onnx", folder / "after.onnx"


def test_means_are_those_of_all_images(tmp_path):
    model = onnx.load(two_layers(tmp_path / "m.onnx"))
    x = images(70)
    found = channel_means(model, ["input", "x1", "x4"], BatchReader([x[:50], x[50:]], "input"))
    graph = model.graph
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("x1", "x4"))
    onnx.save(model, tmp_path / "open.onnx")
    x1, x4 = build_session(str(tmp_path / "open.onnx"), PROVIDERS).run(["x1", "x4"], {"input": x})
    assert found.keys() == {"input", "x1", "x4"}
    for name, want in {
        "input": x.mean((0, 2, 3)),
        "x1": x1.mean((0, 2, 3)),
        "x4": x4.mean(0),
    }.items():
        assert found[name] == pytest.approx(want, abs=1e-5)


def test_it_comes_nearer_to_fp32_and_stays_safe(tmp_path):
    fp32 = two_layers(tmp_path / "m.onnx")
    before, after = before_and_after(fp32, tmp_path)
    x = images(200, seed=1)
    want = logits(fp32, x)
    assert relative_l2(logits(after, x), want) < 0.8 * relative_l2(logits(before, x), want)
    assert all(bound.safe for bound in saturation_bounds(verify_int8(after)))
    assert tensors(before).keys() == tensors(after).keys()


def test_the_correction_takes_the_constant_error_away(tmp_path):
    fp32 = two_layers(tmp_path / "m.onnx")
    before, after = before_and_after(fp32, tmp_path)
    x = images(200, seed=1)
    shift = [np.abs((logits(path, x) - logits(fp32, x)).mean(0)).max() for path in (before, after)]
    step = float(tensors(after)["output_scale"])
    assert shift[1] < max(shift[0], step)
    assert shift[1] < step


def test_the_network_itself_gains(fp32, tmp_path):
    before, after = before_and_after(fp32, tmp_path)
    x = images(24, seed=1)
    want = logits(fp32, x)
    assert relative_l2(logits(after, x), want) < 0.95 * relative_l2(logits(before, x), want)


def test_tensors_of_two_layers_stay_as_they_are(tmp_path):
    before, after = before_and_after(two_layers(tmp_path / "m.onnx", shared=True), tmp_path)
    old, new = tensors(before), tensors(after)
    changed = {name for name in old if (old[name] != new[name]).any()}
    assert "v_quantized" in changed
    assert not {"w_quantized", "u_quantized", "b_quantized"} & changed


def test_a_matrix_laid_out_otherwise_stays_as_it_is(tmp_path):
    before, after = before_and_after(two_layers(tmp_path / "m.onnx", transposed=False), tmp_path)
    old, new = tensors(before), tensors(after)
    assert (old["v_quantized"] == new["v_quantized"]).all()
    assert (old["w_quantized"] != new["w_quantized"]).any()


def test_a_bias_that_does_not_fit_leaves_its_layer_alone(tmp_path):
    fp32 = two_layers(tmp_path / "m.onnx")
    model = onnx.load(fp32)
    by_name = {t.name: t for t in model.graph.initializer}
    by_name["d"].CopyFrom(numpy_helper.from_array(np.full(6, 3e6, np.float32), "d"))
    by_name["u"].CopyFrom(numpy_helper.from_array(np.full((6, 6, 3, 3), 1e-6, np.float32), "u"))
    onnx.save(model, fp32)
    before, after = before_and_after(fp32, tmp_path)
    assert (tensors(before)["u_quantized"] == tensors(after)["u_quantized"]).all()
    assert (tensors(before)["d_quantized"] == tensors(after)["d_quantized"]).all()


def test_it_repeats(tmp_path):
    fp32 = two_layers(tmp_path / "m.onnx")
    for name in "ab":
        quantize(fp32, tmp_path / f"{name}.onnx", BatchReader([images()], "input"))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
