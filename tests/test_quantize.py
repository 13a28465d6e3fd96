"""The INT8 file, and every trap on the way to it."""

from __future__ import annotations

import inspect

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from lab5 import quantize as module
from lab5.calibration import BatchReader, CIFARLikeCalibReader, handed_out_reader
from lab5.commands.quantize import main
from lab5.errors import CalibrationError, CheckpointError, QuantizationError
from lab5.model import BasicBlock, ResNet18
from lab5.quantize import quantize, quantize_to_int8, verify_int8
from lab5.study import synthetic
from lab5.study.refine import refine_int8
from lab5.study.saturation import saturation_bounds


def noise(count=8):
    return CIFARLikeCalibReader(batch_size=count, num_batches=1)


@pytest.fixture(scope="module")
def int8(fp32, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "N26140692_INT8.onnx"
    quantize(fp32, path, noise())
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An FP32 file with the assignment's input and output and two small layers."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((4, 3, 3, 3)),
        "b": random.standard_normal(4),
        "v": random.standard_normal((4 * 900, 10)) / 60,
        "c": random.standard_normal(10),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["x"], name="conv"),
        helper.make_node("Relu", ["x"], ["y"], name="relu"),
        helper.make_node("Flatten", ["y"], ["z"], name="flatten"),
        helper.make_node("Gemm", ["z", "v", "c"], ["output"], name="fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path = tmp_path_factory.mktemp("small") / "small_FP32.onnx"
    onnx.save(model, path)
    return path


def test_the_file_is_what_is_asked(int8, fp32):
    model = verify_int8(int8)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QLinearConv") == 20
    assert kinds.count("QGemm") == 1
    assert not {"Conv", "Gemm", "MatMul", "Relu"} & set(kinds)
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QLinearConv":
            weights = stored[node.input[3]]
            assert weights.dtype == np.int8
            assert stored[node.input[4]].shape == (len(weights),)
            assert stored[node.input[7]].dtype == np.uint8
    assert all(layer.safe for layer in saturation_bounds(model))
    assert int8.stat().st_size < fp32.stat().st_size / 3.5


class Stream(CalibrationDataReader):
    """As the handed-out reader: draws each batch when it is asked for, and cannot be read twice."""

    def __init__(self, batch_size, num_batches):
        self.left = num_batches
        self.shape = (batch_size, 3, 32, 32)

    def get_next(self):
        self.left -= 1
        return None if self.left < 0 else {"input": np.random.randn(*self.shape).astype("f4")}


@pytest.mark.parametrize("sizes", [(1, 8), (40, 1), (5, 3)])
def test_the_same_batches_give_the_same_bytes_as_the_call_in_the_notebook(small, tmp_path, sizes):
    """The notebook calls with paths and its own reader; the package hands over a checked graph."""
    np.random.seed(0)
    quantize_to_int8(str(small), str(tmp_path / "a.onnx"), Stream(*sizes))
    np.random.seed(0)
    quantize(small, tmp_path / "b.onnx", Stream(*sizes))
    quantize(small, tmp_path / "c.onnx", CIFARLikeCalibReader(None, "input", *sizes))
    contents = {(tmp_path / f"{name}.onnx").read_bytes() for name in "abc"}
    assert len(contents) == 1


def test_the_networks_own_file_is_what_the_call_in_the_notebook_gives(fp32, tmp_path):
    np.random.seed(0)
    quantize_to_int8(str(fp32), str(tmp_path / "direct.onnx"), Stream(1, 50))
    quantize(fp32, tmp_path / "default.onnx", handed_out_reader())
    assert (tmp_path / "direct.onnx").read_bytes() == (tmp_path / "default.onnx").read_bytes()


def test_refined_bytes_are_those_of_both_steps(small, tmp_path):
    quantize(small, tmp_path / "a.onnx", noise(), improve=refine_int8)
    reader = noise()
    quantize_to_int8(str(small), str(tmp_path / "b.onnx"), reader)
    plain = (tmp_path / "b.onnx").read_bytes()
    refine_int8(str(small), str(tmp_path / "b.onnx"), reader)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes() != plain


def test_nothing_else_is_left_behind(small, tmp_path):
    before = set(small.parent.iterdir())
    quantize(small, tmp_path / "INT8.onnx", noise())
    assert [f.name for f in tmp_path.iterdir()] == ["INT8.onnx"]
    assert set(small.parent.iterdir()) == before


@pytest.mark.parametrize("method", module.METHODS)
def test_every_method_gives_a_valid_file(small, tmp_path, method):
    quantize(small, tmp_path / "INT8.onnx", noise(), method)
    verify_int8(tmp_path / "INT8.onnx")


# The traps


def failing(small, tmp_path, reader, match, method="MinMax", error=CalibrationError):
    """Nothing is written, and a file that was there stays."""
    path = tmp_path / "INT8.onnx"
    path.write_bytes(b"kept")
    with pytest.raises(error, match=match):
        quantize(small, path, reader, method)
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("INT8.onnx", b"kept")]


def test_an_unknown_method(small, tmp_path):
    failing(small, tmp_path, noise(), "no calibration method", "minmax", QuantizationError)


def test_a_reader_without_images(small, tmp_path):
    failing(small, tmp_path, BatchReader([], "input"), "yields no image")
    read = noise()
    read.get_next()
    failing(small, tmp_path, read, "yields no image")


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 3, 32, 32)),  # float64
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((3, 32, 32), np.float32),
        np.zeros((1, 3, 224, 224), np.float32),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_images_of_another_form(small, tmp_path, batch):
    failing(small, tmp_path, BatchReader([batch], "input"), "expected float32")


def test_another_input_name(small, tmp_path):
    failing(small, tmp_path, BatchReader(noise().batches, "x"), r"\['input'\]")


def test_a_reader_without_an_end(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_IMAGES", 20)

    class Endless:
        def get_next(self):
            return {"input": np.zeros((8, 3, 32, 32), np.float32)}

    failing(small, tmp_path, Endless(), "more than 20 images")


@pytest.mark.parametrize(
    ("scale", "shift"), [(1, 0), (255, 0), (0, 0), (1, -2), (np.nan, 0), (np.inf, 1)],
    ids=["0..1", "0..255", "constant", "all dark", "nan", "inf"],
)  # fmt: skip
def test_images_that_no_preprocessing_made(small, tmp_path, scale, shift):
    x = np.random.default_rng(0).random((8, 3, 32, 32), dtype=np.float32) * scale + shift
    failing(small, tmp_path, BatchReader([x.astype(np.float32)], "input"), "Preprocess the images")


def test_a_quantised_model_is_not_quantised_again(small, tmp_path):
    quantize(small, tmp_path / "once.onnx", noise())
    with pytest.raises(QuantizationError, match="quantised already"):
        quantize(tmp_path / "once.onnx", tmp_path / "twice.onnx", noise())
    assert not (tmp_path / "twice.onnx").exists()


def test_a_wrong_opset_is_refused(small, tmp_path):
    model = onnx.load(small)
    model.opset_import[0].version = 18
    onnx.save(model, tmp_path / "18.onnx")
    with pytest.raises(QuantizationError, match="opset 18"):
        quantize(tmp_path / "18.onnx", tmp_path / "INT8.onnx", noise())


@pytest.mark.parametrize("level", ["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_a_file_that_onnxruntime_optimised_is_refused(fp32, tmp_path, level, capsys):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # it warns that the file is for this kind of CPU
    ort.InferenceSession(str(fp32), options, providers=["CPUExecutionProvider"])
    assert main([str(tmp_path / "optimised.onnx"), str(tmp_path / "INT8.onnx")]) == 1
    err = capsys.readouterr().err
    assert "was optimised by onnxruntime" in err
    assert "最佳化" in err
    assert not (tmp_path / "INT8.onnx").exists()


def test_weights_that_are_inputs_too_give_the_same_file(small, tmp_path):
    """As keep_initializers_as_inputs exports them."""
    model = onnx.load(small)
    for tensor in model.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(value)
    onnx.save(model, tmp_path / "kept.onnx")
    quantize(small, tmp_path / "a.onnx", noise())
    quantize(tmp_path / "kept.onnx", tmp_path / "b.onnx", noise())
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("improve", [None, refine_int8])
def test_external_data_under_another_name_gives_the_same_file(small, tmp_path, improve):
    external = tmp_path / "x_FP32.onnx"
    onnx.save(
        onnx.load(small), external, save_as_external_data=True, location="other.data",
        size_threshold=0,
    )  # fmt: skip
    quantize(small, tmp_path / "a.onnx", noise(), improve=improve)
    quantize(external, tmp_path / "b.onnx", noise(), improve=improve)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    (tmp_path / "other.data").unlink()
    with pytest.raises(QuantizationError, match="keeps its weights in another file"):
        quantize(external, tmp_path / "c.onnx", noise())
    assert not (tmp_path / "c.onnx").exists()


def test_what_onnxruntime_stumbles_over_is_a_sentence(small, tmp_path, monkeypatch):
    def stumble(*args):
        raise AttributeError("'NoneType' object has no attribute 'append'")

    monkeypatch.setattr(module, "quantize_to_int8", stumble)
    failing(small, tmp_path, noise(), "cannot be quantised", error=QuantizationError)


def settings(**changed):
    return {
        "quant_format": QuantFormat.QOperator,
        "per_channel": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"quant_format": "QOperator"}, "not the string 'QOperator'"),
        ({"quant_format": QuantFormat.QDQ}, "not QOperator throughout"),
        ({"activation_type": QuantType.QInt8}, "activation_type=QuantType.QUInt8"),
        ({"weight_type": QuantType.QUInt8}, "weight_type=QuantType.QInt8"),
        ({"per_channel": False}, "per_channel=True"),
        ({"nodes_to_exclude": ["conv"]}, "not QOperator throughout"),
        ({"op_types_to_quantize": ["Conv"]}, "1 Gemm"),
    ],
    ids=lambda v: "" if isinstance(v, str) else "-".join(v),
)
def test_files_made_otherwise_are_refused(small, tmp_path, changed, match):
    quantize_static(str(small), str(tmp_path / "INT8.onnx"), noise(), **settings(**changed))
    with pytest.raises(QuantizationError, match=match):
        verify_int8(tmp_path / "INT8.onnx")


def test_no_onnx_file(tmp_path, small):
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    for path in (tmp_path / "bad.onnx", tmp_path / "missing.onnx"):
        with pytest.raises(QuantizationError, match="no valid ONNX"):
            verify_int8(path)
        with pytest.raises(QuantizationError, match="no valid ONNX"):
            quantize(path, tmp_path / "INT8.onnx", noise())
    with pytest.raises(QuantizationError, match="no QLinearConv"):
        verify_int8(_empty(tmp_path))


def _empty(tmp_path):
    model = onnx.helper.make_model(
        helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", 13)]
    )
    onnx.save(model, tmp_path / "empty.onnx")
    return tmp_path / "empty.onnx"


# The command


def test_the_command_calibrates_as_the_handed_out_notebook_does(small, tmp_path, capsys):
    out = tmp_path / "INT8.onnx"
    assert main([str(small), str(out)]) == 0
    assert "INT8.onnx" in capsys.readouterr().out.replace("\n", "")
    quantize(small, tmp_path / "b.onnx", handed_out_reader())
    assert out.read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_synthetic_option_refines(fp32, model, weights, tmp_path, monkeypatch):
    made = noise().batches[0]
    monkeypatch.setattr(synthetic, "synthetic_images", lambda model: made)
    out = tmp_path / "INT8.onnx"
    options = ["--calibration", "synthetic", "--weights", str(weights)]
    assert main([str(fp32), str(out), *options]) == 0
    assert onnx.load(out).graph.node[-1].op_type == "QGemm"  # real logits


def test_the_synthetic_option_refuses_weights_of_another_file(small, tmp_path, capsys):
    torch.save(ResNet18(BasicBlock).state_dict(), tmp_path / "other.pth")
    arguments = [str(small), str(tmp_path / "INT8.onnx"), "--calibration", "synthetic", "--weights"]
    assert main([*arguments, str(tmp_path / "other.pth")]) == 1
    assert "was not exported from" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "none.pth")]) == CheckpointError.exit_code
    assert not (tmp_path / "INT8.onnx").exists()


def test_what_the_notebook_is_filled_with_names_nothing_of_lab5():
    source = inspect.getsource(quantize_to_int8)
    assert "lab5" not in source
    assert "QuantFormat.QOperator" in source
