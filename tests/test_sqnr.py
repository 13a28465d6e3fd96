"""Signal to quantisation noise: against numpy by hand, and on a pair whose worst layer is known."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from lab5.calibration import CIFARLikeCalibReader
from lab5.commands.sqnr import main
from lab5.errors import QuantizationError
from lab5.quantize import quantize
from lab5.study.sqnr import Sqnr, sqnr, svg


@pytest.fixture(scope="module")
def int8(fp32, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "N26140692_INT8.onnx"
    quantize(fp32, path, CIFARLikeCalibReader(batch_size=16, num_batches=1))
    return path


@pytest.fixture(scope="module")
def x():
    return CIFARLikeCalibReader(batch_size=30, num_batches=1).batches[0]


@pytest.fixture(scope="module")
def rows(fp32, int8, x):
    return sqnr(fp32, int8, x)


def db(want, found):
    return 10 * np.log10(np.square(want).sum() / np.square(want - found).sum())


def test_every_layer_is_there_under_its_name_in_the_state_dict(rows, model):
    weighted = {row.layer for row in rows if row.weight is not None}
    assert weighted == {
        name.removesuffix(".weight") for name, p in model.named_parameters() if p.ndim > 1
    }
    kinds = Counter(row.operator for row in rows)
    assert kinds.pop("QuantizeLinear") in (1, 2)  # the input; onnxruntime 1.23's Flatten, too
    assert kinds == {"QLinearConv": 20, "QLinearAdd": 8, "QLinearAveragePool": 1, "QGemm": 1}


def test_the_last_row_is_the_error_of_the_logits(rows, fp32, int8, x):
    from lab5.session import PROVIDERS, build_session

    want, found = (
        build_session(str(f), PROVIDERS).run(None, {"input": x})[0] for f in (fp32, int8)
    )
    assert rows[-1].layer == "fc"
    assert rows[-1].activation == pytest.approx(db(want, found), abs=0.01)


def test_the_first_row_is_the_rounding_of_the_images(rows, int8, x):
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(int8).graph.initializer}
    scale, zero = stored["input_scale"], stored["input_zero_point"].astype(float)
    rounded = (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale
    assert rows[0].step == pytest.approx(db(x, rounded), abs=0.01)
    assert rows[0].activation == pytest.approx(rows[0].step, abs=0.1)


def test_weights_against_the_state_dict(rows, int8, model):
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(int8).graph.initializer}
    q = stored["fc.weight_quantized"].astype(float) * stored["fc.weight_scale"].reshape(-1, 1)
    want = model.fc.weight.detach().numpy()
    found = next(row for row in rows if row.layer == "fc")
    assert found.weight == pytest.approx(db(want, q if q.shape == want.shape else q.T), abs=0.01)


def test_a_spoilt_layer_stands_out(int8, fp32, x, rows, tmp_path):
    """The scale of one tensor made 16 times too coarse, and one layer's weights cut to 3 bits."""
    model = onnx.load(int8)
    convs = [node for node in model.graph.node if node.op_type == "QLinearConv"]
    stored = {t.name: t for t in model.graph.initializer}
    scale = stored[convs[6].input[6]]
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 16, scale.name))
    weight = stored[convs[10].input[3]]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) // 16 * 16, weight.name))
    onnx.save(model, tmp_path / "spoilt.onnx")
    spoilt = sqnr(fp32, tmp_path / "spoilt.onnx", x)
    convolutions = [i for i, row in enumerate(rows) if row.operator == "QLinearConv"]
    steps = [i for i in range(len(rows)) if (rows[i].step or 99) - (spoilt[i].step or 99) > 1]
    weights = [i for i in range(len(rows)) if rows[i].weight != spoilt[i].weight]
    assert steps == [convolutions[6]]
    assert weights == [convolutions[10]]
    assert rows[steps[0]].step - spoilt[steps[0]].step > 12


def test_files_that_do_not_belong_together(fp32, tmp_path, x):
    with pytest.raises(QuantizationError, match="counterpart"):
        sqnr(fp32, fp32, x[:1])
    (tmp_path / "no.onnx").write_bytes(b"no")
    with pytest.raises(QuantizationError, match="cannot be read"):
        sqnr(fp32, tmp_path / "no.onnx", x[:1])
    with pytest.raises(QuantizationError, match="cannot be read"):
        sqnr(fp32, tmp_path / "missing.onnx", x[:1])


def test_a_fixed_batch_axis_gives_the_same(fp32, int8, x, rows, tmp_path):
    for name, path in (("fp32", fp32), ("int8", int8)):
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
        onnx.save(model, tmp_path / f"{name}.onnx")
    fixed = sqnr(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", x)
    for a, b in zip(rows, fixed, strict=True):
        assert a.layer == b.layer
        assert a.activation == pytest.approx(b.activation, abs=0.05)


figures = st.none() | st.floats(-40, 90)


@given(
    st.lists(
        st.builds(Sqnr, st.text(min_size=1), st.just("QLinearConv"), figures, figures, figures)
    )
)
def test_the_chart_is_well_formed_and_has_every_row(rows):
    rows = [row for row in rows if row.layer.isprintable()]
    chart = ET.fromstring(svg(rows))
    kinds = [element.tag.rsplit("}")[-1] for element in chart]
    assert kinds.count("rect") == sum(row.activation is not None for row in rows)
    assert kinds.count("circle") == sum(row.weight is not None for row in rows)
    texts = [element.text for element in chart]
    assert all(row.layer in texts for row in rows)


def test_the_command_writes_what_it_shows(fp32, int8, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "empty"))  # no data set: synthetic images
    out, chart = tmp_path / "s.json", tmp_path / "s.svg"
    assert (
        main([str(fp32), str(int8), "--images", "4", "--json", str(out), "--svg", str(chart)]) == 0
    )
    result = json.loads(out.read_text())
    assert result["source"] == "synthetic images"
    assert [row["layer"] for row in result["tensors"]][-1] == "fc"
    assert chart.read_text().startswith("<svg")
    printed = capsys.readouterr().out
    for word in ("layer4.1.left.3", "on 4 synthetic images", "4 張合成影像"):
        assert word in printed
    assert main([str(fp32), str(fp32)]) == 1
    assert main([str(fp32), str(int8), "--images", "0"]) == 2
