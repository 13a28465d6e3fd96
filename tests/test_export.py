"""1.3: a true opset 13 in one file that computes what PyTorch computes, by either exporter."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lab5 import export
from lab5.assignment import CLASSES, INPUT_NAME, OPSET, OUTPUT_NAME
from lab5.errors import ExportError
from lab5.model import BasicBlock, ResNet18
from lab5.session import build_session

ROUTES = ("torchscript", "dynamo")


def lively_network():
    """Random weights, and BatchNorm statistics that matter."""
    torch.manual_seed(2)
    model = ResNet18(BasicBlock).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor in (module.running_var, module.weight):
                    tensor.uniform_(0.5, 1.5)
                for tensor in (module.running_mean, module.bias):
                    tensor.uniform_(-0.5, 0.5)
    return model


def use_route(monkeypatch, route):
    if route == "dynamo":  # as where a torch has no TorchScript exporter any more

        def gone(*args, **kwargs):
            raise TypeError("export() got an unexpected keyword argument 'dynamo'")

        monkeypatch.setattr(export, "write_onnx", gone)


@pytest.fixture(scope="module")
def network():
    return lively_network()


@pytest.fixture(scope="module", params=ROUTES)
def exported(request, network, tmp_path_factory):
    """The file that each route wrote."""
    path = tmp_path_factory.mktemp(request.param) / "N26140692_FP32.onnx"
    with pytest.MonkeyPatch.context() as patch:
        use_route(patch, request.param)
        export.export_fp32(network, path)
    return path


@pytest.fixture(scope="module")
def session(exported):
    return build_session(str(exported), ["CPUExecutionProvider"])


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_one_file(exported):
    assert names(exported.parent) == ["N26140692_FP32.onnx"]
    graph = onnx.load(exported, load_external_data=False).graph
    assert not any(t.data_location == TensorProto.EXTERNAL for t in graph.initializer)
    assert 44e6 < exported.stat().st_size < 45e6


def test_opset_13_and_nothing_else(exported):
    model = onnx.load(exported)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert model.ir_version == export.IR_VERSION
    onnx.checker.check_model(model, full_check=True)


def test_input_and_output(session):
    (found,), (given,) = session.get_outputs(), session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == (INPUT_NAME, "tensor(float)", [3, 32, 32])
    assert (found.name, found.type, found.shape[1:]) == (OUTPUT_NAME, "tensor(float)", [10])
    assert isinstance(given.shape[0], str)  # a symbol: any batch size
    assert given.shape[0] == found.shape[0]


def test_batchnorm_is_folded(exported):
    operators = Counter(node.op_type for node in onnx.load(exported).graph.node)
    assert operators["Conv"] == 20
    assert operators["Relu"] == 17
    assert operators["Add"] == 8
    assert operators["Gemm"] == 1
    assert not operators.keys() & {"BatchNormalization", "Identity", "Cast"}


def test_every_weight_belongs_to_one_operator(exported):
    graph = onnx.load(exported).graph
    stored = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert len(node.input) == 3  # with the bias that the BatchNorm became
            assert set(node.input[1:]) <= stored


EDGES = {
    "black": np.zeros((1, 3, 32, 32)),
    "one": np.ones((2, 3, 32, 32)),
    "large": np.full((1, 3, 32, 32), 1e4),
    "tiny": np.full((1, 3, 32, 32), 1e-30),
    "alternating": np.indices((1, 3, 32, 32)).sum(0) % 2 * 2.0 - 1,
}


def differs(session, model, x):
    """The largest difference between both logits, relative to the largest logit."""
    x = np.ascontiguousarray(x, np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: x})
    assert found.shape == expected.shape == (len(x), len(CLASSES))
    assert found.dtype == np.float32
    return np.abs(found - expected).max(initial=0) / max(1, np.abs(expected).max(initial=0))


@pytest.mark.parametrize("edge", EDGES)
def test_parity_at_the_edges(session, network, edge):
    assert differs(session, network, EDGES[edge]) < 1e-5


@settings(max_examples=15)
@given(n=st.integers(1, 5), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32 - 1))
def test_parity_on_anything(session, network, n, scale, seed):
    x = scale * np.random.default_rng(seed).standard_normal((n, 3, 32, 32))
    assert differs(session, network, x) < 1e-5


def test_the_batch_does_not_matter(session):
    x = np.random.default_rng(0).standard_normal((6, 3, 32, 32), np.float32)
    together = session.run(None, {INPUT_NAME: x})[0]
    for i in range(6):
        alone = session.run(None, {INPUT_NAME: x[i : i + 1]})[0]
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-4, atol=1e-5)


def test_both_routes_write_the_same_network(network, tmp_path):
    dummy = (torch.zeros(1, 3, 32, 32),)
    with export._without_output():
        export.write_onnx(network, dummy, tmp_path / "a.onnx")
        graphs = [onnx.load(tmp_path / "a.onnx"), export.graph_by_dynamo(network, dummy)]
    weights = [
        sorted(
            (onnx.numpy_helper.to_array(t) for t in graph.graph.initializer if len(t.dims) > 1),
            key=lambda w: (w.shape, float(w.flat[0])),
        )
        for graph in graphs
    ]
    assert len(weights[0]) == 21
    for first, second in zip(*weights, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)


def test_same_weights_same_bytes_and_only_the_other_route_is_mentioned(
    exported, network, tmp_path, monkeypatch, capfd, caplog
):
    dynamo = "dynamo" in exported.parent.name
    use_route(monkeypatch, "dynamo" if dynamo else "torchscript")
    # They write by themselves, to what was the standard error when torch was imported
    for name in ("torch", "torch.onnx"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    export.export_fp32(network, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()
    out, err = capfd.readouterr()
    assert err == ""
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert ("restated at opset 13" in out and "TypeError" in out) if dynamo else out == ""


def test_a_trained_networks_file_is_as_torch_wrote_it(network, tmp_path):
    with export._without_output():
        export.write_onnx(network, (torch.zeros(1, 3, 32, 32),), str(tmp_path / "direct.onnx"))
    export.export_fp32(network, tmp_path / "checked.onnx")
    assert (tmp_path / "direct.onnx").read_bytes() == (tmp_path / "checked.onnx").read_bytes()


def test_a_torch_that_writes_another_opset_whatever_is_asked(
    network, tmp_path, monkeypatch, capsys
):
    real = torch.onnx.export

    def export_18(*args, **kwargs):
        return real(*args, **{**kwargs, "opset_version": 16 if "dynamic_axes" in kwargs else None})

    monkeypatch.setattr(torch.onnx, "export", export_18)
    export.export_fp32(network, tmp_path / "a.onnx")
    assert export.verify_fp32(tmp_path / "a.onnx").opset_import[0].version == OPSET
    assert "AssertionError" in capsys.readouterr().out


def test_the_model_is_left_as_it_was(network, exported):
    assert not any(module.training for module in network.modules())
    for found, expected in zip(network.parameters(), lively_network().parameters(), strict=True):
        assert torch.equal(found, expected)
        assert found.requires_grad == expected.requires_grad


@pytest.mark.parametrize("route", ROUTES)
def test_an_untrained_network_whose_initial_values_are_equal(tmp_path, monkeypatch, route):
    """Every BatchNorm begins equal; exporters store equal values once, quantisation wants each."""
    use_route(monkeypatch, route)
    model = ResNet18(BasicBlock).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 0.01)
    path = tmp_path / "a.onnx"
    export.export_fp32(model, path)
    graph = onnx.load(path).graph
    assert not any(node.op_type == "Identity" for node in graph.node)
    stored = {tensor.name for tensor in graph.initializer}
    assert all(set(n.input[1:]) <= stored for n in graph.node if n.op_type in ("Conv", "Gemm"))


# What can go wrong


def rejected(word, function, *args):
    with pytest.raises(ExportError) as caught:
        function(*args)
    assert word in caught.value.text.en
    assert any("一" <= c <= "鿿" for c in caught.value.text.zh)


def nan_network():
    model = ResNet18(BasicBlock).eval()
    torch.nn.init.constant_(model.fc.bias, float("nan"))
    return model


@pytest.mark.parametrize("make", [lambda: lively_network().train(), nan_network])
def test_a_network_that_is_not_ready_keeps_the_old_file(tmp_path, make):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")
    model = make()
    training = model.training
    rejected("differ", export.export_fp32, model, path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.onnx"]
    assert model.training == training


def bad_graph():
    """What no checker accepts: a node of an operator that does not exist."""
    model = small_model()
    model.graph.node[0].op_type = "Flatten14"
    return model


def test_a_bad_graph_is_an_export_error(network, tmp_path, monkeypatch):
    def write_bad(model, dummy, path):
        onnx.save(bad_graph(), path)

    monkeypatch.setattr(export, "write_onnx", write_bad)
    rejected("no valid ONNX file", export.export_fp32, network, tmp_path / "a.onnx")
    assert names(tmp_path) == []


def test_a_network_that_neither_exporter_takes(tmp_path):
    class Broken(torch.nn.Module):
        def forward(self, x):
            raise ValueError("no forward pass")

    rejected("cannot export", export.export_fp32, Broken().eval(), tmp_path / "a.onnx")
    assert names(tmp_path) == []


def test_a_full_disk_is_no_fault_of_the_exporter(network, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_onnx", full)
    with pytest.raises(OSError, match="No space left"):
        export.export_fp32(network, tmp_path / "a.onnx")
    assert names(tmp_path) == []


def external(path, source, location="other.data"):
    onnx.save(onnx.load(source), path, save_as_external_data=True, location=location)
    return path.with_name(location)


def test_external_data_under_any_name_is_read(exported, network, tmp_path):
    external(tmp_path / "x_FP32.onnx", exported)
    found, expected = (
        {tensor.name: tensor.raw_data for tensor in model.graph.initializer}
        for model in (export.verify_fp32(tmp_path / "x_FP32.onnx"), onnx.load(exported))
    )
    assert found == expected
    assert export.verify_parity(tmp_path / "x_FP32.onnx", network) < 1e-5


def moved(path, location):
    """Say that the weights in ``path`` are at ``location``."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("fault", ["missing", "cut off", "folder", "link", "outside", "absolute"])
def test_external_data_that_cannot_be_read(exported, tmp_path, fault):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "x_FP32.onnx"
    data = external(path, exported)
    if fault == "cut off":
        data.write_bytes(data.read_bytes()[:100])
    else:
        elsewhere = data.rename(tmp_path / "other.data")
        if fault == "folder":
            data.mkdir()
        elif fault == "link":
            data.symlink_to(elsewhere)
        elif fault != "missing":
            moved(path, "../other.data" if fault == "outside" else str(elsewhere))
    rejected("keeps its weights in another file", export.verify_fp32, path)


def export_by_torch(network, path, **settings):
    """torch's own call, as the package does not make it."""
    with export._without_output():
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 32, 32),),
            path,
            input_names=["input"],
            output_names=["output"],
            **settings,
        )


def test_weights_that_are_inputs_too_are_constants(network, tmp_path):
    path = tmp_path / "a.onnx"
    export_by_torch(network, path, opset_version=13, keep_initializers_as_inputs=True, dynamo=False)
    assert len(onnx.load(path).graph.input) == 43
    assert [value.name for value in export.verify_fp32(path).graph.input] == ["input"]


def test_a_folder_that_is_not_there(network, tmp_path):
    with pytest.raises(FileNotFoundError):
        export.export_fp32(network, tmp_path / "none" / "a.onnx")


def small_model(
    *, opset=OPSET, given=(INPUT_NAME, 1, ["N", 3, 32, 32]), found=(OUTPUT_NAME, 1, ["N", 10])
):
    """A valid file of a few bytes with this input and output, each (name, type, shape)."""
    nodes = [
        helper.make_node("Flatten", [given[0]], ["flat"]),
        helper.make_node("Shape", ["flat"], ["shape"]),
        helper.make_node("ConstantOfShape", ["target"], [found[0]]),
    ]
    target = helper.make_tensor("target", TensorProto.INT64, [2], [1, 10])
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*given)],
        [helper.make_tensor_value_info(*found)],
        [target],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=export.IR_VERSION
    )


WRONG = {
    "opset 12": ({"opset": 12}, "opset 12, expected 13"),
    "opset 18": ({"opset": 18}, "dynamo=False"),
    "input name": ({"given": ("x", 1, ["N", 3, 32, 32])}, "input_names"),
    "input size": ({"given": (INPUT_NAME, 1, ["N", 3, 224, 224])}, "expected"),
    "channels last": ({"given": (INPUT_NAME, 1, ["N", 32, 32, 3])}, "expected"),
    "float64 input": ({"given": (INPUT_NAME, 11, ["N", 3, 32, 32])}, "expected"),
    "output name": ({"found": ("logits", 1, ["N", 10])}, "output_names"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_file_that_is_not_what_1_3_asks_for(tmp_path, fault):
    options, word = WRONG[fault]
    path = tmp_path / "a.onnx"
    onnx.save(small_model(**options), path)
    rejected(word, export.verify_fp32, path)


def test_a_file_with_the_assignments_input_and_output_passes(tmp_path):
    for batch in ("N", 1):
        given, found = (INPUT_NAME, 1, [batch, 3, 32, 32]), (OUTPUT_NAME, 1, [batch, 10])
        onnx.save(small_model(given=given, found=found), tmp_path / "a.onnx")
        assert export.verify_fp32(tmp_path / "a.onnx").opset_import[0].version == OPSET


def test_what_torch_writes_by_itself_is_refused(network, tmp_path):
    """The assignment's own call, on a torch whose default exporter has no opset 13."""
    path = tmp_path / "a.onnx"
    export_by_torch(network, path, opset_version=18, dynamo=True)
    rejected("opset 18, expected 13", export.verify_fp32, path)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_file(exported, tmp_path, share):
    content = exported.read_bytes()
    (tmp_path / "a.onnx").write_bytes(content[: int(share * len(content))])
    rejected("no valid ONNX file", export.verify_fp32, tmp_path / "a.onnx")


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_no_onnx_file(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError):
        export.verify_fp32(path)


def test_another_networks_file_fails_parity(exported):
    torch.manual_seed(9)
    rejected("differ by", export.verify_parity, exported, ResNet18(BasicBlock).eval())
